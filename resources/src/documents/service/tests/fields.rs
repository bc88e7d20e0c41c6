//! Fields of a Service, both sides of their bounds, and the words for what is wrong.

use super::{Text, problems};

/// Fields of the template's spec, and what is said.
const SPECS: &[(&str, &[&str])] = &[
    ("containerConcurrency: 0", &[]),
    ("containerConcurrency: 1000", &[]),
    (
        "containerConcurrency: 1001",
        &[
            "PEL-1303 f.yaml:13: spec.template.spec.containerConcurrency: is out of range; write a whole number from 0 to 1000",
        ],
    ),
    (
        "containerConcurrency: -1",
        &[
            "PEL-1303 f.yaml:13: spec.template.spec.containerConcurrency: is out of range; write a whole number from 0 to 1000",
        ],
    ),
    ("timeoutSeconds: 600", &[]),
    ("timeoutSeconds: 0", &[]),
    (
        "timeoutSeconds: 601",
        &[
            "PEL-1303 f.yaml:13: spec.template.spec.timeoutSeconds: is out of range; write a whole number from 0 to 600",
        ],
    ),
    ("{timeoutSeconds: 10, responseStartTimeoutSeconds: 10, idleTimeoutSeconds: 10}", &[]),
    ("responseStartTimeoutSeconds: 300", &[]),
    (
        "responseStartTimeoutSeconds: 301",
        &[
            "PEL-1303 f.yaml:13: spec.template.spec.responseStartTimeoutSeconds: 301 is above timeoutSeconds, which is 300; \
             lower it",
        ],
    ),
    (
        "{timeoutSeconds: 10, idleTimeoutSeconds: 11}",
        &[
            "PEL-1303 f.yaml:13: spec.template.spec.idleTimeoutSeconds: 11 is above timeoutSeconds, which is 10; lower it",
        ],
    ),
    (
        "{volumes: [{name: v}], nodeSelector: {a: b}, serviceAccountName: x, tolerations: []}",
        &[
            "PEL-1307 f.yaml:13: spec.template.spec.volumes: is not served by Pelton and has no effect; the container sees no \
             files but its own",
            "PEL-1307 f.yaml:13: spec.template.spec.nodeSelector: is not served by Pelton and has no effect",
            "PEL-1307 f.yaml:13: spec.template.spec.serviceAccountName: is not served by Pelton and has no effect",
        ],
    ),
    (
        "containerConcurency: 1",
        &["PEL-1302 f.yaml:13: spec.template.spec.containerConcurency: unknown field; did you mean \
             \"containerConcurrency\"?"],
    ),
];

#[test]
fn fields_of_a_revision_have_bounds() {
    for (spec, expected) in SPECS {
        // Several fields in braces, each on the same line for the message's sake.
        let text = Text { spec: "SPEC", ..Text::default() }.to_string();
        let text = match spec.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(fields) => text
                .replace("    spec:\n      SPEC\n", "    spec:\n      {FIELDS,\n")
                .replace(
                    "      containers:\n      - image: example.com/hello",
                    "      containers: [{image: a}]}",
                )
                .replace("FIELDS", fields),
            None => text.replace("SPEC", spec),
        };
        assert_eq!(problems(&text), *expected, "{spec}");
    }
}

/// Fields of the container, and what is said.
const CONTAINERS: &[(&str, &[&str])] = &[
    ("ports: [{containerPort: 65535, name: http1}]", &[]),
    ("ports: [{containerPort: 1}]", &[]),
    ("ports: []", &[]),
    (
        "ports: [{containerPort: 65536}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].ports[0].containerPort: is out of range; write a whole \
             number from 0 to 65535",
        ],
    ),
    (
        "ports: [{name: http2}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].ports[0].name: \"http2\" is not one of http1, h2c; did you \
             mean \"http1\"?",
        ],
    ),
    (
        "ports: [{containerPort: 1, protocol: UDP}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].ports[0].protocol: \"UDP\" is not served; HTTP needs TCP",
        ],
    ),
    (
        "ports: [{containerPort: 1}, {containerPort: 2}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].ports: has 2 ports; requests come in at one, keep that",
        ],
    ),
    (
        "env: [{name: PORT, value: '1'}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].env[0].name: \"PORT\" is set by Pelton, which tells a \
             replica who it is by it; remove it",
        ],
    ),
    (
        "env: [{name: A, value: 5}, {value: b}, {name: 'a=b'}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].env[0].value: is a number; write it in quotes: \"5\"",
            "PEL-1304 f.yaml:16: spec.template.spec.containers[0].env[1].name: is missing; add it, for example name: \
             MY_VARIABLE",
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].env[2].name: \"a=b\" is not the name of a variable; write \
             letters, digits and '_'",
        ],
    ),
    (
        "env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
        &[
            "PEL-1307 f.yaml:16: spec.template.spec.containers[0].env[0].valueFrom: is not served by Pelton: the variable is \
             not set; write its value",
        ],
    ),
    (
        "env: [{name: A, value: \"hunter2\\0\"}]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].env[0].value: has a NUL character, which nothing can be \
             started with; remove it",
        ],
    ),
    (
        "args: [5]",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].args[0]: is a number; write it in quotes: \"5\"",
        ],
    ),
    (
        "resources: {limits: {cpu: 1}}",
        &[
            "PEL-1307 f.yaml:16: spec.template.spec.containers[0].resources: is not served by Pelton and has no effect",
        ],
    ),
    (
        "livenessProbe: {httpGet: {path: /}}",
        &[
            "PEL-1307 f.yaml:16: spec.template.spec.containers[0].livenessProbe: is not served by Pelton and has no effect; \
             readinessProbe is",
        ],
    ),
    (
        "imag: a",
        &[
            "PEL-1302 f.yaml:16: spec.template.spec.containers[0].imag: unknown field; did you mean \"image\"?",
        ],
    ),
    ("readinessProbe: {periodSeconds: 0, successThreshold: 0}", &[]),
    ("ports: [{containerPort: 1, name: h2c}], readinessProbe: {tcpSocket: {port: h2c}}", &[]),
    ("readinessProbe: {httpGet: {path: '/a?b=c', port: '8080'}}", &[]),
    (
        "readinessProbe: {exec: {command: [a]}}",
        &[
            "PEL-1307 f.yaml:16: spec.template.spec.containers[0].readinessProbe.exec: is not served by Pelton: it runs no \
             commands in a replica; a replica is ready once its port accepts connections",
        ],
    ),
    (
        "readinessProbe: {httpGet: {}, tcpSocket: {}}",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].readinessProbe: has httpGet and tcpSocket; keep one of them",
        ],
    ),
    (
        "readinessProbe: {httpGet: {path: 'a b', scheme: HTTPS}}",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].readinessProbe.httpGet.path: \"a b\" is not a path (invalid \
             uri character); write one such as /healthz",
            "PEL-1307 f.yaml:16: spec.template.spec.containers[0].readinessProbe.httpGet.scheme: is not served by Pelton and \
             has no effect; probes use HTTP",
        ],
    ),
    (
        "readinessProbe: {tcpSocket: {port: 65536}, periodSeconds: -1}",
        &[
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].readinessProbe.tcpSocket.port: is not a port; write a number \
             from 0 to 65535; 0 is the serving port",
            "PEL-1303 f.yaml:16: spec.template.spec.containers[0].readinessProbe.periodSeconds: is out of range; write a whole \
             number from 0 to 2147483647",
        ],
    ),
];

#[test]
fn fields_of_a_container_are_checked() {
    for (container, expected) in CONTAINERS {
        let text = Text { container: "CONTAINER", ..Text::default() }.to_string();
        let text = text
            .replace("- image: example.com/hello\n", "- {image: a,\n")
            .replace("CONTAINER", &format!("{container}}}"));
        assert_eq!(problems(&text), *expected, "{container}");
    }
}

/// What stands in place of the list of containers, and what is said.
const LISTS: &[(&str, &str)] = &[
    (
        "containers: [{name: a}]",
        "names nothing to run; add an image, a command, or the annotation process.pelton.dev/command",
    ),
    ("containers: []", "is empty; write one container"),
    (
        "containers: [{image: a}, {image: b}]",
        "has 2 containers, and a replica of Pelton is one; keep the one that answers requests, and give the others Services of \
         their own",
    ),
    ("containers: {image: a}", "is a map; write a list, each item after a \"- \""),
    (
        "containers: [{image: 'a b'}]",
        "is not the name of an image; write one such as registry.example.com/team/app:1.2",
    ),
    ("timeoutSeconds: 1", "is missing; add it, for example containers: [{image: example.com/app}]"),
];

#[test]
fn a_replica_is_one_container() {
    let container = "      containers:\n      - image: example.com/hello\n        \n";
    for (list, expected) in LISTS {
        let text = Text::default().to_string();
        assert!(text.contains(container));
        let found = problems(&text.replace(container, &format!("      {list}\n")));
        assert!(found.len() == 1 && found[0].ends_with(expected), "{list}: {found:?}");
    }
}

/// `spec.traffic`, and what is said.
const TRAFFIC: &[(&str, &[&str])] = &[
    ("[]", &[]),
    ("[{percent: 100}]", &[]),
    ("[{latestRevision: true, percent: 100}]", &[]),
    ("[{revisionName: hello-v1, percent: 90}, {percent: 10, tag: canary}]", &[]),
    (
        "[{percent: 100}, {revisionName: hello-v1, percent: 0, tag: old}, {revisionName: hello-v1, tag: older}]",
        &[],
    ),
    ("[{percent: 99}]", &["PEL-1303 f.yaml:17: spec.traffic: the percentages add up to 99; make them 100"]),
    (
        "[{percent: 100}, {percent: 1}]",
        &["PEL-1303 f.yaml:17: spec.traffic: the percentages add up to 101; make them 100"],
    ),
    ("[{tag: a}]", &["PEL-1303 f.yaml:17: spec.traffic: the percentages add up to 0; make them 100"]),
    (
        "[{percent: 101}]",
        &["PEL-1303 f.yaml:17: spec.traffic[0].percent: is out of range; write a whole number from 0 to 100"],
    ),
    (
        "[{percent: -1}]",
        &["PEL-1303 f.yaml:17: spec.traffic[0].percent: is out of range; write a whole number from 0 to 100"],
    ),
    (
        "[{percent: 100, latestRevision: true, revisionName: hello-v1}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].latestRevision: is true beside a revisionName; remove one of the two",
        ],
    ),
    ("[{percent: 100, latestRevision: false, revisionName: hello-v1}]", &[]),
    (
        "[{percent: 100, latestRevision: false}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].latestRevision: is false without a revisionName; name the revision",
        ],
    ),
    (
        "[{percent: 100, latestRevision: 'true'}]",
        &["PEL-1303 f.yaml:17: spec.traffic[0].latestRevision: is a string; write true or false"],
    ),
    (
        "[{percent: 100, configurationName: hello}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].configurationName: belongs into a Route; a Service names a revisionName, or \
             nothing for the latest",
        ],
    ),
    (
        "[{percent: 100, url: 'http://a/'}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].url: is what the status tells, and cannot be chosen; remove it",
        ],
    ),
    (
        "[{percent: 100, tag: a}, {percent: 0, tag: a}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[1].tag: \"a\" is the tag of spec.traffic[0] too; give each a tag of its own",
        ],
    ),
    (
        "[{percent: 100, tag: 1a}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].tag: \"1a\" is not a name; use at most 63 lower-case letters, digits and '-', \
             with a letter at its start and none of '-' at its end",
        ],
    ),
    (
        "[{percent: 100, revisionName: A}]",
        &[
            "PEL-1303 f.yaml:17: spec.traffic[0].revisionName: \"A\" is not a name; use at most 63 lower-case letters, digits \
             and '-', with a letter at its start and none of '-' at its end",
        ],
    ),
    (
        "[{percentage: 100}]",
        &["PEL-1302 f.yaml:17: spec.traffic[0].percentage: unknown field; did you mean \"percent\"?"],
    ),
];

#[test]
fn traffic_follows_the_rules_of_knative() {
    for (traffic, expected) in TRAFFIC {
        let rest = format!("traffic: {traffic}");
        assert_eq!(problems(&Text { rest: &rest, ..Text::default() }.to_string()), *expected, "{traffic}");
    }
}

/// A change of the document, and what is said.
const DOCUMENTS: &[(&str, &str, &[&str])] = &[
    (
        "name: hello",
        "name: 1hello",
        &[
            "PEL-1315 f.yaml:4: metadata.name: \"1hello\" is not a name; use at most 63 lower-case letters, digits and '-', \
             with a letter at its start and none of '-' at its end",
        ],
    ),
    ("name: hello", "name: hello\n  labels: {a: b}", &[]),
    (
        "name: hello",
        "name: hello\n  labels: {a: 1}",
        &["PEL-1303 f.yaml:5: metadata.labels.a: is a number; write it in quotes: \"1\""],
    ),
    (
        "    metadata:\n",
        "    metadata:\n      name: hello\n",
        &[
            "PEL-1303 f.yaml:10: spec.template.metadata.name: \"hello\" does not start with the name of the Service; write a \
             name such as hello-v2",
        ],
    ),
    ("    metadata:\n", "    metadata:\n      name: hello-1\n", &[]),
    ("  template:", "  runLatest: {}\n  template:", &["PEL-1302 f.yaml:8: spec.runLatest: unknown field"]),
    (
        "  template:",
        "  templat:",
        &[
            "PEL-1304 f.yaml:8: spec.template: is missing; add it, for example template: {spec: {containers: [{image: \
             example.com/app}]}}",
            "PEL-1302 f.yaml:8: spec.templat: unknown field; did you mean \"template\"?",
        ],
    ),
    (
        "serving.knative.dev/v1",
        "serving.knative.dev/v1beta1",
        &[
            "PEL-1305 f.yaml:1: Service (serving.knative.dev/v1beta1) is not served; write apiVersion: serving.knative.dev/v1",
        ],
    ),
    (
        "kind: Service",
        "kind: Servce",
        &[
            "PEL-1305 f.yaml:1: Servce (serving.knative.dev/v1) is not a kind of Knative Serving that Pelton knows; did you \
             mean \"Service\"?",
        ],
    ),
    (
        "kind: Service",
        "kind: Route",
        &["PEL-1306 f.yaml:1: Route (serving.knative.dev/v1) is not a kind that Pelton serves; skipped"],
    ),
    (
        "apiVersion: serving.knative.dev/v1\n",
        "",
        &["PEL-1304 f.yaml:1: apiVersion is missing; add it, for example apiVersion: serving.knative.dev/v1"],
    ),
];

#[test]
fn a_service_is_a_document_like_others() {
    for (from, to, expected) in DOCUMENTS {
        let text = Text::default().to_string();
        assert!(text.contains(from));
        assert_eq!(problems(&text.replacen(from, to, 1)), *expected, "{to}");
    }
    let list = "apiVersion: serving.knative.dev/v1\nkind: ServiceList\nitems: []\n";
    assert_eq!(problems(list), Vec::<String>::new());
}
