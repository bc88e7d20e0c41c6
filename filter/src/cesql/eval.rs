//! Evaluation, fail fast: sections 3.4 to 3.7.

use std::borrow::Cow;
use std::cell::Cell;

use super::ast::{Arithmetic, Compare, Expr, Literal, Logic};
use super::value::{CesqlError, Failure, Outcome, Type, Value};
use crate::attributes::{Attributes, Name};
use crate::limits;

/// What one evaluation reads and how much it may still build.
#[derive(Debug)]
pub(super) struct Context<'c, 'a> {
    attributes: Attributes<'c, 'a>,
    string_bytes: Cell<usize>,
}

impl Context<'_, '_> {
    /// Takes `bytes` from what this evaluation may build.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), CesqlError> {
        let left = self.string_bytes.get().checked_sub(bytes).ok_or(CesqlError::FunctionEvaluation)?;
        self.string_bytes.set(left);
        Ok(())
    }
}

pub(super) fn evaluate<'a>(expr: &'a Expr, attributes: Attributes<'_, 'a>) -> Outcome<'a> {
    let context = Context { attributes, string_bytes: Cell::new(limits::CESQL_STRING_BYTES_MAX) };
    expr.evaluate(&context)
}

impl Expr {
    pub(super) fn evaluate<'a>(&'a self, context: &Context<'_, 'a>) -> Outcome<'a> {
        match self {
            Self::Literal(literal) => Ok(literal.value()),
            Self::Attribute(name) => attribute(name, context),
            Self::Exists(name) => Ok(Value::Boolean(context.attributes.get(name).is_some())),
            Self::Not(operand) => not(operand, context),
            Self::Negate(operand) => negate(operand, context),
            Self::Logic { operator, operands, .. } => {
                let result = logic(*operator, operands, context);
                result.map(Value::Boolean).map_err(|error| Type::Boolean.fails(error))
            }
            Self::Compare { operator, operands } => {
                let result = compare(*operator, operands, context);
                result.map(Value::Boolean).map_err(|error| Type::Boolean.fails(error))
            }
            Self::Arithmetic { operator, operands } => {
                let result = arithmetic(*operator, operands, context);
                result.map(Value::Integer).map_err(|error| Type::Integer.fails(error))
            }
            Self::Like { operand, pattern } => {
                let text = operand.text(context).map_err(|error| Type::Boolean.fails(error))?;
                Ok(Value::Boolean(pattern.matches(&text)))
            }
            Self::In { operand, set } => {
                let result = is_in(operand, set, context);
                result.map(Value::Boolean).map_err(|error| Type::Boolean.fails(error))
            }
            Self::Call { function, arguments } => function.call(arguments, context),
            Self::UnknownCall { .. } => Err(Type::Boolean.fails(CesqlError::MissingFunction)),
        }
    }

    /// The value, when its own failure value is of no use to the operator around it.
    pub(super) fn value<'a>(&'a self, context: &Context<'_, 'a>) -> Result<Value<'a>, CesqlError> {
        self.evaluate(context).map_err(|failure| failure.error)
    }

    pub(super) fn text<'a>(&'a self, context: &Context<'_, 'a>) -> Result<Cow<'a, str>, CesqlError> {
        // The received text is an attribute's String whatever its type (see `Value::of_attribute`): nothing to format.
        if let Self::Attribute(name) = self {
            let value = context.attributes.get(name).ok_or(CesqlError::MissingAttribute)?;
            return Ok(Cow::Borrowed(value.text));
        }
        self.value(context).map(Value::into_text)
    }

    pub(super) fn integer<'a>(&'a self, context: &Context<'_, 'a>) -> Result<i32, CesqlError> {
        self.value(context)?.to_integer()
    }

    fn boolean<'a>(&'a self, context: &Context<'_, 'a>) -> Result<bool, CesqlError> {
        self.value(context)?.to_boolean()
    }
}

impl Literal {
    fn value(&self) -> Value<'_> {
        match self {
            Self::String(text) => Value::String(Cow::Borrowed(text)),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(boolean) => Value::Boolean(*boolean),
        }
    }
}

/// Section 3.3: a missing attribute is `false` where no type is asked for.
fn attribute<'a>(name: &Name, context: &Context<'_, 'a>) -> Outcome<'a> {
    let value = context.attributes.get(name);
    value.map(Value::of_attribute).ok_or(Type::Boolean.fails(CesqlError::MissingAttribute))
}

/// An operand that cannot be cast counts as `false`, so that `NOT` of it is `true`, with a cast error. The specification's test
/// suite counts an Integer among those.
fn not<'a>(operand: &'a Expr, context: &Context<'_, 'a>) -> Outcome<'a> {
    let value = operand.value(context).map_err(|error| Type::Boolean.fails(error))?;
    let cast = match &value {
        Value::Integer(_) => Err(CesqlError::Cast),
        other => other.to_boolean(),
    };
    match cast {
        Ok(boolean) => Ok(Value::Boolean(!boolean)),
        Err(error) => Err(Failure { value: Value::Boolean(true), error }),
    }
}

fn negate<'a>(operand: &'a Expr, context: &Context<'_, 'a>) -> Outcome<'a> {
    let number = operand.integer(context).map_err(|error| Type::Integer.fails(error))?;
    number.checked_neg().map(Value::Integer).ok_or(Type::Integer.fails(CesqlError::Math))
}

fn logic<'a>(
    operator: Logic,
    [left, right]: &'a [Expr; 2],
    context: &Context<'_, 'a>,
) -> Result<bool, CesqlError> {
    let left = left.boolean(context)?;
    match operator {
        Logic::And => Ok(left && right.boolean(context)?),
        Logic::Or => Ok(left || right.boolean(context)?),
        Logic::Xor => Ok(left != right.boolean(context)?),
    }
}

fn compare<'a>(
    operator: Compare,
    [left, right]: &'a [Expr; 2],
    context: &Context<'_, 'a>,
) -> Result<bool, CesqlError> {
    if let (Compare::Equal | Compare::NotEqual, Expr::Literal(Literal::String(text))) = (operator, right) {
        return Ok((left.text(context)? == **text) == (operator == Compare::Equal));
    }
    let (left, right) = (left.value(context)?, right.value(context)?);
    // `=` exists for every type: the right operand's decides (section 3.7). The others exist for Integer only.
    if let Compare::Equal | Compare::NotEqual = operator {
        let left = left.cast(right.kind())?;
        return Ok((left == right) == (operator == Compare::Equal));
    }
    let (left, right) = (left.to_integer()?, right.to_integer()?);
    Ok(match operator {
        Compare::Equal => left == right,
        Compare::NotEqual => left != right,
        Compare::Less => left < right,
        Compare::LessOrEqual => left <= right,
        Compare::Greater => left > right,
        Compare::GreaterOrEqual => left >= right,
    })
}

fn arithmetic<'a>(
    operator: Arithmetic,
    [left, right]: &'a [Expr; 2],
    context: &Context<'_, 'a>,
) -> Result<i32, CesqlError> {
    let (left, right) = (left.value(context)?, right.value(context)?);
    let (left, right) = (left.to_integer()?, right.to_integer()?);
    let result = match operator {
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        // The remainder of -2147483648 by -1 is 0, although their quotient leaves 32 bits.
        Arithmetic::Remainder if right == -1 => Some(0),
        Arithmetic::Remainder => left.checked_rem(right),
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
    };
    result.ok_or(CesqlError::Math)
}

/// Section 3.4.5: the elements are cast to the left operand's type. The first equal one ends the search.
fn is_in<'a>(operand: &'a Expr, set: &'a [Expr], context: &Context<'_, 'a>) -> Result<bool, CesqlError> {
    let value = operand.value(context)?;
    for element in set {
        if element.value(context)?.cast(value.kind())? == value {
            return Ok(true);
        }
    }
    Ok(false)
}
