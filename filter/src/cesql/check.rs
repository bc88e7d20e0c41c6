//! What can be said about an expression before any event comes (section 3.3 asks for checks at compile time).

use super::ast::{Expr, Literal};
use super::value::Type;
use crate::error::Warning;

/// Calls `visit` for an expression and everything in it.
fn walk<'e>(expr: &'e Expr, visit: &mut impl FnMut(&'e Expr)) {
    visit(expr);
    match expr {
        Expr::Literal(_) | Expr::Attribute(_) | Expr::Exists(_) | Expr::UnknownCall { .. } => {}
        Expr::Not(operand) | Expr::Negate(operand) | Expr::Like { operand, .. } => walk(operand, visit),
        Expr::Logic { operands, .. } | Expr::Compare { operands, .. } | Expr::Arithmetic { operands, .. } => {
            operands.iter().for_each(|operand| walk(operand, visit));
        }
        Expr::In { operand, set } => {
            walk(operand, visit);
            set.iter().for_each(|element| walk(element, visit));
        }
        Expr::Call { arguments, .. } => arguments.iter().for_each(|argument| walk(argument, visit)),
    }
}

pub(super) fn nodes(expr: &Expr) -> usize {
    let mut nodes = 0;
    walk(expr, &mut |_| nodes += 1);
    nodes
}

pub(super) fn warnings(root: &Expr, path: &str) -> Vec<Warning> {
    let path = || path.to_owned();
    let mut warnings = Vec::new();
    let mut is_mixed = false;
    walk(root, &mut |expr| match expr {
        Expr::UnknownCall { name, arguments } => warnings.push(Warning::UnknownFunction {
            path: path(),
            name: name.to_string(),
            arguments: *arguments,
        }),
        Expr::Logic { operator: outer, operands, .. } => {
            is_mixed |= operands.iter().any(|operand| {
                matches!(operand, Expr::Logic { operator, parenthesized: false, .. } if operator != outer)
            });
        }
        _ => {}
    });
    if is_mixed {
        warnings.push(Warning::MixedLogic { path: path() });
    }
    match type_of(root) {
        Some(Type::String) => warnings.push(Warning::NotBoolean { path: path(), kind: "a String" }),
        Some(Type::Integer) => warnings.push(Warning::NotBoolean { path: path(), kind: "an Integer" }),
        Some(Type::Boolean) | None => {}
    }
    warnings
}

/// The type of an expression's value, if no event can change it.
fn type_of(expr: &Expr) -> Option<Type> {
    match expr {
        Expr::Literal(Literal::String(_)) => Some(Type::String),
        Expr::Literal(Literal::Integer(_)) | Expr::Negate(_) | Expr::Arithmetic { .. } => Some(Type::Integer),
        Expr::Call { function, .. } => Some(function.returns()),
        Expr::Attribute(_) => None,
        _ => Some(Type::Boolean),
    }
}
