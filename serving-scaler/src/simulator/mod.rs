//! Policies over what was recorded or made up, on the code that decides in production.

mod recorded;

pub use recorded::{Recorded, RecordedSpec, Row};
