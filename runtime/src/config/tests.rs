//! Layers, origins, errors, and that the manual tells the truth.

use std::collections::BTreeSet;
use std::io::Write;

use super::*;

const MANUAL: &str = include_str!("../../../deploy/config/default.toml");

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flag(key: &'static str, value: &str) -> Flag {
    Flag { key, name: "--flag", value: value.to_owned() }
}

fn errors(text: &str, variables: &[(&str, &str)], flags: Vec<Flag>) -> Vec<String> {
    let file = file(text);
    let errors = load(Some(file.path()), environment(variables), flags).unwrap_err();
    let path = file.path().display().to_string();
    errors.0.iter().map(|error| format!("{}: {error}", error.code()).replace(&path, "FILE")).collect()
}

#[test]
fn the_manual_holds_every_key_with_its_default() {
    assert_eq!(toml::from_str::<Config>(MANUAL).unwrap(), Config::default());
    let keys = |table: &toml::Table| -> BTreeSet<String> {
        layers::flatten(table).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(&MANUAL.parse().unwrap()), keys(&layers::to_table(&Config::default())));
}

#[test]
fn every_section_of_the_manual_is_explained() {
    // A key follows its comment, or keys that were explained under the first section of their kind.
    let mut explained = BTreeSet::new();
    let mut above = "";
    for line in MANUAL.lines() {
        if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(above.starts_with('#') || explained.contains(key), "{key} has no comment");
            explained.insert(key);
        }
        above = line;
    }
}

#[test]
fn the_built_in_settings_are_valid() {
    let effective = load(None, [], []).unwrap();
    assert_eq!(effective.config, Config::default());
    assert!(effective.show().iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn each_layer_lies_over_the_one_before_and_its_origin_is_known() {
    let file =
        file("[log]\nretention-age = \"1d\"\ndefault-partitions = 3\n\n[ingress]\nbody-limit = \"2MiB\"\n");
    let variables = environment(&[
        ("PELTON__LOG__DEFAULT_PARTITIONS", "4"),
        ("PELTON__INGRESS__BODY_LIMIT", "3MiB"),
        ("PELTON__EGRESS__ALLOW", "10.0.0.0/8, fd00::/8"),
        ("PELTON__INGRESS__DECODE_PERCENT", "false"),
        ("PELTON__TLS__EVENT_BRIDGE__KEY", ""),
        ("PELTON_ADMIN", "not a setting"),
        ("PATH", "/bin"),
    ]);
    let flags = [Flag { key: "ingress.body-limit", name: "--body-limit", value: "4MiB".to_owned() }];
    let effective = load(Some(file.path()), variables, flags).unwrap();
    let config = &effective.config;
    assert_eq!(config.log.retention_age, HumanDuration::from_secs(86_400));
    assert_eq!(config.log.default_partitions, 4);
    assert_eq!(config.ingress.body_limit, ByteSize::from_mib(4));
    assert_eq!(config.egress.allow.len(), 2);
    assert!(!config.ingress.decode_percent);
    let at = |line| Origin::File { path: file.path().to_owned(), line };
    let variable = |name: &str| Origin::Environment(name.to_owned());
    for (key, origin) in [
        ("log.retention-age", at(2)),
        ("log.default-partitions", variable("PELTON__LOG__DEFAULT_PARTITIONS")),
        ("ingress.body-limit", Origin::Flag("--body-limit".to_owned())),
        ("egress.allow", variable("PELTON__EGRESS__ALLOW")),
        ("log.segment-size", Origin::Default),
    ] {
        assert_eq!(*effective.origin(key), origin, "{key}");
    }
}

#[test]
fn show_tells_values_and_origins_and_hides_secrets() {
    let variables = environment(&[("PELTON__ADMIN__TOKEN", "hunter2")]);
    let effective = load(None, variables, [flag("data.dir", "/var/lib/pelton")]).unwrap();
    let rows = effective.show();
    let row = |key: &str| rows.iter().find(|row| row.key == key).unwrap();
    assert_eq!(row("admin.token").value.as_str(), Some("(secret)"));
    assert_eq!(row("admin.token").origin.to_string(), "environment PELTON__ADMIN__TOKEN");
    assert_eq!(row("data.dir").value.to_string(), "\"/var/lib/pelton\"");
    assert_eq!(row("data.dir").origin.to_string(), "flag --flag");
    assert_eq!(effective.config.admin.token.reveal(), Some("hunter2"));
    assert!(!format!("{rows:?}{effective:?}").contains("hunter2"));
}

#[test]
fn a_survey_tells_every_setting_beside_what_is_wrong() {
    let variables = [("PELTON__ADMIN__TOKEN", "hunter2"), ("PELTON__LOG__DEFAULT_PARTITIONS", "ten")];
    let (rows, told) = survey(None, environment(&variables), [flag("log.queue-size", "65MiB")]);
    assert_eq!(rows.len(), layers::flatten(&layers::to_table(&Config::default())).len());
    let value = |key: &str| rows.iter().find(|row| row.key == key).map(|row| row.value.to_string()).unwrap();
    assert_eq!(value("log.default-partitions"), "10");
    assert_eq!(value("log.queue-size"), "\"65MiB\"");
    assert!(told.unwrap_err().to_string().contains("\"ten\" is not a whole number"));
    assert!(!format!("{rows:?}").contains("hunter2"));
    let (rows, told) = survey(None, [], [flag("listen.ingress", "0.0.0.0:8080")]);
    assert!(rows.iter().any(|row| row.value.as_str() == Some("0.0.0.0:8080")));
    assert_eq!(
        told.unwrap_err().to_string(),
        "PEL-1504: `listen.ingress` (flag --flag): it is 0.0.0.0:8080, which is not loopback: \
         set a token (PELTON__ADMIN__TOKEN), or bind every listener to loopback"
    );
}

#[test]
fn unknown_keys_are_errors_with_a_suggestion() {
    for (text, expected) in [
        (
            "[log]\nretention-agee = \"1d\"\n",
            "PEL-1501: unknown setting `log.retention-agee` (FILE:2); did you mean `log.retention-age`?",
        ),
        (
            "body-limit = \"1MiB\"\n",
            "PEL-1501: unknown setting `body-limit` (FILE:1); did you mean `ingress.body-limit`?",
        ),
        (
            "\n[lisen]\ningress = \"127.0.0.1:1\"\n",
            "PEL-1501: unknown setting `lisen.ingress` (FILE:3); did you mean `listen.ingress`?",
        ),
        ("[zebra]\nstripes = 3\n", "PEL-1501: unknown setting `zebra.stripes` (FILE:2)"),
    ] {
        assert_eq!(errors(text, &[], vec![]), [expected]);
    }
    let variable = [("PELTON__INGRESS__BODY_LIMT", "1MiB")];
    assert_eq!(
        errors("", &variable, vec![]),
        [
            "PEL-1501: unknown setting `ingress.body-limt` (environment PELTON__INGRESS__BODY_LIMT); did you mean `ingress.body-limit`?"
        ]
    );
}

#[test]
fn wrong_values_are_errors_that_say_what_would_be_right() {
    for (text, expected) in [
        ("[log]\nretention-age = \"7 days\"\n", "\"7 days\" is not a duration; write a number and a unit"),
        (
            "[log]\nretention-age = 7\n",
            "it is of type integer; it must be of type string, for example \"7d\"",
        ),
        ("[log]\nsegment-size = \"64M\"\n", "\"64M\" is not a size"),
        ("[log]\non-full = \"panic\"\n", "expected `refuse` or `expire`"),
        ("[log]\ndefault-partitions = -1\n", "expected u32"),
        ("[egress]\ndeny = [\"10.0.0.0/99\"]\n", "\"10.0.0.0/99\" is not a network"),
        (
            "[listen]\ningress = \"localhost\"\n",
            "\"localhost\" is not an address; write an IP address and a port, like \"127.0.0.1:8080\"",
        ),
        ("listen = 8080\n", "unknown setting `listen`"),
        ("[data]\ndir = { path = 1 }\n", "unknown setting `data.dir.path`"),
    ] {
        let found = errors(text, &[], vec![]);
        assert!(found.len() == 1 && found[0].contains(expected) && found[0].contains("FILE:"), "{found:?}");
    }
    let found = errors("", &[("PELTON__LOG__DEFAULT_PARTITIONS", "ten")], vec![flag("data.dirr", "x")]);
    assert_eq!(
        found,
        [
            "PEL-1502: `log.default-partitions` (environment PELTON__LOG__DEFAULT_PARTITIONS): \"ten\" is not a whole number; for example 10",
            "PEL-1501: unknown setting `data.dirr` (flag --flag); did you mean `data.dir`?",
        ]
    );
}

#[test]
fn all_errors_are_told_at_once_and_conflicts_only_when_values_are_right() {
    let found = errors("[log]\na = 1\nretention-age = \"x\"\n[ingress]\nclient-share = 0\n", &[], vec![]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn values_must_go_together() {
    for (key, value, blamed) in [
        ("ingress.client-share", "0", "ingress.client-share"),
        ("ingress.broker-share", "101", "ingress.broker-share"),
        ("ingress.broker-share", "1", "ingress.broker-share"),
        ("ingress.batch-limit", "1KiB", "ingress.batch-limit"),
        ("log.segment-size", "1MiB", "log.segment-size"),
        // A quarter of a segment must take a full batch and what a dead letter adds to it.
        ("log.segment-size", "19MiB", "log.segment-size"),
        ("log.segment-size", "3GiB", "log.segment-size"),
        ("log.default-partitions", "4097", "log.default-partitions"),
        ("ingress.batch-limit", "15361KiB", "log.segment-size"),
        ("log.retention-size", "64MiB", "log.retention-size"),
        ("log.queue-size", "1MiB", "log.queue-size"),
        ("dispatch.body-budget", "1MiB", "dispatch.body-budget"),
        ("dispatch.max-in-flight", "0", "dispatch.max-in-flight"),
        ("delivery.timeout", "0s", "delivery.timeout"),
        ("delivery.backoff-delay", "11m", "delivery.backoff-delay"),
        ("listen.admin", "127.0.0.1:8080", "listen.admin"),
        ("listen.ingress", "0.0.0.0:8080", "listen.ingress"),
        ("tls.admin.key", "key.pem", "tls.admin.certificate"),
        ("data.dir", "", "data.dir"),
        ("log-output.level", "pelton=loud", "log-output.level"),
        ("traces.endpoint", "collector:4318", "traces.endpoint"),
        ("kafka.servers", "localhost", "kafka.servers"),
        ("kafka.servers", "kafka-1:9092,kafka-2", "kafka.servers"),
    ] {
        let found = load(None, [], [flag(key, value)]).unwrap_err();
        let [ConfigError::Conflict { key: found_key, .. }] = &found.0[..] else { panic!("{key}: {found}") };
        assert_eq!(found_key, blamed, "{key}: {found}");
    }
    load(None, [], [flag("log.segment-size", "20MiB")]).unwrap();
    load(None, [], [flag("kafka.servers", "kafka-1:9092, [::1]:9093")]).unwrap();
    // However large the segments are, the log has a limit of its own.
    let segments = flag("log.segment-size", "1GiB");
    load(None, [], [segments.clone(), flag("ingress.batch-limit", "31MiB")]).unwrap();
    let found = load(None, [], [segments, flag("ingress.batch-limit", "32MiB")]).unwrap_err().to_string();
    assert!(found.contains("`ingress.batch-limit`") && found.contains("at most 31MiB"), "{found}");
    load(None, [], [flag("log.segment-size", "2GiB"), flag("log.default-partitions", "4096")]).unwrap();
    load(None, [], [flag("ingress.in-flight", "8MiB")]).expect("half of it is a full batch");
    let flags = [flag("listen.ingress", "127.0.0.1:0"), flag("listen.admin", "127.0.0.1:0")];
    load(None, [], flags).unwrap();
    let flags = [flag("listen.ingress", "0.0.0.0:8080"), flag("admin.token", "hunter2")];
    assert!(!load(None, [], flags).unwrap().config.listen.is_loopback_only());
}

#[test]
fn listeners_that_are_not_served_break_no_rule_and_are_told() {
    let text = "[listen]\nevent-bridge = \"0.0.0.0:8080\"\n[tls.event-bridge]\nkey = \"key.pem\"\n";
    let file = file(text);
    let flags = [flag("tls.event-bridge.certificate", "")];
    let effective = load(Some(file.path()), [], flags).unwrap();
    assert!(effective.config.listen.is_loopback_only());
    let told: Vec<_> = effective.without_effect().map(|(key, origin)| (key, origin.to_string())).collect();
    let place = |line: usize| format!("{}:{line}", file.path().display());
    assert_eq!(told, [("listen.event-bridge", place(2)), ("tls.event-bridge.key", place(4)),]);
    assert_eq!(load(None, [], []).unwrap().without_effect().count(), 0);
}

#[test]
fn broken_files_are_told_by_line_without_their_text() {
    let found = errors("[admin]\ntoken = \"hunter2\n", &[], vec![]);
    assert!(found.len() == 1 && found[0].starts_with("PEL-1503: configuration file FILE:2: "), "{found:?}");
    assert!(!found[0].contains("hunter2"), "{found:?}");
    let absent = load(Some(Path::new("/nonexistent/pelton.toml")), [], []).unwrap_err();
    assert_eq!(absent.code(), "PEL-1503");
    let large = file(&"#".repeat(2 * 1024 * 1024));
    assert!(load(Some(large.path()), [], []).unwrap_err().to_string().contains("larger than"));
}
