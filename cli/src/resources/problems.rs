//! What is wrong in the files of resources, as the running Pelton has read them.

use pelton_resources::{Kind, NamespacedName};
use serde_json::Value;

use crate::api::admin::{Api, problem_line};
use crate::failure::{Exit, Failure};

/// Whether a warning says that its resource is not in service, as the resource does itself.
pub(super) fn is_not_ready(warning: &Value) -> bool {
    // A trigger, a broker, a service.
    matches!(warning["code"].as_str(), Some("PEL-1310" | "PEL-1319" | "PEL-1321"))
}

/// The problems of a running Pelton.
pub(super) struct Problems(Vec<Value>);

impl Problems {
    pub(super) async fn read(api: &Api) -> Result<Self, Failure> {
        Ok(Self::of(&api.get("/api/v1/problems").await?))
    }

    pub(super) fn of(answer: &Value) -> Self {
        Self(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// One line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.iter().map(problem_line).collect()
    }

    /// Whether there is an error, which the resource shown does not have taken up.
    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(is_error)
    }

    /// The errors in a resource's document, or in its file where that cannot be read as documents.
    pub(super) fn errors_of(&self, item: &Value) -> Vec<String> {
        self.of_item(item).filter(|problem| is_error(problem)).map(told).collect()
    }

    /// The warnings about a resource, but for the first of those that let it wait: that is what its `message` says.
    pub(super) fn warnings_of(&self, item: &Value) -> Vec<String> {
        let mut is_said = item["ready"] == false;
        let warnings = self.of_item(item).filter(|problem| !is_error(problem));
        let unsaid = warnings.filter(|problem| !is_not_ready(problem) || !std::mem::take(&mut is_said));
        unsaid.map(told).collect()
    }

    fn of_item<'a>(&'a self, item: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(|problem| match problem["kind"].as_str() {
            Some(_) => {
                ["kind", "namespace", "name"].into_iter().all(|member| problem[member] == item[member])
            }
            None => file(text(problem, "place")) == defined_in(item),
        })
    }

    /// Why a resource that was asked for is not there, if its document has an error.
    pub(super) fn explain(&self, failure: Failure, kind: Kind, name: &NamespacedName) -> Failure {
        let item =
            serde_json::json!({"kind": kind.as_str(), "namespace": name.namespace(), "name": name.name()});
        let errors = self.errors_of(&item);
        if failure.exit() != Exit::NotFound || errors.is_empty() {
            return failure;
        }
        failure.because(&format!("its document has an error:\n  {}", errors.join("\n  ")))
    }
}

fn is_error(problem: &Value) -> bool {
    problem["severity"] == "error"
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// `shop.yaml:13: spec.delivery.retry: what is wrong`.
fn told(problem: &Value) -> String {
    let parts = ["place", "field", "message"].map(|member| text(problem, member));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// The file that a resource in force comes from.
fn defined_in(item: &Value) -> Option<&str> {
    let facts = item["status"]["facts"].as_array()?;
    file(text(facts.iter().find(|fact| fact["label"] == "defined in")?, "text"))
}

/// The file of a place, without its line.
fn file(place: &str) -> Option<&str> {
    let is_line = |line: &str| line.bytes().all(|byte| byte.is_ascii_digit());
    let file = place.rsplit_once(':').filter(|(_, line)| is_line(line)).map_or(place, |(file, _)| file);
    (!file.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problems() -> Problems {
        Problems::of(&json!({"items": [
            {"severity": "error", "code": "PEL-1302", "place": "shop.yaml:13", "kind": "Trigger", "namespace": "default", "name": "paid",
             "field": "spec.delivery", "message": "retries is no field"},
            {"severity": "warning", "code": "PEL-1310", "place": "shop.yaml:9", "kind": "Trigger", "namespace": "default", "name": "paid",
             "field": "spec.broker", "message": "there is no Broker default/b; the trigger is not ready"},
            {"severity": "error", "code": "PEL-1304", "place": "torn.yaml:2", "kind": null, "namespace": null, "name": null,
             "field": "", "message": "is not YAML"},
        ]}))
    }

    fn item(name: &str, place: &str) -> Value {
        json!({"kind": "Trigger", "namespace": "default", "name": name, "ready": false,
               "status": {"facts": [{"label": "defined in", "text": place}]}})
    }

    #[test]
    fn a_problem_belongs_to_its_resource_or_to_all_of_its_file() {
        let told = problems().errors_of(&item("paid", "shop.yaml:1"));
        assert_eq!(told, ["shop.yaml:13: spec.delivery: retries is no field"]);
        assert_eq!(problems().errors_of(&item("other", "shop.yaml:1")), [""; 0]);
        assert_eq!(problems().errors_of(&item("other", "torn.yaml:30")), ["torn.yaml:2: is not YAML"]);
        assert_eq!(problems().warnings_of(&item("paid", "shop.yaml:1")), [""; 0]);
        let mut ready = item("paid", "shop.yaml:1");
        ready["ready"] = json!(true);
        assert_eq!(problems().warnings_of(&ready).len(), 1);
    }

    #[test]
    fn what_is_not_there_because_of_an_error_says_so() {
        let not_found = || Failure::not_found(Some("PEL-1602"), "there is no Trigger default/paid");
        let explained =
            problems().explain(not_found(), Kind::Trigger, &NamespacedName::new("default", "paid"));
        assert!(explained.to_string().contains("shop.yaml:13"), "{explained}");
        assert_eq!(explained.exit(), Exit::NotFound);
        let other = problems().explain(not_found(), Kind::Broker, &NamespacedName::new("default", "paid"));
        assert_eq!(other.to_string(), "there is no Trigger default/paid");
    }
}
