//! Where resources come from, and the admin API that shows what became of them.
//!
//! [`FolderStore`] reads a folder of YAML files and tells every change; [`Topics`] sees to the topics of brokers and passes
//! snapshots on to the roles; [`admin`] serves health, metrics and the API under `/api/v1`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod admin;
mod folder;
pub mod limits;
mod topics;

pub use folder::{
    FolderConfig, FolderError, FolderHandle, FolderStore, FolderWriter, OVERRIDES_FILE, is_data_dir,
};
pub use topics::{InForce, Topics, TopicsConfig};
