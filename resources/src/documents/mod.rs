//! From text to documents: YAML (and so JSON) is read into a tree that knows its lines, then into typed values. One reading
//! names every mistake, with file, line, field and what would be right.

pub(crate) mod broker;
pub(crate) mod config;
pub(crate) mod delivery;
mod document;
mod fields;
mod filter;
pub(crate) mod kafka;
mod metadata;
mod node;
mod packed;
pub(crate) mod report;
mod scalar;
pub(crate) mod secret;
mod service;
mod source;
mod splice;
pub(crate) mod template;
pub(crate) mod trigger;

#[cfg(test)]
mod tests;

pub(crate) use document::Content;
pub use document::Document;
pub use metadata::annotation_field;
pub use source::Source;
pub use splice::splice;
