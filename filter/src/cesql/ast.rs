//! The compiled expression.

use super::functions::Function;
use super::like::Pattern;
use crate::attributes::Name;

/// A literal of section 2.2.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Literal {
    String(Box<str>),
    Integer(i32),
    Boolean(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Arithmetic {
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
}

/// An expression of section 2.1. `NOT LIKE` and `NOT IN` are `Not` around the positive form, as sections 3.4.3 and 3.4.5 say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Expr {
    Literal(Literal),
    Attribute(Name),
    Exists(Name),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// An operand in parentheses keeps them, for the warning about mixed operators; evaluation ignores it.
    Logic {
        operator: Logic,
        operands: Box<[Expr; 2]>,
        parenthesized: bool,
    },
    Compare {
        operator: Compare,
        operands: Box<[Expr; 2]>,
    },
    Arithmetic {
        operator: Arithmetic,
        operands: Box<[Expr; 2]>,
    },
    Like {
        operand: Box<Expr>,
        pattern: Box<Pattern>,
    },
    In {
        operand: Box<Expr>,
        set: Box<[Expr]>,
    },
    Call {
        function: Function,
        arguments: Box<[Expr]>,
    },
    /// A call that no function answers.
    UnknownCall {
        name: Box<str>,
        arguments: usize,
    },
}
