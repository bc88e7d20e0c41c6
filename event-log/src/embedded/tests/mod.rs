//! Tests of the engine as a whole.

mod engine;
mod model;
mod simulated;
mod support;
