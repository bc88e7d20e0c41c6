//! Administrative requests: asked in one call, answered through a queue. All of it blocks until Kafka has answered.

use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr as Code;

use super::{NativeError, copied};

/// The longest time that librdkafka lets a request have.
const LONGEST_REQUEST: Duration = Duration::from_secs(3600);

/// An administrative request and the queue that its answer comes to.
pub(super) struct Call {
    pub(super) native: *mut rd::rd_kafka_t,
    pub(super) options: *mut rd::rd_kafka_AdminOptions_t,
    pub(super) queue: *mut rd::rd_kafka_queue_t,
    timeout_ms: i32,
}

impl Call {
    pub(super) fn new<C: ClientContext>(client: &Client<C>, operation: Operation, timeout: Duration) -> Self {
        Self::with(client, operation, timeout, timeout)
    }

    /// A request to the coordinator of a group. librdkafka forgets one whose time is over, but not that it waits for a
    /// coordinator that is away; when that comes back, it goes on with what it has freed. So the request itself lasts, and
    /// only we stop to wait for it.
    pub(super) fn to_coordinator<C: ClientContext>(
        client: &Client<C>,
        operation: Operation,
        timeout: Duration,
    ) -> Self {
        Self::with(client, operation, LONGEST_REQUEST, timeout)
    }

    fn with<C: ClientContext>(
        client: &Client<C>,
        operation: Operation,
        request: Duration,
        wait: Duration,
    ) -> Self {
        let native = client.native_ptr();
        let milliseconds = |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX);
        let timeout_ms = milliseconds(wait);
        // SAFETY: the client is alive during the call; both objects are destroyed in `Drop`. A time-out out of range would
        // leave librdkafka's own.
        unsafe {
            let options = rd::rd_kafka_AdminOptions_new(native, operation);
            rd::rd_kafka_AdminOptions_set_request_timeout(
                options,
                milliseconds(request),
                std::ptr::null_mut(),
                0,
            );
            Self { native, options, queue: rd::rd_kafka_queue_new(native), timeout_ms }
        }
    }

    /// Waits for the answer.
    pub(super) fn wait(&self) -> Result<Event, NativeError> {
        // SAFETY: the queue is ours; what comes out of it is destroyed with `Event`. librdkafka answers by itself at the
        // time-out of the request; the second more is for its answer.
        let event =
            Event(unsafe { rd::rd_kafka_queue_poll(self.queue, self.timeout_ms.saturating_add(1000)) });
        if event.0.is_null() {
            return Err(NativeError::of(Code::RD_KAFKA_RESP_ERR__TIMED_OUT));
        }
        // SAFETY: the event is alive; its text is copied.
        unsafe {
            match rd::rd_kafka_event_error(event.0) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(event),
                code => {
                    let text = copied(rd::rd_kafka_event_error_string(event.0));
                    Err(NativeError { code: RDKafkaErrorCode::from(code), text })
                }
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // SAFETY: both are ours. An answer that comes later finds no queue and is dropped by librdkafka.
        unsafe {
            rd::rd_kafka_queue_destroy(self.queue);
            rd::rd_kafka_AdminOptions_destroy(self.options);
        }
    }
}

/// An answer.
pub(super) struct Event(pub(super) *mut rd::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it came out of `rd_kafka_queue_poll` and is not used after this.
            unsafe { rd::rd_kafka_event_destroy(self.0) };
        }
    }
}

/// What an error of librdkafka says; `None` for none.
///
/// # Safety
/// `error` is null or an error that lives through the call.
pub(super) unsafe fn failure(error: *const rd::rd_kafka_error_t) -> Option<NativeError> {
    if error.is_null() {
        return None;
    }
    // SAFETY: not null; its text is copied.
    unsafe {
        let code = rd::rd_kafka_error_code(error);
        (code != Code::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| NativeError {
            code: RDKafkaErrorCode::from(code),
            text: copied(rd::rd_kafka_error_string(error)),
        })
    }
}
