//! Routes.

mod rollout;

pub use rollout::{Rollout, Share};
