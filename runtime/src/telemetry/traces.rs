//! Spans of events, sent to a collector over OTLP/HTTP.
//!
//! An event belongs to the trace that its sender names (W3C Trace Context). Whether that trace is sampled is the sender's
//! decision; only events without a trace are drawn here. Where nothing is sampled, nothing is made, and the trace goes on to
//! subscribers as it came.
//!
//! Spans wait in a bounded queue and go in batches. A collector that is slow or away costs spans, never events; the log says
//! that some were dropped.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use super::TelemetryError;
use super::told::Told;
use crate::client::{Call, Client, ClientOptions, HttpClient, SystemResolver, Target};
use crate::config::Config;
use crate::egress::EgressPolicy;
use crate::limits;

/// Path of the signal below a collector's base URL (OTLP specification, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";

/// `sampled` and `random`.
const DEFINED_FLAGS: u8 = 0b11;

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that came in.
    Server,
    /// A request that went out.
    Client,
}

/// Exports spans until it is closed.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Starts to export as `[traces]` says; `None` where it names no endpoint. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the exporter cannot be set up, and when the file of `egress.extra-ca-certificates` cannot be read.
    pub fn start(config: &Config) -> Result<Option<Self>, TelemetryError> {
        if config.traces.endpoint.is_empty() {
            return Ok(None);
        }
        let options = ClientOptions {
            connections_per_origin: 1,
            connect_timeout: limits::TRACES_TIMEOUT,
            // Only the operator can name a collector, and it often runs beside Pelton.
            egress: EgressPolicy::unrestricted(),
            ..ClientOptions::from_config(config)
        };
        let trusted = config.egress.extra_ca_certificates.as_deref();
        let client =
            Client::new(&options, SystemResolver, trusted).map_err(|error| unusable(error.to_string()))?;
        Self::over(client, &config.traces.endpoint, config.traces.sample_one_in).map(Some)
    }

    /// As [`start`](Self::start), to `endpoint` through `client`.
    ///
    /// # Errors
    /// When the exporter cannot be set up.
    pub fn over(client: impl HttpClient, endpoint: &str, sample_one_in: u32) -> Result<Self, TelemetryError> {
        let target = signal(endpoint).map_err(unusable)?;
        // All that the library sees of the URL, and so all that it can show.
        let origin = target.origin().to_owned();
        let transport = Transport {
            client: Arc::new(client),
            target,
            runtime: Handle::current(),
            told: Mutex::default(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(transport)
            .with_endpoint(origin)
            .with_timeout(limits::TRACES_TIMEOUT)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let drawn = match sample_one_in {
            0 => Sampler::AlwaysOff,
            1 => Sampler::AlwaysOn,
            n => Sampler::TraceIdRatioBased(1.0 / f64::from(n)),
        };
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(drawn)))
            .with_resource(resource())
            .with_batch_exporter(exporter)
            .build();
        Ok(Self { provider })
    }

    /// What makes the spans.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        Tracer(Some(self.provider.tracer("pelton")))
    }

    /// Sends what waits, and stops. What the collector does not take within [`limits::TRACES_TIMEOUT`] is dropped.
    pub async fn close(self) {
        let closed =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(limits::TRACES_TIMEOUT));
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last spans could not be exported"),
            Err(error) => tracing::warn!(%error, "the last spans could not be exported"),
        }
    }

    /// Stops without sending what waits, for a process that ends now.
    pub fn abandon(self) {
        // Dropped, it would wait for the collector.
        std::mem::forget(self.provider);
    }
}

fn unusable(problem: String) -> TelemetryError {
    TelemetryError::Traces { problem }
}

/// What describes this process. The environment goes first: `OTEL_SERVICE_NAME`, then `OTEL_RESOURCE_ATTRIBUTES`.
fn resource() -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name("pelton")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => builder.with_service_name(name).build(),
        _ => builder.build(),
    }
}

/// Says what is wrong with an endpoint, if anything; an empty one is none.
pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    if endpoint.is_empty() { Ok(()) } else { signal(endpoint).map(drop) }
}

/// Where the spans go: the endpoint, with the path of the signal where it has none of its own.
fn signal(endpoint: &str) -> Result<Target, String> {
    let uri: Uri = endpoint
        .parse()
        .map_err(|_| "it is not a URL; write the collector's, like \"http://localhost:4318\"".to_owned())?;
    if uri.query().is_some() {
        return Err(
            "it has a query; what the collector asks for goes into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
        );
    }
    let url = match uri.path() {
        "" | "/" => format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    };
    Target::parse(&url).map_err(|error| error.to_string())
}

/// The exporter runs on a thread of its own, the client in the runtime.
struct Transport<C> {
    client: Arc<C>,
    target: Target,
    runtime: Handle,
    told: Mutex<Told>,
}

impl<C> Transport<C> {
    /// Says why spans are lost; of a collector that stays away once a minute.
    fn tell(&self, problem: &dyn fmt::Display) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_due(&problem.to_string(), limits::TROUBLE_TOLD_EVERY) {
            tracing::warn!(collector = self.target.origin(), %problem, "spans cannot be exported");
        }
    }
}

impl<C> fmt::Debug for Transport<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("origin", &self.target.origin()).finish_non_exhaustive()
    }
}

#[async_trait]
impl<C: HttpClient> opentelemetry_http::HttpClient for Transport<C> {
    async fn send_bytes(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, opentelemetry_http::HttpError> {
        let (head, body) = request.into_parts();
        let call = Call {
            target: self.target.clone(),
            method: head.method,
            headers: head.headers,
            body,
            timeout: limits::TRACES_TIMEOUT,
            response_limit: limits::TRACES_RESPONSE_BYTES,
        };
        let client = Arc::clone(&self.client);
        let response = self.runtime.spawn(async move { client.call(call).await }).await?;
        match &response {
            Err(error) => self.tell(error),
            Ok(response) if !response.status().is_success() => self.tell(&response.status()),
            Ok(_) => {}
        }
        Ok(response?)
    }
}

/// Makes spans. The default one makes none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

impl Tracer {
    /// Whether it makes no spans at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// Begins a span below `parent` (the values of `traceparent` and `tracestate`; empty: the first of a new trace), if that
    /// trace is sampled.
    #[must_use]
    pub fn begin(&self, kind: SpanKind, name: &'static str, parent: (&str, &str)) -> Option<Span> {
        let tracer = self.0.as_ref()?;
        let context = match parent {
            ("", _) => Context::new(),
            (parent, state) => {
                let remote = remote(parent, state)?;
                // Before anything is made: the sender has decided.
                if !remote.is_sampled() {
                    return None;
                }
                Context::new().with_remote_span_context(remote)
            }
        };
        let kind = match kind {
            SpanKind::Server => opentelemetry::trace::SpanKind::Server,
            SpanKind::Client => opentelemetry::trace::SpanKind::Client,
        };
        let span = tracer.build_with_context(tracer.span_builder(name).with_kind(kind), &context);
        span.is_recording().then_some(Span { span, ended: false })
    }
}

/// What a valid `traceparent` names, as the W3C recommendation cuts it.
fn remote(parent: &str, state: &str) -> Option<SpanContext> {
    let mut parts = parent.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    // Flags that nobody has defined yet must not be passed on (W3C Trace Context, section 3.2.2.5).
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()? & DEFINED_FLAGS);
    // What the library cannot read, another's vendor part for instance, is not passed on by it.
    let state = state.parse::<TraceState>().unwrap_or_default();
    let context = SpanContext::new(trace, span, flags, true, state);
    context.is_valid().then_some(context)
}

/// A span that is recorded. One that is dropped before its end stands for what was given up.
#[derive(Debug)]
pub struct Span {
    span: opentelemetry_sdk::trace::Span,
    ended: bool,
}

impl Span {
    /// The value of `traceparent` for what happens below this span.
    #[must_use]
    pub fn parent(&self) -> String {
        let context = self.span.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags())
    }

    /// Names the event that the span is about, and the broker (`namespace/name`) it is in: OpenTelemetry's conventions for
    /// messaging and for CloudEvents.
    pub fn set_event(&mut self, broker: &str, id: &str, source: &str, event_type: &str) {
        self.set_text("messaging.system", "pelton");
        self.set_text("messaging.destination.name", broker);
        self.set_text("cloudevents.event_id", id);
        self.set_text("cloudevents.event_source", source);
        self.set_text("cloudevents.event_type", event_type);
    }

    /// Sets an attribute with a text, of which [`limits::SPAN_TEXT_BYTES_MAX`] bytes at most are kept: spans wait in memory,
    /// and how long their texts are is up to the senders of events.
    pub fn set_text(&mut self, name: &'static str, value: &str) {
        let kept = &value[..value.floor_char_boundary(limits::SPAN_TEXT_BYTES_MAX)];
        self.span.set_attribute(KeyValue::new(name, kept.to_owned()));
    }

    /// Sets an attribute with a number.
    pub fn set_number(&mut self, name: &'static str, value: impl Into<i64>) {
        self.span.set_attribute(KeyValue::new(name, value.into()));
    }

    /// Marks what the span stands for as failed; `kind` says how in one word or code (`error.type`).
    pub fn fail(&mut self, kind: &str) {
        self.set_text("error.type", kind);
        self.span.set_status(Status::error(""));
    }

    /// Ends it: what it stands for came to its end.
    pub fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if !self.ended {
            self.fail("cancelled");
        }
    }
}

#[cfg(test)]
mod tests;
