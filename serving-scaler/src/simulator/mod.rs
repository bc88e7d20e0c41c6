//! Policies over what was recorded, on the decisions themselves.

mod recorded;

pub use recorded::{Recorded, RecordedSpec, Row};
