//! Values, casts and errors: sections 3.1, 3.3 and 3.7.

use std::borrow::Cow;

use pelton_event::Kind;

/// A CESQL value. Strings borrow from the event or the expression unless a function had to make a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text; also URIs, timestamps and binary values.
    String(Cow<'a, str>),
    /// A 32-bit signed integer.
    Integer(i32),
    /// `true` or `false`.
    Boolean(bool),
}

/// The kinds of error of section 3.3 that an evaluation can end in. (A parse error is [`ParseError`](super::ParseError).)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CesqlError {
    /// A division by zero, or a result outside 32 bits.
    #[error("math")]
    Math,
    /// A value that cannot be cast to the type that is needed.
    #[error("cast")]
    Cast,
    /// A function that does not exist with this number of arguments.
    #[error("missingFunction")]
    MissingFunction,
    /// A function that refuses its arguments.
    #[error("functionEvaluation")]
    FunctionEvaluation,
    /// An attribute that the event does not have.
    #[error("missingAttribute")]
    MissingAttribute,
}

/// An error and the value that goes with it.
#[derive(Debug)]
pub(super) struct Failure<'a> {
    pub(super) value: Value<'a>,
    pub(super) error: CesqlError,
}

pub(super) type Outcome<'a> = Result<Value<'a>, Failure<'a>>;

/// The type that a value has, and so its zero value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    String,
    Integer,
    Boolean,
}

impl Type {
    pub(super) const fn zero<'a>(self) -> Value<'a> {
        match self {
            Self::String => Value::String(Cow::Borrowed("")),
            Self::Integer => Value::Integer(0),
            Self::Boolean => Value::Boolean(false),
        }
    }

    pub(super) const fn fails<'a>(self, error: CesqlError) -> Failure<'a> {
        Failure { value: self.zero(), error }
    }
}

impl<'a> Value<'a> {
    /// An attribute's value. A text that is not written as its JSON type would be written stays a String, so that the cast
    /// of an attribute to String is always the received text.
    pub(super) fn of_attribute(value: pelton_event::Value<'a>) -> Self {
        let typed = match value.kind {
            Kind::Integer if is_canonical_integer(value.text) => value.text.parse().ok().map(Value::Integer),
            Kind::Boolean => match value.text {
                "true" => Some(Value::Boolean(true)),
                "false" => Some(Value::Boolean(false)),
                _ => None,
            },
            Kind::String | Kind::Integer => None,
        };
        typed.unwrap_or(Value::String(Cow::Borrowed(value.text)))
    }

    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::String(_) => Type::String,
            Self::Integer(_) => Type::Integer,
            Self::Boolean(_) => Type::Boolean,
        }
    }

    pub(super) fn cast(self, to: Type) -> Result<Self, CesqlError> {
        match to {
            Type::String => Ok(Value::String(self.into_text())),
            Type::Integer => self.to_integer().map(Value::Integer),
            Type::Boolean => self.to_boolean().map(Value::Boolean),
        }
    }

    pub(super) fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::String(text) => text,
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
        }
    }

    pub(super) fn to_integer(&self) -> Result<i32, CesqlError> {
        match self {
            Self::String(text) => text.parse().map_err(|_| CesqlError::Cast),
            Self::Integer(number) => Ok(*number),
            Self::Boolean(boolean) => Ok(i32::from(*boolean)),
        }
    }

    pub(super) fn to_boolean(&self) -> Result<bool, CesqlError> {
        match self {
            Self::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            Self::String(_) => Err(CesqlError::Cast),
            Self::Integer(number) => Ok(*number != 0),
            Self::Boolean(boolean) => Ok(*boolean),
        }
    }
}

/// Whether `text` is the only decimal spelling of its number.
fn is_canonical_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    match digits.as_bytes() {
        [b'0'] => text == "0",
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}
