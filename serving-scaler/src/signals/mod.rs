//! What is measured of a revision, averaged over windows.

mod window;

pub use window::{Aggregation, Window};
