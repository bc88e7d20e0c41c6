//! A request to ingress: headers and body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pelton_event::http::{Options, Received, decode};
use pelton_fuzz::{check_event, message};

fuzz_target!(|input: &[u8]| {
    let (headers, body) = message(input);
    for percent_encoded in [true, false] {
        match decode(&headers, body.clone(), Options { percent_encoded }) {
            Ok(Received::One(event)) => check_event(&event),
            Ok(Received::Batch(events)) => events.iter().for_each(check_event),
            // A refusal is told to the sender, however large the request was.
            Err(error) => assert!((1..2_000).contains(&error.to_string().len()), "{error}"),
        }
    }
});
