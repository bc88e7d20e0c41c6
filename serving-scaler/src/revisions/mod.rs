//! The revisions of Services: what each Service was whenever its template changed (Knative Serving, Configuration and
//! Revision).

mod book;
mod collect;
mod revision;
mod store;
mod template;

#[cfg(test)]
mod tests;

pub use book::{Book, Change, ServiceRevisions};
pub use collect::Retention;
pub use revision::{Revision, RevisionState};
