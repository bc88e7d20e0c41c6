//! Tools for resources: change them, list them, look at them.

pub(crate) mod apply;
pub(crate) mod delete;
pub(crate) mod describe;
pub(crate) mod documents;
pub(crate) mod files;
pub(crate) mod get;
pub(crate) mod hand_back;
pub(crate) mod logs;
pub(crate) mod name;
pub(crate) mod pause;
pub(crate) mod traffic;

mod problems;
mod running;
