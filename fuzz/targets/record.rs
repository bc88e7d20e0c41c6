//! A record of the log: what decodes encodes to the same bytes, and what was written from it can be delivered.
#![no_main]

use bytes::Bytes;
use http::header::HeaderMap;
use libfuzzer_sys::fuzz_target;
use pelton_event::http::{Mode, Options, encode};
use pelton_event::{Failure, Record, RecordError};

fuzz_target!(|input: &[u8]| {
    let record = match Record::decode(Bytes::copy_from_slice(input)) {
        Ok(record) => record,
        Err(RecordError::Damaged(at)) => return assert!(at <= input.len(), "damaged at {at}"),
        Err(_) => return assert_ne!(input[0], 1),
    };
    let mut written = Vec::new();
    record.encode(&mut written);
    assert_eq!(written, input);
    assert_eq!(record.encoded_len(), input.len());
    assert_eq!(record.detached(), record);
    // Its texts were not judged again: nothing that a damaged disk gives may stop a delivery halfway.
    let _ = pelton_event::kafka::encode(&record);
    let Some(event) = &record.event else { return };
    for mode in [Mode::Binary, Mode::Structured] {
        for percent_encoded in [true, false] {
            let _ = encode(event, mode, Options { percent_encoded }, &mut HeaderMap::new());
        }
    }
    if let Some(failure) = record.envelope.step().and_then(|step| step.failure()) {
        let failure: &Failure = failure;
        let _ = event.dead_letter(failure);
    }
    let _ = pelton_event::hops::take(event.clone());
    let _ = event.partition_key();
});
