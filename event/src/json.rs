//! The JSON form of an event (CloudEvents JSON event format 1.0.2 and 0.3) and of a batch, both ways.
//!
//! # Data, read
//!
//! | document | data of the event |
//! |---|---|
//! | no `data`, no `data_base64` | absent |
//! | `data` under a JSON content type | its bytes as they are in the document (`null` too) |
//! | `data` without `datacontenttype` | the same; the event gets `application/json`, which the format implies |
//! | `data` under another content type | the content of the string; `null` is absent; anything else is an error |
//! | `data_base64` (1.0), `data` with `datacontentencoding: base64` (0.3) | the decoded bytes |
//!
//! # Data, written
//!
//! Under a JSON content type, or none, data that is JSON is written as it is. Under `text/*` and XML in UTF-8, data that is
//! UTF-8 is written as a string. All else is `data_base64` (in 0.3 `data` with `datacontentencoding`), so that every byte
//! comes back (section 3.1.1 leaves to the sender what counts as binary).

mod decode;
mod encode;
mod members;

#[cfg(test)]
mod tests;

pub use decode::{decode, decode_batch};
pub use encode::{encode, encode_batch};
