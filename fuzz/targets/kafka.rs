//! A Kafka record of any producer. Lines are headers as in the other targets; `:key`, `:time` and `:null` are the parts of a
//! record that are no header, and a line without a colon is a header without a value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pelton_event::Timestamp;
use pelton_event::kafka::{KafkaHeader, KafkaRecord, decode};
use pelton_fuzz::{check_event, check_record, lines_and_body};

fuzz_target!(|input: &[u8]| {
    let (lines, body) = lines_and_body(input);
    let mut record = KafkaRecord { key: None, value: Some(body), headers: &[], timestamp: None };
    let mut headers = Vec::new();
    for (name, value) in lines {
        match (name, value) {
            (b"", Some(b"null")) => record.value = None,
            (b"", Some(value)) => match value.split_first() {
                Some((b'k', key)) => record.key = Some(key),
                Some((b't', time)) => record.timestamp = Some(Timestamp::from_millis(time.len() as u64)),
                _ => {}
            },
            (name, value) => {
                if let Ok(name) = std::str::from_utf8(name) {
                    headers.push(KafkaHeader { name, value });
                }
            }
        }
    }
    match decode(KafkaRecord { headers: &headers, ..record }) {
        Ok(record) => {
            check_record(&record);
            if let Some(event) = &record.event {
                check_event(event);
            }
        }
        Err(error) => assert!((1..2_000).contains(&error.to_string().len()), "{error}"),
    }
});
