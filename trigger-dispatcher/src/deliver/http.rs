//! Delivery over HTTP (CloudEvents HTTP binding 1.0.2, Knative data-plane contract).

use std::time::Duration;

use bytes::Bytes;
use futures_core::future::BoxFuture;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use pelton_event::http::{Mode, Options};
use pelton_event::limits::FAILURE_BODY_BYTES_MAX;
use pelton_event::{Event, Timestamp, TraceContext};
use pelton_resources::DeliveryFormat;
use pelton_resources::contracts::{Delivery, Outcome, Response, Sender};
use pelton_runtime::client::{Call, CallError, HttpClient};
use pelton_runtime::clock::Clock;

use super::prepared::{Prepared, PreparedTargets};
use super::retry_after;
use crate::reply::HOPS_ATTRIBUTE;

static PREFER: HeaderName = HeaderName::from_static("prefer");
static REPLY: HeaderValue = HeaderValue::from_static("reply");
static KN_NAMESPACE: HeaderName = HeaderName::from_static("kn-namespace");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Sends events as POST requests: to URLs, and to the replica that was granted for a Service.
#[derive(Debug)]
pub struct HttpSender<C> {
    client: C,
    clock: Clock,
    reply_bytes_max: usize,
    header_values: Options,
    targets: PreparedTargets,
}

impl<C: HttpClient> HttpSender<C> {
    /// A sender over `client`. A reply of more than `reply_bytes_max` bytes is an error of the subscriber.
    #[must_use]
    pub fn new(client: C, clock: Clock, reply_bytes_max: usize) -> Self {
        let targets = PreparedTargets::default();
        Self { client, clock, reply_bytes_max, header_values: Options::default(), targets }
    }

    /// This sender, with subscribers that read and write header values so.
    #[must_use]
    pub fn with_header_values(self, header_values: Options) -> Self {
        Self { header_values, ..self }
    }

    async fn send_one(&self, delivery: Delivery) -> Outcome {
        let prepared = match self.targets.of(&delivery) {
            Ok(prepared) => prepared,
            Err(error) => return Outcome::Forbidden { message: error.to_string().into() },
        };
        let policy = &delivery.trigger.delivery;
        let call = self.call(prepared, &delivery, policy.format, policy.timeout);
        match self.client.call(call).await {
            Ok(response) => self.answered(&response),
            Err(error) => failed(&error),
        }
    }

    fn call(&self, to: Prepared, delivery: &Delivery, format: DeliveryFormat, timeout: Duration) -> Call {
        let mut headers = HeaderMap::new();
        let body = encode(&delivery.event, format, self.header_values, &mut headers);
        headers.insert(PREFER.clone(), REPLY.clone());
        headers.insert(KN_NAMESPACE.clone(), to.namespace);
        if let Some(trace) = &delivery.trace {
            add_trace(trace, &mut headers);
        }
        let (method, response_limit) = (Method::POST, self.reply_bytes_max);
        Call { target: to.target, method, headers, body, timeout, response_limit }
    }

    fn answered(&self, response: &http::Response<Bytes>) -> Outcome {
        let now = Timestamp::from_millis(self.clock.unix_ms());
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Outcome::Response(Response {
            status: response.status().as_u16(),
            retry_after: wait.and_then(|value| retry_after::parse(value, now)),
            reply: reply(response, self.header_values),
            body: excerpt(response.body()),
        })
    }
}

impl<C: HttpClient + std::fmt::Debug> Sender for HttpSender<C> {
    fn send(&self, deliveries: Vec<Delivery>) -> BoxFuture<'_, Vec<Outcome>> {
        Box::pin(super::each(deliveries, |delivery| self.send_one(delivery)))
    }
}

/// The event in its form on the wire; the loop guard is hidden from subscribers.
fn encode(event: &Event, format: DeliveryFormat, values: Options, headers: &mut HeaderMap) -> Bytes {
    let hidden = event.attribute(HOPS_ATTRIBUTE).and_then(|_| event.with(&[(HOPS_ATTRIBUTE, None)]).ok());
    let mode = match format {
        DeliveryFormat::Binary => Mode::Binary,
        DeliveryFormat::Json => Mode::Structured,
    };
    pelton_event::http::encode(hidden.as_ref().unwrap_or(event), mode, values, headers)
}

fn add_trace(trace: &TraceContext, headers: &mut HeaderMap) {
    let parts = [(&TRACEPARENT, &trace.parent), (&TRACESTATE, &trace.state), (&BAGGAGE, &trace.baggage)];
    for (name, text) in parts {
        if let (false, Ok(value)) = (text.is_empty(), HeaderValue::from_str(text)) {
            headers.insert(name.clone(), value);
        }
    }
}

/// Only a 200 may carry a reply; what comes with a 202 is none (Knative data-plane contract).
fn reply(response: &http::Response<Bytes>, values: Options) -> Result<Option<Event>, Box<str>> {
    if response.status() != StatusCode::OK {
        return Ok(None);
    }
    pelton_event::http::decode_reply(response.headers(), response.body().clone(), values)
        .map_err(|error| error.to_string().into())
}

/// The part of a body that a dead letter carries, without holding on to the rest.
fn excerpt(body: &Bytes) -> Bytes {
    match body.get(..FAILURE_BODY_BYTES_MAX) {
        Some(first) => Bytes::copy_from_slice(first),
        None => body.clone(),
    }
}

fn failed(error: &CallError) -> Outcome {
    match error {
        CallError::Timeout { .. } => Outcome::TimedOut,
        CallError::Forbidden { .. } | CallError::InvalidUrl { .. } => {
            Outcome::Forbidden { message: error.to_string().into() }
        }
        CallError::ResponseTooLarge { status, .. } => Outcome::Response(Response {
            status: *status,
            retry_after: None,
            reply: if *status == 200 { Err(error.to_string().into()) } else { Ok(None) },
            body: Bytes::new(),
        }),
        CallError::Resolve { .. }
        | CallError::Connect { .. }
        | CallError::Tls { .. }
        | CallError::Closed { .. }
        | CallError::InvalidResponse { .. } => Outcome::Unreachable { message: error.to_string().into() },
    }
}

#[cfg(test)]
mod tests;
