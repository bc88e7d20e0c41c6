//! Tables of Services, with what is said about them.

mod annotations;
mod fields;
mod fingerprints;

use std::sync::Arc;
use std::time::Duration;

use super::super::Source;
use crate::{
    Aggregation, Assembly, Defaults, Forecast, ForecastMode, Metric, Overrides, Policy, ProbeAction,
    Protocol, ScaleBounds, Service, TrafficTarget, assemble,
};

/// Everything wrong with `text`, as people see it.
fn problems(text: &str) -> Vec<String> {
    let source = Source::read("f.yaml", text);
    source.problems().iter().map(|problem| format!("{} {problem}", problem.code)).collect()
}

fn service(text: &str) -> Service {
    let source = Source::read("f.yaml", text);
    assert!(!source.has_errors(), "{:?}\n{text}", source.problems());
    let assembly =
        assemble(&Assembly::default(), &[source.into()], &Defaults::default(), &Overrides::default());
    (**assembly.snapshot.services.values().next().expect("there is a Service")).clone()
}

/// A Service whose annotations, those of its template, and fields of the template's spec and of the container are set.
#[derive(Default, Clone, Copy)]
struct Text<'a> {
    own: &'a str,
    template: &'a str,
    spec: &'a str,
    container: &'a str,
    rest: &'a str,
}

impl std::fmt::Display for Text<'_> {
    /// `own` is on line 6, `template` on line 11, `spec` on line 13, `container` on line 16, `rest` on line 17, as far as
    /// each is one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { own, template, spec, container, rest } = self;
        write!(
            f,
            "apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: hello
  annotations:
    {own}
spec:
  template:
    metadata:
      annotations:
        {template}
    spec:
      {spec}
      containers:
      - image: example.com/hello
        {container}
  {rest}
"
        )
    }
}

#[test]
fn a_service_that_says_little_gets_the_defaults_of_knative() {
    let text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: hello}\n\
                spec: {template: {spec: {containers: [{image: example.com/hello}]}}}\n";
    let service = service(text);
    assert_eq!(service.name.as_str(), "default/hello");
    let template = &service.template;
    assert_eq!((&template.name, template.container_concurrency), (&None, 0));
    assert_eq!(
        (template.timeout, template.response_start_timeout, template.idle_timeout),
        (Duration::from_secs(300), Duration::from_secs(300), None)
    );
    assert_eq!(template.progress_deadline, Duration::from_secs(600));
    let autoscaling = &template.autoscaling;
    assert_eq!((autoscaling.metric, autoscaling.target), (Metric::Concurrency, None));
    assert!((autoscaling.target_burst_capacity - 211.0).abs() < f64::EPSILON);
    assert_eq!((autoscaling.window, autoscaling.bounds), (Duration::from_secs(60), ScaleBounds::default()));
    assert_eq!((autoscaling.initial_scale, autoscaling.aggregation), (1, Aggregation::Linear));
    let container = &template.container;
    assert_eq!((container.port, container.protocol), (8080, Protocol::Http1));
    assert_eq!(container.readiness_probe.action, ProbeAction::TcpSocket { port: None });
    assert_eq!(service.traffic, [TrafficTarget::latest()]);
    assert_eq!((service.rollout_duration, service.scaling.policy), (Duration::ZERO, Policy::Combined));
    assert_eq!(service.scaling.drain_time, Duration::from_secs(30));
    assert_eq!(service.bounds(), ScaleBounds::default());
}

const EVERYTHING: &str = "\
apiVersion: serving.knative.dev/v1
kind: Service
metadata:
  name: model
  namespace: ai
  labels: {team: vision}
  annotations:
    serving.knative.dev/creator: somebody
    serving.knative.dev/rollout-duration: 1m30s
    scaling.pelton.dev/policy: kpa
    scaling.pelton.dev/min-scale: '2'
    scaling.pelton.dev/max-scale: '0'
    scaling.pelton.dev/drain-time: PT10S
    scaling.pelton.dev/service-time: 250ms
    scaling.pelton.dev/forecast: observe
    scaling.pelton.dev/forecast-quantile: '0.99'
    scaling.pelton.dev/forecast-horizon: 3m
    scaling.pelton.dev/reserve-replicas: '1'
    scaling.pelton.dev/paused: 'true'
    process.pelton.dev/command: python3 serve.py
spec:
  template:
    metadata:
      name: model-v2
      creationTimestamp: null
      labels: {tier: gpu}
      annotations:
        example.com/owner: me
        autoscaling.knative.dev/class: kpa.autoscaling.knative.dev
        autoscaling.knative.dev/metric: rps
        autoscaling.knative.dev/target: '1.5'
        autoscaling.knative.dev/targetUtilizationPercentage: '80'
        autoscaling.knative.dev/target-burst-capacity: '-1'
        autoscaling.knative.dev/window: 1m
        autoscaling.knative.dev/panicWindowPercentage: '20'
        autoscaling.knative.dev/panicThresholdPercentage: '150.5'
        autoscaling.knative.dev/minScale: '1'
        autoscaling.knative.dev/maxScale: '9'
        autoscaling.knative.dev/initialScale: '0'
        autoscaling.knative.dev/activation-scale: '3'
        autoscaling.knative.dev/scaleDownDelay: 15m
        autoscaling.knative.dev/scaleToZeroPodRetentionPeriod: 1m5.5s
        autoscaling.knative.dev/metricAggregationAlgorithm: weightedExponential
        serving.knative.dev/progress-deadline: 20m
        process.pelton.dev/command: python3 serve.py --fast
    spec:
      containerConcurrency: 1
      timeoutSeconds: 600
      responseStartTimeoutSeconds: 60
      idleTimeoutSeconds: 30
      enableServiceLinks: false
      containers:
      - name: user-container
        image: example.com/model:2
        command: [/serve]
        args: [--threads, '4']
        env: [{name: MODEL, value: large}, {name: EMPTY}]
        workingDir: /models
        resources: {}
        ports: [{containerPort: 9000, name: h2c, protocol: TCP}]
        readinessProbe:
          httpGet: {path: healthz, port: 9000}
          initialDelaySeconds: 5
          periodSeconds: 2
          timeoutSeconds: 3
          successThreshold: 2
          failureThreshold: 4
  traffic:
  - {revisionName: model-v1, percent: 90}
  - {latestRevision: true, percent: 10, tag: canary}
  - {revisionName: model-v1, tag: stable, latestRevision: false}
status: {anything: [goes]}
";

#[test]
fn a_service_says_everything_it_can() {
    assert_eq!(problems(EVERYTHING), Vec::<String>::new());
    let service = service(EVERYTHING);
    assert_eq!((service.name.as_str(), service.labels["team"].as_str()), ("ai/model", "vision"));
    let scaling = &service.scaling;
    assert_eq!((scaling.policy, scaling.reserve_replicas, scaling.paused), (Policy::Kpa, 1, true));
    assert_eq!(service.bounds(), ScaleBounds { min: 2, max: None });
    assert_eq!(scaling.drain_time, Duration::from_secs(10));
    assert_eq!(scaling.service_time, Some(Duration::from_millis(250)));
    let horizon = Some(Duration::from_secs(180));
    assert_eq!(scaling.forecast, Forecast { mode: ForecastMode::Observe, quantile: 0.99, horizon });
    assert_eq!(service.rollout_duration, Duration::from_secs(90));
    let targets: Vec<_> = service.traffic.iter().map(ToString::to_string).collect();
    assert_eq!(targets, ["model-v1=90", "latest=10 (canary)", "model-v1=0 (stable)"]);

    let template = &service.template;
    assert_eq!((template.name.as_deref(), template.labels["tier"].as_str()), (Some("model-v2"), "gpu"));
    assert_eq!(template.annotations["example.com/owner"], "me");
    assert!(!template.annotations.contains_key("process.pelton.dev/command"));
    assert_eq!((template.container_concurrency, template.timeout), (1, Duration::from_secs(600)));
    assert_eq!(template.response_start_timeout, Duration::from_secs(60));
    assert_eq!(template.idle_timeout, Some(Duration::from_secs(30)));
    assert_eq!(template.progress_deadline, Duration::from_secs(1200));
}

#[test]
fn autoscaling_and_container_are_read_as_well() {
    let template = service(EVERYTHING).template;
    let scaling = &template.autoscaling;
    assert_eq!((scaling.metric, scaling.target), (Metric::RequestsPerSecond, Some(1.5)));
    assert_eq!(scaling.target_utilization_percentage, Some(80.0));
    let numbers =
        (scaling.target_burst_capacity, scaling.panic_window_percentage, scaling.panic_threshold_percentage);
    assert_eq!(numbers, (-1.0, 20.0, 150.5));
    assert_eq!(
        (scaling.window, scaling.scale_down_delay),
        (Duration::from_secs(60), Duration::from_secs(900))
    );
    assert_eq!(scaling.scale_to_zero_pod_retention_period, Duration::from_millis(65_500));
    assert_eq!(scaling.bounds, ScaleBounds { min: 1, max: Some(9) });
    assert_eq!((scaling.initial_scale, scaling.activation_scale), (0, 3));
    assert_eq!(scaling.aggregation, Aggregation::WeightedExponential);

    let container = &template.container;
    assert_eq!(container.image.as_deref(), Some("example.com/model:2"));
    assert_eq!(
        (&container.command[..], &container.args[..]),
        (&["/serve".into()][..], &["--threads".into(), "4".into()][..])
    );
    // That of the template counts before that of the Service.
    assert_eq!(container.process_command.as_deref().unwrap().join(" "), "python3 serve.py --fast");
    let env: Vec<_> = container.env.iter().map(|variable| (&*variable.name, &*variable.value)).collect();
    assert_eq!(env, [("MODEL", "large"), ("EMPTY", "")]);
    assert!(!format!("{container:?}").contains("large"));
    assert_eq!(container.working_dir.as_deref(), Some("/models"));
    assert_eq!((container.port, container.protocol), (9000, Protocol::H2c));
    let probe = &container.readiness_probe;
    // The serving port, which a process has another number for.
    assert_eq!(probe.action, ProbeAction::HttpGet { path: "/healthz".into(), port: None });
    assert_eq!((probe.initial_delay, probe.period), (Duration::from_secs(5), Some(Duration::from_secs(2))));
    assert_eq!(
        (probe.timeout, probe.success_threshold, probe.failure_threshold),
        (Duration::from_secs(3), 2, 4)
    );
}

#[test]
fn a_command_of_the_service_runs_a_template_that_names_none() {
    let text = Text { own: "process.pelton.dev/command: \"serve 'a b'\"", ..Text::default() }.to_string();
    assert_eq!(service(&text).template.container.process_command, Some(vec!["serve".into(), "a b".into()]));
    let text = text.replace("image: example.com/hello", "name: alone");
    assert_eq!(service(&text).template.container.image, None);
}

#[test]
fn changes_of_services_are_told() {
    let text = Text::default().to_string();
    let changed = text.replace("example.com/hello", "example.com/hello:2");
    let mut all = vec![Assembly::default()];
    for text in [text.as_str(), changed.as_str(), ""] {
        let source = Arc::new(Source::read("f.yaml", text));
        all.push(assemble(all.last().unwrap(), &[source], &Defaults::default(), &Overrides::default()));
    }
    let changes: Vec<_> = all
        .windows(2)
        .map(|pair| {
            let changes = pair[1].snapshot.diff(&pair[0].snapshot);
            assert!(!changes.is_empty());
            match &changes.services[..] {
                [crate::Change::Added(_)] => "added",
                [crate::Change::Changed { .. }] => "changed",
                [crate::Change::Removed(_)] => "removed",
                _ => "other",
            }
        })
        .collect();
    assert_eq!(changes, ["added", "changed", "removed"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_reading_panic(text in "[a-z{}\\[\\]:\\- \\n\"'&*!|>#,0-9.%\\\\]{0,120}") {
        for at in 0..5 {
            let part = |index| if index == at { text.as_str() } else { "" };
            let text = Text { own: part(0), template: part(1), spec: part(2), container: part(3), rest: part(4) };
            let _ = Source::read("f.yaml", &text.to_string());
        }
    }

    #[test]
    fn no_value_makes_reading_panic(index in 0usize..200, value in "[-+0-9.eEhmsunPTa-z'\"\\\\ ]{0,24}") {
        let _ = Source::read("f.yaml", &with_value(index, &value));
    }
}

/// The Service that says everything, with the value of one of its lines replaced.
fn with_value(index: usize, value: &str) -> String {
    let quoted = value.replace('\'', "''");
    let with = |(at, line): (usize, &str)| match line.split_once(": ") {
        Some((key, _)) if at == index % EVERYTHING.lines().count() => format!("{key}: '{quoted}'\n"),
        _ => format!("{line}\n"),
    };
    EVERYTHING.lines().enumerate().map(with).collect()
}
