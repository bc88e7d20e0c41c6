//! The CESQL TCK (275 cases) through `pelton match`: result and kind of error of each.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct File {
    tests: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    expression: String,
    result: Option<Value>,
    error: Option<String>,
    event: Option<Map<String, Value>>,
    event_overrides: Option<Map<String, Value>>,
}

/// The prefix of the error text of each kind of the TCK.
fn kind_of(error: &str) -> &str {
    error.split(':').next().unwrap_or_default()
}

impl Case {
    fn event(&self) -> Value {
        let mut event = self.event.clone().unwrap_or_else(|| {
            let Value::Object(any) =
                json!({"specversion": "1.0", "id": "id", "source": "/tck", "type": "tck"})
            else {
                unreachable!("an object literal is an object");
            };
            any
        });
        event.extend(self.event_overrides.clone().unwrap_or_default());
        Value::Object(event)
    }

    /// As a filter: an error or a non-Boolean result does not match.
    fn matches(&self) -> bool {
        self.error.is_none() && self.result == Some(Value::Bool(true))
    }
}

#[test]
fn every_case_of_the_tck_matches_and_errs_as_it_must() {
    let Some(folder) = pelton_tests::testdata("cesql-tck") else { return };
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let file: File = serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            cases.extend(file.tests);
        }
    }
    assert_eq!(cases.len(), 275, "the TCK has 275 cases");

    let mut child = Command::new(pelton_tests::pelton::binary())
        .args(["match", "--cases", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = cases
        .iter()
        .map(|case| {
            json!({"dialect": "cesql", "expression": case.expression, "event": case.event()}).to_string()
                + "\n"
        })
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();

    let answers: Vec<Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), cases.len(), "one answer for each line");
    let mut wrong = BTreeMap::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let error = answer["error"].as_str().map(kind_of);
        let matches = answer["matches"].as_bool().unwrap_or(false);
        if error != case.error.as_deref() || matches != case.matches() {
            wrong.insert(
                &case.name,
                format!("{} -> {answer}, expected {:?} {:?}", case.expression, case.result, case.error),
            );
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ: {wrong:#?}", wrong.len(), cases.len());
}
