//! A batch: as good as its events one by one, in an array as `serde_json` reads it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pelton_event::json::{decode, decode_batch, encode, encode_batch};
use pelton_event::{DecodeError, Event};
use pelton_fuzz::is_encoded_0_3;
use serde_json::value::RawValue;

fuzz_target!(|input: &[u8]| {
    let batch = decode_batch(&Bytes::copy_from_slice(input));
    let elements = serde_json::from_slice::<Vec<&RawValue>>(input);
    let one_by_one: Option<Vec<Event>> = elements.as_ref().ok().and_then(|elements| {
        elements
            .iter()
            .map(|element| decode(&Bytes::copy_from_slice(element.get().as_bytes())).ok())
            .collect()
    });
    match (&batch, one_by_one) {
        (Ok(events), expected) => assert_eq!(Some(events), expected.as_ref()),
        (Err(error), expected) => assert_eq!(expected, None, "{error}"),
    }
    if let (Err(DecodeError::Batch { index, .. }), Ok(elements)) = (&batch, &elements) {
        assert!(*index < elements.len(), "event {index} of {}", elements.len());
        let named = elements[*index].get().as_bytes();
        assert!(decode(&Bytes::copy_from_slice(named)).is_err(), "event {index} is valid");
    }
    let Ok(events) = batch else { return };
    let written = Bytes::from(encode_batch(&events));
    let documents: Vec<_> = events.iter().map(encode).collect();
    assert_eq!([b"[", &*documents.join(&b","[..]), b"]"].concat(), written);
    if !events.iter().any(is_encoded_0_3) {
        let back = decode_batch(&written).expect("what is written can be read");
        assert_eq!(back.len(), events.len());
        assert_eq!(decode_batch(&Bytes::from(encode_batch(&back))), Ok(back));
    }
});
