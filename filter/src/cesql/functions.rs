//! The built-in functions of section 3.5. Characters are code points.

use std::borrow::Cow;

use super::ast::Expr;
use super::eval::Context;
use super::value::{CesqlError, Failure, Outcome, Type, Value};

/// A function together with its number of arguments: a name with another number is another function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Length,
    Concat,
    ConcatWithSeparator,
    Lower,
    Upper,
    Trim,
    Left,
    Right,
    Substring,
    Absolute,
    ToInteger,
    ToBoolean,
    ToString,
}

impl Function {
    pub(super) fn find(name: &str, arguments: usize) -> Option<Self> {
        const FUNCTIONS: [(&str, std::ops::RangeInclusive<usize>, Function); 13] = [
            ("LENGTH", 1..=1, Function::Length),
            ("CONCAT", 0..=usize::MAX, Function::Concat),
            ("CONCAT_WS", 1..=usize::MAX, Function::ConcatWithSeparator),
            ("LOWER", 1..=1, Function::Lower),
            ("UPPER", 1..=1, Function::Upper),
            ("TRIM", 1..=1, Function::Trim),
            ("LEFT", 2..=2, Function::Left),
            ("RIGHT", 2..=2, Function::Right),
            ("SUBSTRING", 2..=3, Function::Substring),
            ("ABS", 1..=1, Function::Absolute),
            ("INT", 1..=1, Function::ToInteger),
            ("BOOL", 1..=1, Function::ToBoolean),
            ("STRING", 1..=1, Function::ToString),
        ];
        let found = FUNCTIONS
            .iter()
            .find(|(known, arity, _)| known.eq_ignore_ascii_case(name) && arity.contains(&arguments))?;
        Some(found.2)
    }

    pub(super) const fn returns(self) -> Type {
        match self {
            Self::Length | Self::Absolute | Self::ToInteger => Type::Integer,
            Self::ToBoolean => Type::Boolean,
            _ => Type::String,
        }
    }

    /// Calls the function. Arguments that fail make it return the zero value of its type.
    pub(super) fn call<'a>(self, arguments: &'a [Expr], context: &Context<'_, 'a>) -> Outcome<'a> {
        self.apply(arguments, context).unwrap_or_else(|error| Err(self.returns().fails(error)))
    }

    /// The outer error is that of an argument or of the limit; the inner outcome is the function's own.
    fn apply<'a>(self, arguments: &'a [Expr], context: &Context<'_, 'a>) -> Result<Outcome<'a>, CesqlError> {
        // `find` has made sure of the number of arguments, so that none of these indices is out of range.
        let text = |at: usize| arguments[at].text(context);
        let integer = |at: usize| arguments[at].integer(context);
        let string = |text| Ok(Value::String(text));
        Ok(match self {
            Self::Length => {
                let characters = text(0)?.chars().count();
                i32::try_from(characters)
                    .map(Value::Integer)
                    .map_err(|_| Type::Integer.fails(CesqlError::Math))
            }
            Self::Concat => string(join("", arguments, context)?),
            Self::ConcatWithSeparator => string(join(&text(0)?, &arguments[1..], context)?),
            Self::Lower => string(lower(text(0)?, context)?),
            Self::Upper => string(upper(text(0)?, context)?),
            Self::Trim => string(slice(text(0)?, |text| text.trim())),
            Self::Left => left(text(0)?, integer(1)?),
            Self::Right => right(text(0)?, integer(1)?),
            Self::Substring => {
                let (text, position) = (text(0)?, integer(1)?);
                let length = if arguments.len() > 2 { Some(integer(2)?) } else { None };
                substring(text, position, length)
            }
            Self::Absolute => {
                let absolute = integer(0)?.checked_abs();
                absolute
                    .map(Value::Integer)
                    .ok_or(Failure { value: Value::Integer(i32::MAX), error: CesqlError::Math })
            }
            Self::ToInteger => Ok(Value::Integer(integer(0)?)),
            Self::ToBoolean => Ok(Value::Boolean(arguments[0].value(context)?.to_boolean()?)),
            Self::ToString => string(text(0)?),
        })
    }
}

/// A part of `text`, without a copy where the text is borrowed.
fn slice(text: Cow<'_, str>, part: impl Fn(&str) -> &str) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => {
            let part = part(text);
            let start = part.as_ptr() as usize - text.as_ptr() as usize;
            Cow::Borrowed(&text[start..start + part.len()])
        }
        Cow::Owned(text) => Cow::Owned(part(&text).to_owned()),
    }
}

fn join<'a>(
    separator: &str,
    arguments: &'a [Expr],
    context: &Context<'_, 'a>,
) -> Result<Cow<'a, str>, CesqlError> {
    let [first, rest @ ..] = arguments else { return Ok(Cow::Borrowed("")) };
    let first = first.text(context)?;
    if rest.is_empty() {
        return Ok(first);
    }
    context.charge(first.len())?;
    let mut joined = first.into_owned();
    for argument in rest {
        let text = argument.text(context)?;
        context.charge(separator.len() + text.len())?;
        joined.push_str(separator);
        joined.push_str(&text);
    }
    Ok(Cow::Owned(joined))
}

fn lower<'a>(text: Cow<'a, str>, context: &Context<'_, 'a>) -> Result<Cow<'a, str>, CesqlError> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Ok(text);
    }
    context.charge(text.len())?;
    Ok(Cow::Owned(text.to_lowercase()))
}

fn upper<'a>(text: Cow<'a, str>, context: &Context<'_, 'a>) -> Result<Cow<'a, str>, CesqlError> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_lowercase()) {
        return Ok(text);
    }
    context.charge(text.len())?;
    Ok(Cow::Owned(text.to_uppercase()))
}

/// A negative number of characters gives the whole text and an error.
fn left(text: Cow<'_, str>, characters: i32) -> Outcome<'_> {
    let Ok(characters) = usize::try_from(characters) else { return Err(refuse(text)) };
    Ok(Value::String(slice(text, |text| &text[..offset(text, characters)])))
}

fn right(text: Cow<'_, str>, characters: i32) -> Outcome<'_> {
    let Ok(characters) = usize::try_from(characters) else { return Err(refuse(text)) };
    let start = match characters {
        0 => text.len(),
        count => text.char_indices().rev().nth(count - 1).map_or(0, |(at, _)| at),
    };
    Ok(Value::String(slice(text, |text| &text[start..])))
}

/// Positions count from 1, negative ones from the end; 0 gives the empty text.
fn substring(text: Cow<'_, str>, position: i32, length: Option<i32>) -> Outcome<'_> {
    let refused = || Type::String.fails(CesqlError::FunctionEvaluation);
    let Ok(length) = length.map(usize::try_from).transpose() else { return Err(refused()) };
    let characters = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    let position = i64::from(position);
    if position > characters || position < -characters {
        return Err(refused());
    }
    let start = match position {
        0 => return Ok(Type::String.zero()),
        from_start if from_start > 0 => from_start - 1,
        from_end => characters + from_end,
    };
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    Ok(Value::String(slice(text, |text| {
        let rest = &text[offset(text, start)..];
        length.map_or(rest, |length| &rest[..offset(rest, length)])
    })))
}

/// The byte at which character `characters` starts; the end if there are fewer.
fn offset(text: &str, characters: usize) -> usize {
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

const fn refuse(text: Cow<'_, str>) -> Failure<'_> {
    Failure { value: Value::String(text), error: CesqlError::FunctionEvaluation }
}
