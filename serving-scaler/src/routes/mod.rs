//! The routes of Services: which revision a request goes to (Knative Serving, Route and Traffic).

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
pub use table::Routes;
