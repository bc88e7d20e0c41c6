//! What works without a running Pelton.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod explain;
pub(crate) mod match_cases;
pub(crate) mod simulate;
pub(crate) mod version;
