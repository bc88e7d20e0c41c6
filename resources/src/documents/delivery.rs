//! `spec.delivery` and the destinations it and `spec.subscriber` name.

use std::time::Duration;

use super::fields::{Field, Fields};
use super::report::{Report, suggestion};
use super::scalar;
use crate::delivery::{BackoffPolicy, DeliveryFormat};
use crate::name::{Kind, NamespacedName};
use crate::url;

/// A value and the line on which it is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) line: u64,
}

/// The delivery fields that a document sets.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct DeliverySpec {
    pub(crate) retry: Option<u32>,
    pub(crate) backoff_policy: Option<BackoffPolicy>,
    pub(crate) backoff_delay: Option<Placed<Duration>>,
    pub(crate) backoff_max: Option<Placed<Duration>>,
    pub(crate) retry_after_max: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) format: Option<DeliveryFormat>,
    pub(crate) dead_letter_sink: Option<Target>,
}

impl DeliverySpec {
    /// Reads `delivery` of a document in `namespace`.
    pub(crate) fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let mut fields = field.fields(report)?;
        let delivery = Self {
            retry: fields.take("retry").and_then(|field| field.integer(i32::MAX.unsigned_abs(), report)),
            backoff_policy: fields
                .take("backoffPolicy")
                .and_then(|field| field.parsed(report, backoff_policy)),
            backoff_delay: fields
                .take("backoffDelay")
                .and_then(|field| placed(&field, report, scalar::duration)),
            backoff_max: fields.take("backoffMax").and_then(|field| placed(&field, report, positive)),
            retry_after_max: fields
                .take("retryAfterMax")
                .and_then(|field| field.parsed(report, scalar::duration)),
            timeout: fields.take("timeout").and_then(|field| field.parsed(report, positive)),
            format: fields.take("format").and_then(|field| field.parsed(report, format)),
            dead_letter_sink: fields
                .take("deadLetterSink")
                .and_then(|field| Target::read(&field, namespace, report)),
        };
        fields.finish(report);
        Some(delivery)
    }

    /// These fields, and where one is unset that of `below`.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            retry: self.retry.or(below.retry),
            backoff_policy: self.backoff_policy.or(below.backoff_policy),
            backoff_delay: self.backoff_delay.or(below.backoff_delay),
            backoff_max: self.backoff_max.or(below.backoff_max),
            retry_after_max: self.retry_after_max.or(below.retry_after_max),
            timeout: self.timeout.or(below.timeout),
            format: self.format.or(below.format),
            dead_letter_sink: self.dead_letter_sink.or(below.dead_letter_sink),
        }
    }
}

/// A Knative `Destination`, as far as a document alone tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) reference: Option<Box<Reference>>,
    /// Absolute without a reference, else relative to its address.
    pub(crate) uri: Option<String>,
    /// The field that names it, for messages.
    pub(crate) field: String,
    pub(crate) line: u64,
}

/// A Knative `KReference`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: NamespacedName,
}

impl Target {
    /// The Broker that it names.
    pub(crate) fn broker(&self) -> Option<&NamespacedName> {
        self.reference.as_ref().filter(|reference| reference.is_broker()).map(|reference| &reference.name)
    }

    pub(crate) fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let before = report.problems.len();
        let mut fields = field.fields(report)?;
        let reference = fields.take("ref").and_then(|field| Reference::read(&field, namespace, report));
        let uri_field = fields.take("uri");
        let uri = uri_field.as_ref().and_then(|field| field.text(report));
        fields.not_served(&["CACerts"], "; trust a private authority with the client's trust store", report);
        fields.not_served(&["audience"], "; deliveries carry no OIDC token", report);
        fields.finish(report);
        if report.failed_since(before) {
            return None;
        }
        match (&reference, &uri_field) {
            (None, None) => field.wrong(report, "names nobody; write a uri (uri: http://host/path) or a ref"),
            (reference, Some(field)) => check_uri(reference.as_ref(), uri.unwrap_or_default(), field, report),
            (Some(_), None) => {}
        }
        let uri = uri.map(str::to_owned);
        (!report.failed_since(before)).then(|| Self {
            reference: reference.map(Box::new),
            uri,
            field: field.path.clone(),
            line: field.line,
        })
    }
}

fn check_uri(reference: Option<&Reference>, uri: &str, field: &Field<'_>, report: &mut Report) {
    let checked = match reference {
        None => url::check_absolute(uri),
        Some(reference) => match url::path_below(uri) {
            Err(absolute) => url::check_absolute(&absolute),
            Ok(_) if reference.is_broker() => {
                Err("is given beside a ref to a Broker, which takes events at one path only; remove it"
                    .into())
            }
            Ok(path) => url::check_absolute(&format!("http://host{path}")),
        },
    };
    if let Err(why) = checked {
        field.wrong(report, why);
    }
}

impl Reference {
    /// Whether it names a Broker.
    pub(crate) fn is_broker(&self) -> bool {
        self.api_version == Kind::Broker.api_version() && self.kind == Kind::Broker.as_str()
    }

    fn read(field: &Field<'_>, namespace: &str, report: &mut Report) -> Option<Self> {
        let before = report.problems.len();
        let mut fields = field.fields(report)?;
        let api_version =
            fields.required("apiVersion", "apiVersion: v1", report).and_then(|f| f.text(report));
        let kind = fields.required("kind", "kind: Service", report).and_then(|f| f.text(report));
        let name = named(&mut fields, namespace, report);
        fields.not_served(&["address", "group"], "", report);
        fields.finish(report);
        if report.failed_since(before) {
            return None;
        }
        Some(Self { api_version: api_version?.to_owned(), kind: kind?.to_owned(), name: name? })
    }
}

/// Reads `name` and `namespace` of a reference.
pub(crate) fn named(fields: &mut Fields<'_>, namespace: &str, report: &mut Report) -> Option<NamespacedName> {
    let check = |read: fn(&str) -> Result<(), String>| move |text: &str| read(text).map(|()| text.to_owned());
    let name =
        fields.required("name", "name: my-name", report).and_then(|f| f.parsed(report, check(scalar::name)));
    let namespace = match fields.take("namespace") {
        None => Some(namespace.to_owned()),
        Some(field) => field.parsed(report, check(scalar::namespace)),
    };
    Some(NamespacedName::new(&namespace?, &name?))
}

/// A value, with its line.
pub(crate) fn placed<T>(
    field: &Field<'_>,
    report: &mut Report,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Placed<T>> {
    field.parsed(report, read).map(|value| Placed { value, line: field.line })
}

fn positive(text: &str) -> Result<Duration, String> {
    let duration = scalar::duration(text)?;
    if duration.is_zero() { Err("is no time at all; write a longer one".into()) } else { Ok(duration) }
}

fn backoff_policy(text: &str) -> Result<BackoffPolicy, String> {
    match text {
        "linear" => Ok(BackoffPolicy::Linear),
        "exponential" => Ok(BackoffPolicy::Exponential),
        other => Err(one_of(other, &["linear", "exponential"])),
    }
}

fn format(text: &str) -> Result<DeliveryFormat, String> {
    match text {
        "binary" => Ok(DeliveryFormat::Binary),
        "json" => Ok(DeliveryFormat::Json),
        other => Err(one_of(other, &["binary", "json"])),
    }
}

/// `is not one of a, b`, with a suggestion where one is close.
pub(crate) fn one_of(written: &str, known: &[&str]) -> String {
    format!("is not one of {}{}", known.join(", "), suggestion(written, known.iter().copied()))
}
