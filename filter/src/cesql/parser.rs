//! Tokens to expression, by operator precedence (sections 2.1 to 2.4 and 3.4).
//!
//! From tightest: call, `NOT` and `-`, `LIKE`, `EXISTS`, `IN`, `* / %`, `+ -`, comparisons, `AND OR XOR`.

use super::ParseError;
use super::ast::{Arithmetic, Expr, Literal, Logic};
use super::functions::Function;
use super::lexer::{LexError, Lexer, Token, TokenKind};
use super::like::Pattern;
use crate::attributes::Name;
use crate::limits;

/// How tightly an operator binds its operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Lowest,
    Logic,
    Compare,
    Additive,
    Multiplicative,
    In,
    Like,
    Unary,
}

/// An expression and how many levels it has; the limit holds while the tree grows, so that no recursion can go deeper.
struct Parsed {
    expr: Expr,
    depth: usize,
}

pub(super) fn parse(text: &str) -> Result<Expr, ParseError> {
    let to_error = |(at, message): LexError| ParseError {
        column: text.get(..at).map_or(1, |before| before.chars().count() + 1),
        message,
    };
    if text.len() > limits::CESQL_BYTES_MAX {
        return Err(to_error((0, format!("the expression has more than {} bytes", limits::CESQL_BYTES_MAX))));
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next().map_err(to_error)?;
    let mut parser = Parser { lexer, next, searched_gapped: 0 };
    let parsed = parser.expression(Precedence::Lowest, 0).map_err(to_error)?;
    match parser.next.kind {
        TokenKind::End => Ok(parsed.expr),
        _ => Err(to_error((parser.next.at, after_expression(&parser.next.kind)))),
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    next: Token<'a>,
    /// What the patterns so far have of what [`limits::LIKE_SEARCHED_GAPPED_MAX`] bounds.
    searched_gapped: usize,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Result<Token<'a>, LexError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, next))
    }

    fn is_next_keyword(&self, keyword: &str) -> bool {
        matches!(self.next.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn expect(&mut self, kind: &TokenKind<'_>, what: &str) -> Result<(), LexError> {
        if self.next.kind == *kind {
            return self.advance().map(drop);
        }
        Err((self.next.at, format!("expected {what}, found {}", describe(&self.next.kind))))
    }

    /// An expression whose operators bind tighter than `than`.
    fn expression(&mut self, than: Precedence, level: usize) -> Result<Parsed, LexError> {
        let start = self.next.at;
        if level >= limits::CESQL_NESTING_MAX {
            return Err((start, too_deep()));
        }
        let mut left = self.operand(level)?;
        while let Some((infix, precedence)) = self.infix() {
            if precedence <= than {
                break;
            }
            let operator = self.advance()?;
            left = self.apply(left, infix, precedence, level)?;
            if left.depth > limits::CESQL_NESTING_MAX {
                return Err((operator.at, too_deep()));
            }
        }
        Ok(left)
    }

    /// The operator that follows, if one does.
    fn infix(&self) -> Option<(Infix, Precedence)> {
        let logic = |operator| Some((Infix::Logic(operator), Precedence::Logic));
        match &self.next.kind {
            TokenKind::Compare(operator) => Some((Infix::Compare(*operator), Precedence::Compare)),
            TokenKind::Arithmetic(operator @ (Arithmetic::Add | Arithmetic::Subtract)) => {
                Some((Infix::Arithmetic(*operator), Precedence::Additive))
            }
            TokenKind::Arithmetic(operator) => {
                Some((Infix::Arithmetic(*operator), Precedence::Multiplicative))
            }
            TokenKind::Word(word) => match Keyword::of(word)? {
                Keyword::And => logic(Logic::And),
                Keyword::Or => logic(Logic::Or),
                Keyword::Xor => logic(Logic::Xor),
                Keyword::Like => Some((Infix::Like, Precedence::Like)),
                Keyword::In => Some((Infix::In, Precedence::In)),
                // Whether LIKE or IN follows decides how tightly; nothing lies between the two but EXISTS, which has no left.
                Keyword::Not => Some((Infix::Not, Precedence::In)),
                Keyword::Exists | Keyword::True | Keyword::False => None,
            },
            _ => None,
        }
    }

    fn apply(
        &mut self,
        left: Parsed,
        infix: Infix,
        precedence: Precedence,
        level: usize,
    ) -> Result<Parsed, LexError> {
        match infix {
            Infix::Like => self.like(left),
            Infix::In => self.set(left, level),
            Infix::Not => {
                let parsed = if self.is_next_keyword("LIKE") {
                    self.advance()?;
                    self.like(left)?
                } else if self.is_next_keyword("IN") {
                    self.advance()?;
                    self.set(left, level)?
                } else {
                    let found = describe(&self.next.kind);
                    return Err((
                        self.next.at,
                        format!("expected `LIKE` or `IN` after `NOT`, found {found}"),
                    ));
                };
                Ok(Parsed { depth: parsed.depth + 1, expr: Expr::Not(Box::new(parsed.expr)) })
            }
            Infix::Logic(operator) => self.binary(left, precedence, level, |operands| Expr::Logic {
                operator,
                operands,
                parenthesized: false,
            }),
            Infix::Compare(operator) => {
                self.binary(left, precedence, level, |operands| Expr::Compare { operator, operands })
            }
            Infix::Arithmetic(operator) => {
                self.binary(left, precedence, level, |operands| Expr::Arithmetic { operator, operands })
            }
        }
    }

    fn binary(
        &mut self,
        left: Parsed,
        precedence: Precedence,
        level: usize,
        build: impl FnOnce(Box<[Expr; 2]>) -> Expr,
    ) -> Result<Parsed, LexError> {
        let right = self.expression(precedence, level + 1)?;
        let depth = left.depth.max(right.depth) + 1;
        Ok(Parsed { expr: build(Box::new([left.expr, right.expr])), depth })
    }

    fn like(&mut self, left: Parsed) -> Result<Parsed, LexError> {
        let token = self.advance()?;
        let TokenKind::String(text) = token.kind else {
            let found = describe(&token.kind);
            return Err((token.at, format!("expected a quoted pattern after `LIKE`, found {found}")));
        };
        let pattern = Box::new(Pattern::compile(&text));
        self.searched_gapped += pattern.searched_gapped();
        if self.searched_gapped > limits::LIKE_SEARCHED_GAPPED_MAX {
            let (found, max) = (self.searched_gapped, limits::LIKE_SEARCHED_GAPPED_MAX);
            return Err((
                token.at,
                format!(
                    "parts of `LIKE` patterns between two `%` with a `_` among them may have {max} characters in one \
                     expression, up to here they have {found}"
                ),
            ));
        }
        let operand = Box::new(left.expr);
        Ok(Parsed { expr: Expr::Like { operand, pattern }, depth: left.depth + 1 })
    }

    fn set(&mut self, left: Parsed, level: usize) -> Result<Parsed, LexError> {
        self.expect(&TokenKind::LeftParenthesis, "`(` and a list of values after `IN`")?;
        let (elements, depth) = self.list(level)?;
        let (operand, set) = (Box::new(left.expr), elements.into());
        Ok(Parsed { expr: Expr::In { operand, set }, depth: depth.max(left.depth) + 1 })
    }

    /// Expressions up to the closing parenthesis: at least one.
    fn list(&mut self, level: usize) -> Result<(Vec<Expr>, usize), LexError> {
        let (mut list, mut depth) = (Vec::new(), 0);
        loop {
            let element = self.expression(Precedence::Lowest, level + 1)?;
            depth = depth.max(element.depth);
            list.push(element.expr);
            if self.next.kind != TokenKind::Comma {
                break;
            }
            self.advance()?;
        }
        self.expect(&TokenKind::RightParenthesis, "`,` or `)`")?;
        Ok((list, depth))
    }

    fn operand(&mut self, level: usize) -> Result<Parsed, LexError> {
        let token = self.advance()?;
        let leaf = |expr| Ok(Parsed { expr, depth: 1 });
        match token.kind {
            TokenKind::String(text) => leaf(Expr::Literal(Literal::String(text))),
            TokenKind::LeftParenthesis => {
                let mut inner = self.expression(Precedence::Lowest, level + 1)?;
                self.expect(&TokenKind::RightParenthesis, "`)`")?;
                if let Expr::Logic { parenthesized, .. } = &mut inner.expr {
                    *parenthesized = true;
                }
                Ok(inner)
            }
            TokenKind::Arithmetic(operator @ (Arithmetic::Add | Arithmetic::Subtract)) => {
                self.signed(operator, token.at, level)
            }
            TokenKind::Word(word) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                leaf(Expr::Literal(Literal::Integer(integer("", word, token.at)?)))
            }
            TokenKind::Word(word) => match Keyword::of(word) {
                Some(Keyword::True) => leaf(Expr::Literal(Literal::Boolean(true))),
                Some(Keyword::False) => leaf(Expr::Literal(Literal::Boolean(false))),
                Some(Keyword::Not) => self.unary(Expr::Not, level),
                Some(Keyword::Exists) => self.exists(),
                Some(_) => Err((token.at, format!("expected a value before `{word}`"))),
                None if self.next.kind == TokenKind::LeftParenthesis => self.call(word, token.at, level),
                None => leaf(Expr::Attribute(identifier(word, token.at)?)),
            },
            other => Err((token.at, format!("expected a value, found {}", describe(&other)))),
        }
    }

    /// What follows a sign: with digits right behind, an integer literal; otherwise only `-` is an operator.
    fn signed(&mut self, operator: Arithmetic, at: usize, level: usize) -> Result<Parsed, LexError> {
        let sign = if operator == Arithmetic::Subtract { "-" } else { "+" };
        if let TokenKind::Word(word) = self.next.kind
            && self.next.at == at + 1
            && word.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.advance()?;
            return Ok(Parsed { expr: Expr::Literal(Literal::Integer(integer(sign, word, at)?)), depth: 1 });
        }
        if operator == Arithmetic::Add {
            return Err((at, "`+` needs a value on its left, or digits right behind it".to_owned()));
        }
        self.unary(Expr::Negate, level)
    }

    fn unary(&mut self, build: fn(Box<Expr>) -> Expr, level: usize) -> Result<Parsed, LexError> {
        let at = self.next.at;
        let operand = self.expression(Precedence::Unary, level + 1)?;
        if operand.depth >= limits::CESQL_NESTING_MAX {
            return Err((at, too_deep()));
        }
        Ok(Parsed { depth: operand.depth + 1, expr: build(Box::new(operand.expr)) })
    }

    fn exists(&mut self) -> Result<Parsed, LexError> {
        let token = self.advance()?;
        match token.kind {
            TokenKind::Word(word) if Keyword::of(word).is_none() => {
                Ok(Parsed { expr: Expr::Exists(identifier(word, token.at)?), depth: 1 })
            }
            other => {
                let found = describe(&other);
                Err((token.at, format!("expected an attribute name after `EXISTS`, found {found}")))
            }
        }
    }

    fn call(&mut self, name: &str, at: usize, level: usize) -> Result<Parsed, LexError> {
        if !name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_') || name.starts_with('_') {
            return Err((at, format!("`{name}` is not a function name; those have only letters and `_`")));
        }
        self.advance()?;
        let (arguments, depth) = if self.next.kind == TokenKind::RightParenthesis {
            self.advance()?;
            (Vec::new(), 0)
        } else {
            self.list(level)?
        };
        let depth = depth + 1;
        if depth > limits::CESQL_NESTING_MAX {
            return Err((at, too_deep()));
        }
        let expr = match Function::find(name, arguments.len()) {
            Some(function) => Expr::Call { function, arguments: arguments.into() },
            None => Expr::UnknownCall { name: name.into(), arguments: arguments.len() },
        };
        Ok(Parsed { expr, depth })
    }
}

#[derive(Debug, Clone, Copy)]
enum Infix {
    Logic(Logic),
    Compare(super::ast::Compare),
    Arithmetic(Arithmetic),
    Like,
    In,
    Not,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keyword {
    And,
    Or,
    Xor,
    Not,
    Like,
    In,
    Exists,
    True,
    False,
}

impl Keyword {
    fn of(word: &str) -> Option<Self> {
        const KEYWORDS: [(&str, Keyword); 9] = [
            ("AND", Keyword::And),
            ("OR", Keyword::Or),
            ("XOR", Keyword::Xor),
            ("NOT", Keyword::Not),
            ("LIKE", Keyword::Like),
            ("IN", Keyword::In),
            ("EXISTS", Keyword::Exists),
            ("TRUE", Keyword::True),
            ("FALSE", Keyword::False),
        ];
        let known = KEYWORDS.iter().find(|(text, _)| word.eq_ignore_ascii_case(text));
        known.map(|(_, keyword)| *keyword)
    }
}

fn identifier(word: &str, at: usize) -> Result<Name, LexError> {
    if word.len() > limits::ATTRIBUTE_NAME_BYTES_MAX || word.contains('_') {
        let shown: String = word.chars().take(40).collect();
        return Err((at, format!("`{shown}` is not an attribute name; those have only letters and digits")));
    }
    Ok(Name::new(&word.to_ascii_lowercase()))
}

fn integer(sign: &str, digits: &str, at: usize) -> Result<i32, LexError> {
    let text = format!("{sign}{digits}");
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        (at, format!("`{shown}` is no Integer; those go from -2147483648 to 2147483647"))
    })
}

fn too_deep() -> String {
    format!(
        "more than {} operators and parentheses inside each other; use `IN (…)` for many values, or split the expression",
        limits::CESQL_NESTING_MAX
    )
}

fn describe(kind: &TokenKind<'_>) -> String {
    match kind {
        TokenKind::Word(word) => format!("`{}`", word.chars().take(40).collect::<String>()),
        TokenKind::String(_) => "a string".to_owned(),
        TokenKind::LeftParenthesis => "`(`".to_owned(),
        TokenKind::RightParenthesis => "`)`".to_owned(),
        TokenKind::Comma => "`,`".to_owned(),
        TokenKind::Compare(_) => "a comparison".to_owned(),
        TokenKind::Arithmetic(_) => "an arithmetic operator".to_owned(),
        TokenKind::End => "the end".to_owned(),
    }
}

fn after_expression(kind: &TokenKind<'_>) -> String {
    match kind {
        TokenKind::RightParenthesis => "this `)` closes nothing".to_owned(),
        TokenKind::String(_) => {
            "expected an operator, found a string; write a quote inside a string as `\\'` or `\\\"`"
                .to_owned()
        }
        other => format!("expected an operator or the end, found {}", describe(other)),
    }
}
