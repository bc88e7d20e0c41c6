//! A subscriber's response: it is read as a request is, but holds one event or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pelton_event::DecodeError;
use pelton_event::http::{Options, Received, decode, decode_reply};
use pelton_fuzz::{check_event, message};

fuzz_target!(|input: &[u8]| {
    let (headers, body) = message(input);
    let options = Options::default();
    let as_request = decode(&headers, body.clone(), options);
    match decode_reply(&headers, body.clone(), options) {
        Ok(None) => assert!(body.is_empty()),
        Ok(Some(event)) => {
            check_event(&event);
            assert_eq!(as_request, Ok(Received::One(event)));
        }
        Err(DecodeError::BatchReply) => {
            assert!(!matches!(as_request, Ok(Received::One(_)) | Err(DecodeError::NotCloudEvent)));
        }
        Err(error) => assert_eq!(as_request, Err(error)),
    }
});
