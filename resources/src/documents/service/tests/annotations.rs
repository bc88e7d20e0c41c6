//! Both sides of each bound, and the words for what is wrong.

use super::{Text, problems, service};
use crate::ScaleBounds;

/// The suffix of an annotation of Knative, values within its bounds, values without.
const AUTOSCALING: &[(&str, &[&str], &[&str])] = &[
    (
        "class",
        &["kpa.autoscaling.knative.dev", "hpa.autoscaling.knative.dev", "other.example.com"],
        &["ahpa.autoscaling.knative.dev", "x.knative.dev"],
    ),
    ("metric", &["concurrency", "rps"], &["", "cpu", "memory", "RPS"]),
    ("target", &["0.01", "1", "1e9", ""], &["0.009", "0", "-1", "x", "NaN", "inf"]),
    ("target-utilization-percentage", &["1", "70.5", "100"], &["0.99", "100.1", "0", "-1", "x"]),
    ("targetUtilizationPercentage", &["1", "100"], &["0.99", "100.1"]),
    ("target-burst-capacity", &["-1", "0", "0.5", "211"], &["-0.5", "-2", "x", "-inf"]),
    ("targetBurstCapacity", &["-1", "0"], &["-0.9"]),
    ("window", &["6s", "60s", "1h", "1m30s"], &["5s", "5.999s", "6.5s", "1h1s", "60", "x", "-6s", "0"]),
    ("panic-window-percentage", &["1", "10", "100"], &["0.99", "100.01", "x"]),
    ("panicWindowPercentage", &["1", "100"], &["0.99", "100.01"]),
    ("panic-threshold-percentage", &["110", "200", "1000"], &["109.99", "1000.1", "x"]),
    ("panicThresholdPercentage", &["110", "1000"], &["109.99", "1000.1"]),
    ("min-scale", &["0", "1", "2147483647", ""], &["-1", "2147483648", "1.5", "x"]),
    ("minScale", &["0"], &["-1"]),
    ("max-scale", &["0", "1", "2147483647"], &["-1", "2147483648", "x"]),
    ("maxScale", &["0"], &["-1"]),
    ("initial-scale", &["0", "1", "10"], &["-1", "x"]),
    ("initialScale", &["0"], &["-1"]),
    ("activation-scale", &["2", "3"], &["1", "0", "-1", "x"]),
    ("scale-down-delay", &["0", "0s", "1s", "1h"], &["1h1s", "500ms", "-1s", "x"]),
    ("scaleDownDelay", &["1h"], &["1h1s"]),
    ("scale-to-zero-pod-retention-period", &["0", "500ms", "1h"], &["1h1ms", "-1s", "x"]),
    ("scaleToZeroPodRetentionPeriod", &["1h"], &["1h1ms"]),
    (
        "metric-aggregation-algorithm",
        &["", "linear", "weighted-exponential", "weightedExponential"],
        &["exponential", "Linear"],
    ),
    ("metricAggregationAlgorithm", &["", "linear"], &["exponential"]),
];

/// Warnings left out.
fn errors(text: &Text<'_>) -> Vec<String> {
    let is_error = |problem: &String| !problem.starts_with("PEL-1307");
    problems(&text.to_string()).into_iter().filter(is_error).collect()
}

#[test]
fn annotations_of_knative_have_its_bounds() {
    for (suffix, good, bad) in AUTOSCALING {
        let with = |value: &&str| {
            let template = format!("autoscaling.knative.dev/{suffix}: '{value}'");
            errors(&Text { template: &template, ..Text::default() })
        };
        for value in *good {
            assert_eq!(with(value), Vec::<String>::new(), "{suffix}: {value}");
        }
        let at = format!(
            "PEL-1303 f.yaml:11: spec.template.metadata.annotations[\"autoscaling.knative.dev/{suffix}\"]: "
        );
        for value in *bad {
            let found = with(value);
            assert!(found.len() == 1 && found[0].starts_with(&at), "{suffix}: {value}: {found:?}");
        }
    }
}

/// Annotations of Knative that are judged beside one another, and the errors.
const TOGETHER: &[(&[&str], &[&str])] = &[
    (&["min-scale: '2'", "max-scale: '2'"], &[]),
    (&["min-scale: '2'", "max-scale: '0'"], &[]),
    (&["min-scale: '3'", "maxScale: '2'"], &["2 is below min-scale, which is 3; raise it, or lower that"]),
    (&["activation-scale: '2'", "min-scale: '2'", "max-scale: '2'"], &[]),
    (
        &["activation-scale: '2'", "min-scale: '3'"],
        &["2 is below min-scale, which is 3; raise it, or lower that"],
    ),
    (
        &["activation-scale: '3'", "max-scale: '2'"],
        &["3 is above max-scale, which is 2; lower it, or raise that"],
    ),
    (&["activation-scale: '3'", "max-scale: '0'"], &[]),
    // Knative's own autoscaler checks them, others do not.
    (&["class: hpa.autoscaling.knative.dev", "metric: memory"], &[]),
    (&["class: other.example.com", "metric: x", "metric-aggregation-algorithm: x"], &[]),
    (&["class: hpa.autoscaling.knative.dev", "metric: ''"], &["\"\" is not one of concurrency, rps"]),
    (&["min-scale: 1"], &["is a number; write it in quotes: \"1\""]),
];

#[test]
fn annotations_of_knative_are_judged_together() {
    for (annotations, expected) in TOGETHER {
        let lines: Vec<_> =
            annotations.iter().map(|text| format!("autoscaling.knative.dev/{text}")).collect();
        let found = errors(&Text { template: &lines.join("\n        "), ..Text::default() });
        let same = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, expected)| found.ends_with(expected));
        assert!(same, "{annotations:?}: {found:?}");
    }
}

/// The suffix of a setting of Pelton, values within its bounds, values without.
const SCALING: &[(&str, &[&str], &[&str])] = &[
    ("policy", &["kpa", "combined"], &["hpa", "KPA"]),
    ("min-scale", &["0", "2147483647"], &["-1", "2147483648", "x"]),
    ("max-scale", &["0", "2147483647"], &["-1", "2147483648"]),
    ("drain-time", &["1s", "PT30S", "24h", "P1D"], &["999ms", "24h1s", "30", "x", "-1s"]),
    ("service-time", &["1ms", "PT0.25S", "10m"], &["0", "999us", "10m1s"]),
    ("forecast", &["off", "observe", "act"], &["on", "auto"]),
    ("forecast-quantile", &["0.01", "0.95", "0.999"], &["0", "1", "95", "x"]),
    ("forecast-horizon", &["1s", "3m", "24h"], &["0s", "25h"]),
    ("reserve-replicas", &["0", "1"], &["-1", "x"]),
    ("paused", &["true", "false"], &["yes", "1"]),
];

#[test]
fn settings_of_pelton_have_bounds_too() {
    for (suffix, good, bad) in SCALING {
        let with = |value: &&str| {
            let own = format!("scaling.pelton.dev/{suffix}: '{value}'");
            problems(&Text { own: &own, ..Text::default() }.to_string())
        };
        for value in *good {
            assert_eq!(with(value), Vec::<String>::new(), "{suffix}: {value}");
        }
        let at = format!("PEL-1303 f.yaml:6: metadata.annotations[\"scaling.pelton.dev/{suffix}\"]: ");
        for value in *bad {
            let found = with(value);
            assert!(found.len() == 1 && found[0].starts_with(&at), "{suffix}: {value}: {found:?}");
        }
    }
}

#[test]
fn bounds_of_service_and_template_are_judged_together() {
    let template = "autoscaling.knative.dev/min-scale: '3'\n        autoscaling.knative.dev/max-scale: '5'";
    let with = |own: &str| problems(&Text { own, template, ..Text::default() }.to_string());
    let found = with("scaling.pelton.dev/max-scale: '2'");
    assert_eq!(
        found,
        [
            "PEL-1303 f.yaml:6: metadata.annotations[\"scaling.pelton.dev/max-scale\"]: 2 is below min-scale, which is 3; \
             raise it, or lower that"
        ]
    );
    let found = with("scaling.pelton.dev/min-scale: '6'");
    assert!(found[0].ends_with("6 is above max-scale, which is 5; lower it, or raise that"), "{found:?}");
    let own = "scaling.pelton.dev/min-scale: '6'\n    scaling.pelton.dev/max-scale: '7'";
    let bounds = service(&Text { own, template, ..Text::default() }.to_string()).bounds();
    assert_eq!(bounds, ScaleBounds { min: 6, max: Some(7) });
}

/// Annotations of the Service and of its template, and what is said.
const PLACES: &[(&str, &str, &[&str])] = &[
    (
        "autoscaling.knative.dev/minScale: '1'",
        "",
        &[
            "PEL-1320 f.yaml:6: metadata.annotations[\"autoscaling.knative.dev/minScale\"]: does nothing here; move it to \
             spec.template.metadata.annotations[\"autoscaling.knative.dev/minScale\"]",
        ],
    ),
    (
        "",
        "scaling.pelton.dev/min-scale: '1'",
        &[
            "PEL-1320 f.yaml:11: spec.template.metadata.annotations[\"scaling.pelton.dev/min-scale\"]: does nothing here; \
             move it to metadata.annotations[\"scaling.pelton.dev/min-scale\"]",
        ],
    ),
    (
        "scaling.pelton.dev/min-scal: '1'",
        "",
        &[
            "PEL-1314 f.yaml:6: metadata.annotations[\"scaling.pelton.dev/min-scal\"]: unknown annotation of Pelton; did you \
             mean \"scaling.pelton.dev/min-scale\"?",
        ],
    ),
    (
        "",
        "process.pelton.dev/comand: a",
        &[
            "PEL-1314 f.yaml:11: spec.template.metadata.annotations[\"process.pelton.dev/comand\"]: unknown annotation of \
             Pelton; did you mean \"process.pelton.dev/command\"?",
        ],
    ),
    (
        "scaling.pelton.dev/pools: a",
        "",
        &[
            "PEL-1307 f.yaml:6: metadata.annotations[\"scaling.pelton.dev/pools\"]: is not served by this version and has no \
             effect",
        ],
    ),
    (
        "serving.knative.dev/progress-deadline: 5m",
        "serving.knative.dev/rolloutDuration: 5m",
        &[
            "PEL-1307 f.yaml:6: metadata.annotations[\"serving.knative.dev/progress-deadline\"]: has no effect: it belongs \
             into spec.template.metadata.annotations",
            "PEL-1307 f.yaml:11: spec.template.metadata.annotations[\"serving.knative.dev/rolloutDuration\"]: has no effect: \
             it belongs into metadata.annotations of the Service",
        ],
    ),
    (
        "",
        "autoscaling.knative.dev/min-scale: '1'\n        autoscaling.knative.dev/minScale: '2'",
        &[
            "PEL-1307 f.yaml:12: spec.template.metadata.annotations[\"autoscaling.knative.dev/minScale\"]: has no effect \
             beside autoscaling.knative.dev/min-scale; keep one of the two",
        ],
    ),
    (
        "",
        "autoscaling.knative.dev/minscale: '1'",
        &[
            "PEL-1307 f.yaml:11: spec.template.metadata.annotations[\"autoscaling.knative.dev/minscale\"]: is no annotation \
             that Pelton knows of Knative's autoscaler, and has no effect; did you mean \
             \"autoscaling.knative.dev/minScale\"?",
        ],
    ),
    (
        "",
        "autoscaling.knative.dev/class: hpa.autoscaling.knative.dev",
        &["PEL-1307 f.yaml:11: spec.template.metadata.annotations[\"autoscaling.knative.dev/class\"]: \
             \"hpa.autoscaling.knative.dev\" is not served: Pelton decides by scaling.pelton.dev/policy of the Service"],
    ),
    (
        "serving.knative.dev/creator: me\n    client.knative.dev/nonce: x",
        "client.knative.dev/updateTimestamp: x",
        &[],
    ),
];

#[test]
fn annotations_have_their_places() {
    for (own, template, expected) in PLACES {
        assert_eq!(
            problems(&Text { own, template, ..Text::default() }.to_string()),
            *expected,
            "{own}{template}"
        );
    }
}

#[test]
fn durations_of_knative_are_whole_seconds() {
    let rollout = |value: &str| {
        let own = format!("serving.knative.dev/rollout-duration: '{value}'");
        errors(&Text { own: &own, ..Text::default() }).len()
    };
    assert_eq!(["0", "0s", "10m", "", "-1s", "500ms", "5", "x"].map(rollout), [0, 0, 0, 0, 1, 1, 1, 1]);
    let deadline = |value: &str| {
        let template = format!("serving.knative.dev/progressDeadline: '{value}'");
        errors(&Text { template: &template, ..Text::default() }).len()
    };
    assert_eq!(["1s", "20m", "", "0s", "-1s", "1500ms", "x"].map(deadline), [0, 0, 0, 1, 1, 1, 1]);
}
