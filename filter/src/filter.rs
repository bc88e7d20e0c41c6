//! A compiled filter, and the checks on the way there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pelton_event::Event;

use crate::attributes::{AttributeList, Attributes, Name};
use crate::cesql::{Cesql, CesqlError};
use crate::error::{FilterError, Warning};
use crate::expression::Expression;
use crate::limits;
use crate::node::{Comparison, Condition, Node};

/// A checked, compiled filter. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Filter(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    root: Node,
    /// Of `root`; equal filters have equal hashes within one process.
    hash: u64,
    warnings: Box<[Warning]>,
}

/// What a filter says about one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evaluation {
    /// Whether the event passes.
    pub matches: bool,
    /// The first error of a CESQL expression on the way, to be counted. That expression did not pass.
    pub error: Option<CesqlError>,
}

impl Filter {
    /// Compiles one filter.
    ///
    /// # Errors
    /// The first broken rule, with its place in the filter.
    pub fn compile(expression: &Expression) -> Result<Self, FilterError> {
        let mut compiler = Compiler::default();
        let root = compiler.node(expression, "", 0)?;
        Ok(Self::new(root, compiler.warnings))
    }

    /// Compiles the list of a trigger's `spec.filters`: an event passes if it passes all of them, so an empty list passes
    /// every event. Places in errors start with the index, for example `[2].cesql`.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn compile_all(expressions: &[Expression]) -> Result<Self, FilterError> {
        let mut compiler = Compiler::default();
        let mut nodes = compiler.list(expressions, "", 0)?;
        let root = match nodes.len() {
            1 => nodes.swap_remove(0),
            _ => Node::All(nodes.into()),
        };
        Ok(Self::new(root, compiler.warnings))
    }

    /// The filter that every event passes.
    #[must_use]
    pub fn everything() -> Self {
        Self::new(Node::All(Box::default()), Vec::new())
    }

    fn new(root: Node, warnings: Vec<Warning>) -> Self {
        let mut hasher = DefaultHasher::new();
        root.hash(&mut hasher);
        Self(Arc::new(Compiled { hash: hasher.finish(), root, warnings: warnings.into() }))
    }

    /// Whether `event` passes.
    #[must_use]
    pub fn matches(&self, event: &Event) -> bool {
        self.evaluate(event).matches
    }

    /// Whether `event` passes, and the error if an expression could not be evaluated.
    #[must_use]
    pub fn evaluate(&self, event: &Event) -> Evaluation {
        self.evaluate_attributes(Attributes::of(event, &mut AttributeList::new()))
    }

    pub(crate) fn evaluate_attributes(&self, attributes: Attributes<'_, '_>) -> Evaluation {
        let mut error = None;
        let matches = self.0.root.passes(attributes, &mut error);
        Evaluation { matches, error }
    }

    /// What is valid but probably a mistake; for whoever checks files before they are used.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.0.warnings
    }

    pub(crate) fn root(&self) -> &Node {
        &self.0.root
    }
}

impl Default for Filter {
    fn default() -> Self {
        Self::everything()
    }
}

/// Equal filters pass the same events because they are built alike; warnings do not count.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.root == other.0.root)
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

/// Checks and translates, counting what the limits bound.
#[derive(Default)]
struct Compiler {
    nodes: usize,
    warnings: Vec<Warning>,
}

impl Compiler {
    fn node(&mut self, expression: &Expression, path: &str, depth: usize) -> Result<Node, FilterError> {
        if depth > limits::NESTING_MAX {
            return Err(FilterError::TooDeep { path: path.to_owned() });
        }
        match expression {
            Expression::All(list) => {
                let path = not_empty(list.is_empty(), path, "all")?;
                Ok(Node::All(self.list(list, &path, depth + 1)?.into()))
            }
            Expression::Any(list) => {
                let path = not_empty(list.is_empty(), path, "any")?;
                Ok(Node::Any(self.list(list, &path, depth + 1)?.into()))
            }
            Expression::Not(inner) => {
                self.count(1)?;
                Ok(Node::Not(Box::new(self.node(inner, &join(path, "not"), depth + 1)?)))
            }
            Expression::Exact(map) => self.conditions(map, path, "exact", Comparison::Equal),
            Expression::Prefix(map) => self.conditions(map, path, "prefix", Comparison::StartsWith),
            Expression::Suffix(map) => self.conditions(map, path, "suffix", Comparison::EndsWith),
            Expression::Attributes(map) => self.conditions(map, path, "attributes", Comparison::Present),
            Expression::Cesql(text) => self.cesql(text, &join(path, "cesql")),
        }
    }

    fn list(&mut self, list: &[Expression], path: &str, depth: usize) -> Result<Vec<Node>, FilterError> {
        self.count(list.len())?;
        list.iter().enumerate().map(|(at, inner)| self.node(inner, &format!("{path}[{at}]"), depth)).collect()
    }

    /// The conditions of one dialect. With `Present`, only an empty value asks for presence; another one must be equal.
    fn conditions(
        &mut self,
        map: &[(String, String)],
        path: &str,
        dialect: &'static str,
        comparison: Comparison,
    ) -> Result<Node, FilterError> {
        let path = not_empty(map.is_empty(), path, dialect)?;
        self.count(map.len())?;
        let mut nodes = Vec::with_capacity(map.len());
        for (name, text) in map {
            if !is_attribute_name(name) {
                return Err(FilterError::AttributeName { path, name: name.chars().take(40).collect() });
            }
            let path = join(&path, name);
            not_too_long(text, &path, limits::VALUE_BYTES_MAX)?;
            let comparison = match comparison {
                Comparison::Present if !text.is_empty() => Comparison::Equal,
                Comparison::Present => Comparison::Present,
                _ if text.is_empty() => return Err(FilterError::EmptyValue { path, name: name.clone() }),
                other => other,
            };
            nodes.push(Node::Condition(Condition {
                name: Name::new(name),
                comparison,
                text: text.as_str().into(),
            }));
        }
        match nodes.len() {
            1 => Ok(nodes.swap_remove(0)),
            _ => Ok(Node::All(nodes.into())),
        }
    }

    fn cesql(&mut self, text: &str, path: &str) -> Result<Node, FilterError> {
        not_too_long(text, path, limits::CESQL_BYTES_MAX)?;
        let expression = Cesql::parse(text).map_err(|error| FilterError::Cesql {
            path: path.to_owned(),
            column: error.column,
            message: error.message,
        })?;
        self.count(expression.nodes())?;
        self.warnings.extend(expression.warnings(path));
        Ok(Node::Cesql(Box::new(expression)))
    }

    fn count(&mut self, nodes: usize) -> Result<(), FilterError> {
        self.nodes += nodes;
        if self.nodes > limits::NODES_MAX { Err(FilterError::TooManyConditions) } else { Ok(()) }
    }
}

/// `^[a-z][a-z0-9]*$`, the rule of Knative's webhook and CRD.
fn is_attribute_name(name: &str) -> bool {
    name.len() <= limits::ATTRIBUTE_NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn not_empty(is_empty: bool, path: &str, dialect: &'static str) -> Result<String, FilterError> {
    let path = join(path, dialect);
    if is_empty { Err(FilterError::Empty { path, dialect }) } else { Ok(path) }
}

fn not_too_long(text: &str, path: &str, max: usize) -> Result<(), FilterError> {
    if text.len() <= max {
        return Ok(());
    }
    Err(FilterError::TooLong { path: path.to_owned(), bytes: text.len(), max })
}

fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}
