//! From a request to its events: the body collected within its limit, then decoded and validated once.

use std::error::Error as StdError;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use http_body_util::BodyExt;
use hyper::body::Body;
use pelton_event::DecodeError;
use pelton_event::http::{self as http_form, Options, Received};
use pelton_runtime::body::{Collector, TooLarge};

use crate::admit::Reservation;
use crate::ingress::Config;
use crate::limits;
use crate::refusal::Refusal;

const BATCH_MEDIA_TYPE: &str = "application/cloudevents-batch";

/// Whether the content type says that the body is a batch.
pub(crate) fn is_batch(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    text.get(..BATCH_MEDIA_TYPE.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(BATCH_MEDIA_TYPE.as_bytes()))
}

/// Refuses a compressed body: nothing here may grow on the way in.
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(coding) = headers.get(CONTENT_ENCODING) else { return Ok(()) };
    if coding.as_bytes().eq_ignore_ascii_case(b"identity") {
        return Ok(());
    }
    Err(Refusal::ContentCoding(String::from_utf8_lossy(coding.as_bytes()).chars().take(40).collect()))
}

/// The whole body, at most `max` bytes of it. A body that announces more is refused before a byte of it is read; one
/// without a length draws on the shares as it comes.
pub(crate) async fn collect<B>(
    body: &mut B,
    max: u64,
    timeout: Duration,
    reservation: &mut Reservation<'_>,
) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let announced = body.size_hint().lower();
    let too_large = |TooLarge| Refusal::TooLarge { max };
    let in_memory = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut collector = Collector::new(in_memory(announced), in_memory(max)).map_err(too_large)?;
    reservation.grow(limits::REQUEST_OVERHEAD_BYTES + announced)?;
    let mut reserved = announced;
    let read = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Refusal::Body(error.into().to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            collector.push(data).map_err(too_large)?;
            let length = collector.len() as u64;
            if length > reserved {
                reservation.grow(length - reserved)?;
                reserved = length;
            }
        }
        Ok(collector.finish())
    };
    tokio::time::timeout(timeout, read).await.unwrap_or(Err(Refusal::BodyTimeout(timeout)))
}

/// Reads and drops the rest of a refused body, as far as that is little, and tells whether nothing of it is left: then the
/// connection can go on. Otherwise the listener reads on behind the answer, for a client that sends all before it reads, and
/// closes.
pub(crate) async fn discard<B>(body: &mut B) -> bool
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return true;
    }
    if body.size_hint().lower() > limits::REFUSED_BODY_BYTES {
        return false;
    }
    let rest = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
            if length > limits::REFUSED_BODY_BYTES {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(limits::REFUSED_BODY_TIMEOUT, rest).await.unwrap_or(false)
}

/// The events of a request: one, or those of a batch. A batch may be larger than an event may, but none of its events.
pub(crate) fn decode(headers: &HeaderMap, body: Bytes, config: &Config) -> Result<Received, Refusal> {
    let options = Options { percent_encoded: config.percent_encoded };
    let received = http_form::decode(headers, body, options).map_err(|error| match error {
        DecodeError::Format(_) => Refusal::MediaType(error.to_string()),
        other => Refusal::NotAnEvent(other.to_string()),
    })?;
    let Received::Batch(events) = &received else { return Ok(received) };
    if events.len() > config.batch_events_max {
        return Err(Refusal::BatchTooLarge { events: events.len(), max: config.batch_events_max });
    }
    let max = config.body_bytes_max;
    match events.iter().position(|event| event.data().is_some_and(|data| data.len() as u64 > max)) {
        Some(index) => Err(Refusal::EventTooLarge { index, max }),
        None => Ok(received),
    }
}
