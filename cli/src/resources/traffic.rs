//! `pelton traffic` and `pelton rollback`.

use clap::Args;
use pelton_resources::Kind;
use serde_json::{Value, json};

use super::{name, running};
use crate::api::admin::Api;
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton traffic model model-00001=90 latest=10
  pelton traffic model latest=100
  pelton traffic model --tag canary=latest       at canary-model.NAMESPACE.localhost, whatever the percentages
  pelton traffic model                           shows the traffic

`latest` is the newest revision that is ready, also one that is made later. Tags stay unless they are taken away. The command \
works for Services of your own files as well; it holds, also over restarts, until the file says other traffic.")]
pub(crate) struct Arguments {
    /// The Service: NAME or NAMESPACE/NAME
    service: String,
    /// Revisions and their parts of the requests; together 100
    #[arg(value_name = "REVISION=PERCENT")]
    traffic: Vec<String>,
    /// A name under which a revision is reached by itself; may be repeated
    #[arg(long = "tag", value_name = "NAME=REVISION")]
    tags: Vec<String>,
    /// Take a tag away; may be repeated
    #[arg(long, value_name = "NAME")]
    untag: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton rollback model

All requests go at once to the ready revision that had them before the last change; tags stay. Later revisions get nothing \
until `pelton traffic model latest=100`.")]
pub(crate) struct RollbackArguments {
    /// The Service: NAME or NAMESPACE/NAME
    service: String,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let service = name::name(&arguments.service, &global.namespace)?;
    let body = body(arguments)?;
    let api = Api::from_environment()?;
    let path = name::path(Kind::Service, &service);
    if arguments.traffic.is_empty() && arguments.tags.is_empty() && arguments.untag.is_empty() {
        let shown = api.get(&path).await?;
        return match global.output {
            Format::Table => output::line(&running::targets(&shown["spec"]["traffic"])),
            format => output::document(format, &shown["spec"]["traffic"]),
        };
    }
    let answer = api.post(&format!("{path}/traffic"), &body).await?;
    show(global, &answer)?;
    for revision in answer["waitsFor"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output::say(&format!("{revision} is not ready; the requests go where they went until it is"));
    }
    Ok(())
}

pub(crate) async fn rollback(arguments: &RollbackArguments, global: &Global) -> Result<(), Failure> {
    let service = name::name(&arguments.service, &global.namespace)?;
    let path = format!("{}/rollback", name::path(Kind::Service, &service));
    let answer = Api::from_environment()?.post(&path, &json!({})).await?;
    if global.output == Format::Table {
        output::line(&rolled_back(service.as_str(), &answer))?;
    }
    show(global, &answer)?;
    output::say(&format!("later revisions get no requests until `pelton traffic {service} latest=100`"));
    Ok(())
}

fn rolled_back(service: &str, answer: &Value) -> String {
    let revision = answer["revision"].as_str().unwrap_or_default();
    match answer["action"].as_str() {
        Some("unchanged") => format!("service {service}: all requests go to {revision} already"),
        _ => format!("service {service}: all requests go to {revision} again"),
    }
}

fn show(global: &Global, answer: &Value) -> Result<(), Failure> {
    if global.output != Format::Table {
        return output::document(global.output, answer);
    }
    output::line(&running::traffic_line("before", answer))?;
    output::line(&running::traffic_line("after", answer))
}

/// The change as the admin API takes it.
fn body(arguments: &Arguments) -> Result<Value, Failure> {
    let traffic = arguments.traffic.iter().map(|text| {
        let (revision, percent) = text.split_once('=').unwrap_or((text, ""));
        let percent: u32 =
            percent.trim_end_matches('%').parse().ok().filter(|percent| *percent <= 100).ok_or_else(
                || {
                    let message = format!(
                        "`{text}` is no part of the traffic; write REVISION=PERCENT, such as latest=10"
                    );
                    Failure::usage(Some("PEL-1708"), message)
                },
            )?;
        Ok(json!({"revision": revision_name(revision), "percent": percent}))
    });
    let tags = arguments.tags.iter().map(|text| {
        let parts = text.split_once('=').filter(|(tag, revision)| !tag.is_empty() && !revision.is_empty());
        let (tag, revision) = parts.ok_or_else(|| {
            let message = format!("`{text}` is no tag; write NAME=REVISION, such as canary=latest");
            Failure::usage(Some("PEL-1708"), message)
        })?;
        Ok(json!({"tag": tag, "revision": revision_name(revision)}))
    });
    let traffic = traffic.collect::<Result<Vec<_>, Failure>>()?;
    let tags = tags.collect::<Result<Vec<_>, Failure>>()?;
    Ok(json!({"traffic": traffic, "tags": tags, "untag": arguments.untag}))
}

/// The name of a revision; `None`: the latest.
fn revision_name(text: &str) -> Option<&str> {
    (!matches!(text, "latest" | "@latest")).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(traffic: &[&str], tags: &[&str]) -> Result<Value, Failure> {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let arguments = Arguments {
            service: "model".to_owned(),
            traffic: owned(traffic),
            tags: owned(tags),
            untag: vec!["old".to_owned()],
        };
        body(&arguments)
    }

    #[test]
    fn the_words_become_the_body() {
        let body = of(&["model-00001=90", "latest=10%"], &["canary=@latest", "stable=model-00001"]).unwrap();
        assert_eq!(
            body,
            json!({
                "traffic": [{"revision": "model-00001", "percent": 90}, {"revision": null, "percent": 10}],
                "tags": [{"tag": "canary", "revision": null}, {"tag": "stable", "revision": "model-00001"}],
                "untag": ["old"],
            })
        );
        for wrong in ["model-00001", "model-00001=", "latest=ten", "latest=-1", "latest=101"] {
            assert!(of(&[wrong], &[]).unwrap_err().to_string().contains("REVISION=PERCENT"), "{wrong}");
        }
        for wrong in ["canary", "canary=", "=latest"] {
            assert!(of(&[], &[wrong]).unwrap_err().to_string().contains("NAME=REVISION"), "{wrong}");
        }
    }

    #[test]
    fn a_rollback_says_where_to() {
        let answer = |action: &str| json!({"revision": "model-00001", "action": action});
        assert_eq!(
            rolled_back("ai/model", &answer("configured")),
            "service ai/model: all requests go to model-00001 again"
        );
        assert!(rolled_back("ai/model", &answer("unchanged")).ends_with("already"));
    }
}
