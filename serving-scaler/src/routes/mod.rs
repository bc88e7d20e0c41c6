//! The routes of Services: which revision a request goes to (Knative Serving, Route and Traffic).
//!
//! Two things differ from Knative's. A Service names revisions of its own only. And traffic that follows the latest revision
//! is one rollout even where another target names that revision too: there, the two are taken for one, and the next latest
//! revision gets all of its traffic at once.

pub mod address;
mod resolve;
mod rollout;
mod route;
pub mod status;
mod store;
mod table;

#[cfg(test)]
mod tests;

pub use resolve::Target;
pub use rollout::{Rollout, Share};
pub use route::Route;
pub(crate) use route::pick;
pub use table::Routes;
