//! A Trigger document.

use std::sync::Arc;

use pelton_filter::{Expression, Filter};

use super::delivery::{DeliverySpec, Target, named, one_of};
use super::fields::{Field, Fields};
use super::filter;
use super::metadata::Annotations;
use super::report::Report;
use super::scalar;
use crate::name::{Kind, NamespacedName};
use crate::trigger::{Order, Start};

const KAFKA_ORDER: &str = "kafka.eventing.knative.dev/delivery.order";
const ORDER: &str = "delivery.pelton.dev/order";
const MAX_CONCURRENCY: &str = "delivery.pelton.dev/max-concurrency";
const MAX_RATE: &str = "delivery.pelton.dev/max-rate";
const START: &str = "delivery.pelton.dev/start";
const PAUSED: &str = "delivery.pelton.dev/paused";
const EVENT_PATTERN: &str = "filter.pelton.dev/event-pattern";
const EVENT_PATTERN_DIALECT: &str = "filter.pelton.dev/event-pattern-dialect";

/// Annotations of Knative that have no effect on a Trigger here.
const NOT_SERVED: [(&str, &str); 3] = [
    ("knative.dev/dependency", "a trigger waits for its broker and subscriber only"),
    ("eventing.knative.dev/injection", "brokers are not made by themselves; write a Broker document"),
    ("autoscaling.eventing.knative.dev/", "there are no consumers to scale per trigger"),
];

/// What a Trigger document says.
#[derive(Debug, Clone)]
pub(crate) struct TriggerSpec {
    pub(crate) broker: NamespacedName,
    pub(crate) broker_line: u64,
    pub(crate) expression: Option<Arc<Expression>>,
    pub(crate) filter: Arc<Filter>,
    pub(crate) subscriber: Target,
    /// Boxed, as few triggers have one.
    pub(crate) delivery: Option<Box<DeliverySpec>>,
    pub(crate) settings: TriggerSettings,
}

/// What a Trigger's annotations say.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TriggerSettings {
    pub(crate) order: Order,
    pub(crate) max_concurrency: Option<u32>,
    pub(crate) max_rate: Option<f64>,
    pub(crate) start: Start,
    pub(crate) start_text: String,
    pub(crate) paused: bool,
}

impl TriggerSpec {
    pub(crate) fn read(
        document: &mut Fields<'_>,
        annotations: Annotations<'_>,
        namespace: &str,
        report: &mut Report,
    ) -> Option<Self> {
        let settings = TriggerSettings::read(annotations, report);
        let field =
            document.required("spec", "spec: {broker: default, subscriber: {uri: http://host/}}", report)?;
        let mut spec = field.fields(report)?;
        let broker = broker(&mut spec, namespace, report);
        let filter = filter::read(&mut spec, report);
        let subscriber = spec.required("subscriber", "subscriber: {uri: http://host/}", report);
        let subscriber = subscriber.and_then(|field| Target::read(&field, namespace, report));
        let delivery = spec.take("delivery").and_then(|field| DeliverySpec::read(&field, namespace, report));
        spec.finish(report);
        let (broker, broker_line) = broker?;
        let (expression, filter) = filter?;
        let (expression, delivery) = (expression.map(Arc::new), delivery.map(Box::new));
        Some(Self { broker, broker_line, expression, filter, subscriber: subscriber?, delivery, settings })
    }

    /// The dead letter sink of its own.
    pub(crate) fn dead_letter_sink(&self) -> Option<&Target> {
        self.delivery.as_ref()?.dead_letter_sink.as_ref()
    }
}

/// Reads `broker` or `brokerRef`.
fn broker(spec: &mut Fields<'_>, namespace: &str, report: &mut Report) -> Option<(NamespacedName, u64)> {
    let (name, reference) = (spec.take("broker"), spec.take("brokerRef"));
    match (name, reference) {
        (Some(_), Some(reference)) => {
            reference.wrong(report, "is given beside broker; keep one of the two");
            None
        }
        (Some(field), None) => {
            let name = field.parsed(report, |text| scalar::name(text).map(|()| text.to_owned()))?;
            Some((NamespacedName::new(namespace, &name), field.line))
        }
        (None, Some(field)) => {
            let mut fields = field.fields(report)?;
            for (name, served) in [("apiVersion", "eventing.knative.dev/v1"), ("kind", "Broker")] {
                if let Some(field) = fields.take(name)
                    && let Some(text) = field.text(report)
                    && text != served
                {
                    field.wrong(report, format!("{text:?} is not a broker; write {served}"));
                }
            }
            let name = named(&mut fields, namespace, report);
            fields.not_served(&["address", "group"], "", report);
            fields.finish(report);
            name.map(|name| (name, field.line))
        }
        (None, None) => {
            // Said in the words of the common form.
            spec.required("broker", "broker: default", report);
            None
        }
    }
}

impl TriggerSettings {
    fn read(mut annotations: Annotations<'_>, report: &mut Report) -> Self {
        let mut settings = Self::default();
        let kafka_order = annotations.take(KAFKA_ORDER).and_then(|field| field.parsed(report, kafka_order));
        let own_order = annotations.take(ORDER).and_then(|field| field.parsed(report, order));
        settings.order = own_order.or(kafka_order).unwrap_or_default();
        settings.max_concurrency =
            annotations.take(MAX_CONCURRENCY).and_then(|field| field.parsed(report, max_concurrency));
        settings.max_rate = annotations.take(MAX_RATE).and_then(|field| field.parsed(report, max_rate));
        if let Some(field) = annotations.take(START)
            && let Some(start) = field.parsed(report, start)
        {
            settings.start = start;
            settings.start_text = field.text(report).unwrap_or_default().to_owned();
        }
        settings.paused = annotations
            .take(PAUSED)
            .and_then(|field| field.parsed(report, scalar::boolean))
            .unwrap_or_default();
        for name in [EVENT_PATTERN, EVENT_PATTERN_DIALECT] {
            if let Some(field) = annotations.take(name) {
                refuse_event_pattern(&field, report);
            }
        }
        annotations.not_served(&NOT_SERVED, report);
        annotations.finish(Kind::Trigger, report);
        settings
    }
}

/// To ignore a filter would deliver events that nobody asked for.
pub(crate) fn refuse_event_pattern(field: &Field<'_>, report: &mut Report) {
    field.wrong(
        report,
        "event patterns are not served by this version; use filters (exact, prefix, suffix, cesql)",
    );
}

fn kafka_order(text: &str) -> Result<Order, String> {
    match text {
        "ordered" => Ok(Order::Ordered),
        "unordered" => Ok(Order::Unordered),
        other => Err(one_of(other, &["ordered", "unordered"])),
    }
}

fn order(text: &str) -> Result<Order, String> {
    match text {
        "keyed" => Ok(Order::Keyed),
        "ordered" => Ok(Order::Ordered),
        "unordered" => Ok(Order::Unordered),
        other => Err(one_of(other, &["unordered", "ordered", "keyed"])),
    }
}

fn max_concurrency(text: &str) -> Result<u32, String> {
    let number = text.parse::<u32>().ok().filter(|number| *number > 0);
    number.ok_or_else(|| "is not a number of deliveries; write a whole number from 1".into())
}

fn max_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "is not a rate; write deliveries per second, such as 50 or 0.5".into())
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        time => scalar::instant(time)
            .map(Start::At)
            .map_err(|_| "is none of latest, earliest, or a time such as 2026-05-01T12:00:00Z".into()),
    }
}
