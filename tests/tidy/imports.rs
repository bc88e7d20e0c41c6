//! The import rule: a crate imports only from the floors below it (ARCHITECTURE.md, "The house").

use std::collections::BTreeMap;

/// Which of our crates each crate may import.
pub(super) const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("event", &[]),
    ("runtime", &[]),
    ("filter", &["event"]),
    ("event-log", &["event", "runtime"]),
    ("resources", &["event", "filter"]),
    ("broker", &["event", "event-log", "resources", "runtime"]),
    ("trigger-dispatcher", &["event", "filter", "event-log", "resources", "runtime"]),
    ("serving-scaler", &["resources", "runtime"]),
    ("control", &["event", "filter", "resources", "event-log", "runtime"]),
    (
        "cli",
        &[
            "event",
            "runtime",
            "filter",
            "event-log",
            "resources",
            "broker",
            "trigger-dispatcher",
            "serving-scaler",
            "control",
        ],
    ),
];

#[test]
fn crates_import_only_from_the_floors_below() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(super::root())
        .no_deps()
        .exec()
        .expect("cargo metadata runs in the workspace");
    let rules: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("pelton-") else { continue };
        if ["tests", "benches"].contains(&name) {
            continue;
        }
        let Some(allowed) = rules.get(name) else {
            wrong.push(format!("crate {name} has no row in the import rule"));
            continue;
        };
        seen += 1;
        for dependency in &package.dependencies {
            let Some(ours) = dependency.name.strip_prefix("pelton-") else { continue };
            if !allowed.contains(&ours) && ours != name {
                wrong.push(format!("{name} imports {ours}"));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen, rules.len(), "a crate of the import rule is missing");
}
