//! Tests of the engine as a whole.

mod damage;
mod engine;
mod model;
mod simulated;
mod support;
