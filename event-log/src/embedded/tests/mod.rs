//! Tests of the engine as a whole.

mod damage;
mod engine;
mod model;
mod retention;
mod simulated;
mod space;
mod support;
mod unreadable;
