//! A file of resources, read, put together, and written back.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use pelton_filter::Filter;
use pelton_resources::{Assembly, Defaults, Overrides, Snapshot, Source, assemble, check, limits};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    check_file(text);
    // The same as a text within a document, where it may look like anything else.
    let quoted = serde_json::to_string(text).expect("a string is always JSON");
    let labels = format!(
        "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {{name: b, labels: {{{quoted}: 1, x: {quoted}}}}}\n"
    );
    check_written(&Source::read("labels.yaml", &labels), false);
});

fn check_file(text: &str) {
    let source = Arc::new(Source::read("f.yaml", text));
    for problem in source.problems() {
        assert!(problem.place.starts_with("f.yaml"), "{problem}");
        assert!(problem.code.starts_with("PEL-1"), "{problem}");
        assert!(!problem.message.is_empty());
    }
    let put_together =
        |before: &Assembly| assemble(before, &[source.clone()], &Defaults::default(), &Overrides::default());
    let first = put_together(&Assembly::default());
    check_snapshot(&first.snapshot);
    assert_eq!(check(&[source.clone()]), first.snapshot.problems);
    let again = put_together(&first);
    assert_eq!(again.snapshot.generation, first.snapshot.generation);
    let changes = again.snapshot.diff(&first.snapshot);
    assert!(changes.is_empty());
    // `status` is nobody's to write, so it is left out.
    check_written(&source, text.contains("status"));
}

fn check_snapshot(snapshot: &Snapshot) {
    for trigger in snapshot.triggers.values() {
        let filter = trigger
            .expression
            .as_ref()
            .map_or_else(|| Ok(Filter::everything()), |expression| Filter::compile(expression));
        assert_eq!(filter.as_ref(), Ok(&*trigger.filter));
        let delivery = &trigger.delivery;
        for time in [delivery.backoff_delay, delivery.backoff_max, delivery.retry_after_max, delivery.timeout]
        {
            assert!(time <= limits::DURATION_MAX);
        }
        assert!(trigger.max_rate.is_none_or(|rate| rate.is_finite() && rate > 0.0));
        assert_ne!(trigger.max_concurrency, Some(0));
    }
    for service in snapshot.services.values() {
        assert!(!service.readiness.is_ready());
        assert_eq!(service.traffic.iter().map(|target| u32::from(target.percent)).sum::<u32>(), 100);
        let (template, bounds) = (&service.template, service.bounds());
        assert!(bounds.max.is_none_or(|max| bounds.min <= max));
        assert!(template.container_concurrency <= limits::CONTAINER_CONCURRENCY_MAX);
        assert!(template.timeout <= limits::REQUEST_TIMEOUT_MAX);
        assert!(template.response_start_timeout <= template.timeout);
        assert!(template.idle_timeout.is_none_or(|time| time <= template.timeout));
        let target = template.autoscaling.effective_target(template.container_concurrency);
        assert!(target.target.is_finite() && target.target >= 0.01 && target.total >= 0.01);
        let container = &template.container;
        let is_command = container.process_command.is_some() || !container.command.is_empty();
        assert!(is_command || container.image.is_some());
    }
    for broker in snapshot.brokers.values() {
        assert!((1..=limits::PARTITIONS_MAX).contains(&broker.partitions));
    }
}

/// A document written down by itself is the same document.
fn check_written(source: &Source, has_status: bool) {
    for document in source.documents() {
        let text = document.to_yaml().expect("what was read has a YAML form");
        let back = Source::read("back.yaml", &text);
        let [same] = back.documents() else { panic!("{:?}\n{text}", back.problems()) };
        assert_eq!((same.kind(), same.name()), (document.kind(), document.name()));
        assert!(has_status || same.same_value(document), "{text}");
        assert_eq!(same.to_yaml().as_ref(), Ok(&text));
    }
}
