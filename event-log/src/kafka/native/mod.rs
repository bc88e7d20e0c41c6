//! What of librdkafka the safe wrapper does not offer: reading one partition from any offset with batches and ends, the
//! administration of consumer groups, and the ids of topics.
//!
//! This is the only place of the project with `unsafe`. Its rules: a pointer never leaves this module; whatever librdkafka
//! hands out is copied before it is given back; every object that is made here is destroyed by a `Drop` here, in the order
//! librdkafka asks for; each `unsafe` block says why it holds.

#![allow(unsafe_code, reason = "librdkafka is a C library; see the rules above")]

mod call;
mod groups;
mod list;
mod partition;
mod topics;

pub(super) use groups::{Commits, GroupState, alter_offsets, committed_offsets, describe_group};
pub(super) use partition::{Fetched, PartitionReader};
pub(super) use topics::topic_ids;

use std::ffi::{CStr, CString};
use std::os::raw::c_char;

use rdkafka::error::RDKafkaErrorCode;

/// Why a call was refused, in librdkafka's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct NativeError {
    /// The code.
    pub(super) code: RDKafkaErrorCode,
    /// What it says, for people.
    pub(super) text: Box<str>,
}

impl NativeError {
    fn of(code: rdkafka::types::RDKafkaRespErr) -> Self {
        let code = RDKafkaErrorCode::from(code);
        Self { code, text: code.to_string().into() }
    }

    fn text_with_nul(what: &str) -> Self {
        let text = format!("{what} must not hold a NUL byte").into();
        Self { code: RDKafkaErrorCode::InvalidArgument, text }
    }
}

fn c_text(what: &str, text: &str) -> Result<CString, NativeError> {
    CString::new(text).map_err(|_| NativeError::text_with_nul(what))
}

/// Copies a text of librdkafka.
///
/// # Safety
/// `text` is null or points to a text that ends with a NUL byte and lives through the call.
unsafe fn copied(text: *const c_char) -> Box<str> {
    if text.is_null() {
        return "".into();
    }
    // SAFETY: not null, and the caller vouches for the rest.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into()
}
