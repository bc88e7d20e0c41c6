//! `pelton logs`.

use clap::Args;
use pelton_resources::Kind;
use serde::Deserialize;
use serde_json::Value;

use super::name;
use crate::api::admin::{Api, with_query};
use crate::arguments::Global;
use crate::failure::Failure;
use crate::output::{self, Format};

#[derive(Debug, Args)]
#[command(after_help = "Example:
  pelton logs model
  pelton logs -f model
  pelton logs model --tail 20 -o json

Each line stands behind the name of its replica. The last 200 of each revision are kept, as long as requests go to it, it is \
the latest, or it has replicas; all of them are in the log of Pelton as well.")]
pub(crate) struct Arguments {
    /// The Service: NAME or NAMESPACE/NAME
    service: String,
    /// Go on with what comes
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many of the lines that are kept
    #[arg(long, value_name = "COUNT")]
    tail: Option<u64>,
}

/// One line of the API.
#[derive(Deserialize)]
struct Line {
    revision: String,
    replica: Option<String>,
    text: Option<String>,
    /// So many lines were written in between, and are not kept any more.
    skipped: Option<u64>,
}

pub(crate) async fn run(arguments: &Arguments, global: &Global) -> Result<(), Failure> {
    let service = name::name(&arguments.service, &global.namespace)?;
    let tail = arguments.tail.map(|tail| tail.to_string());
    let path = with_query(
        &format!("{}/logs", name::path(Kind::Service, &service)),
        &[("tail", tail.as_deref()), ("follow", arguments.follow.then_some("true"))],
    );
    let mut lines = Api::from_environment()?.lines(&path).await?;
    let mut count = 0_u64;
    while let Some(line) = lines.next().await? {
        if !line.trim_ascii().is_empty() {
            output::line(&shown(global.output, &line)?)?;
            count += 1;
        }
    }
    if count == 0 && !arguments.follow && global.output == Format::Table {
        output::say("its replicas have written nothing that is kept");
    }
    Ok(())
}

fn shown(format: Format, line: &[u8]) -> Result<String, Failure> {
    let strange = |error: serde_json::Error| {
        Failure::failed(Some("PEL-1703"), format!("a line of the logs cannot be read: {error}"))
    };
    match format {
        Format::Json => Ok(String::from_utf8_lossy(line).into_owned()),
        Format::Yaml => {
            let value: Value = serde_json::from_slice(line).map_err(strange)?;
            Ok(format!("---\n{}", output::yaml_with_event(value, None)?))
        }
        Format::Table => {
            let line: Line = serde_json::from_slice(line).map_err(strange)?;
            if let Some(skipped) = line.skipped {
                let lines = output::counted(skipped, "line");
                return Ok(format!("{} … {lines} left out", line.revision));
            }
            Ok(format!("{} | {}", line.replica.unwrap_or(line.revision), line.text.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"revision":"model-00001","replica":"model-00001-7","text":"ready"}"#;

    #[test]
    fn a_line_in_every_form() {
        assert_eq!(shown(Format::Table, LINE.as_bytes()).unwrap(), "model-00001-7 | ready");
        assert_eq!(shown(Format::Json, LINE.as_bytes()).unwrap(), LINE);
        assert!(shown(Format::Yaml, LINE.as_bytes()).unwrap().contains("text: ready"));
        let skipped = br#"{"revision":"model-00001","skipped":7}"#;
        assert_eq!(shown(Format::Table, skipped).unwrap(), "model-00001 … 7 lines left out");
        assert!(shown(Format::Table, b"<html>").is_err());
    }
}
