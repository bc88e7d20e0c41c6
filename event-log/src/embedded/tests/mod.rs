//! Tests of the engine as a whole.

mod engine;
mod support;
