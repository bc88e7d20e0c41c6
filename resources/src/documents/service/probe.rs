//! The readiness probe of a container.

use std::time::Duration;

use super::super::fields::{Field, Fields};
use super::super::node::Value;
use super::super::report::Report;
use super::container::Port;
use crate::service::{ProbeAction, ReadinessProbe};

/// Kubernetes' numbers are signed ones of 32 bits.
const NUMBER_MAX: u32 = i32::MAX.unsigned_abs();

/// Reads the probe of a container that serves requests at `port`.
pub(super) fn read(field: &Field<'_>, port: &Port, report: &mut Report) -> Option<ReadinessProbe> {
    let default = ReadinessProbe::default();
    let mut fields = field.fields(report)?;
    let action = action(field, &mut fields, port, report);
    // As in Kubernetes, 0 is as none.
    let mut number = |name| {
        let number = fields.take(name).and_then(|field| field.integer(NUMBER_MAX, report));
        number.filter(|number| *number > 0)
    };
    let seconds = |number: u32| Duration::from_secs(number.into());
    let probe = ReadinessProbe {
        action: action.unwrap_or(default.action),
        initial_delay: number("initialDelaySeconds").map_or(default.initial_delay, seconds),
        period: number("periodSeconds").map(seconds),
        timeout: number("timeoutSeconds").map_or(default.timeout, seconds),
        success_threshold: number("successThreshold").unwrap_or(default.success_threshold),
        failure_threshold: number("failureThreshold").unwrap_or(default.failure_threshold),
    };
    fields.not_served(&["terminationGracePeriodSeconds"], "", report);
    fields.finish(report);
    Some(probe)
}

/// Reads what is tried: one thing at most.
fn action(
    probe: &Field<'_>,
    fields: &mut Fields<'_>,
    port: &Port,
    report: &mut Report,
) -> Option<ProbeAction> {
    let names = ["httpGet", "tcpSocket", "exec", "grpc"];
    let given: Vec<_> = names.into_iter().filter_map(|name| Some((name, fields.take(name)?))).collect();
    match given.as_slice() {
        [] => None,
        [("httpGet", field)] => http_get(field, port, report),
        [("tcpSocket", field)] => tcp_socket(field, port, report),
        [(name, field)] => {
            let message = format!(
                "is not served by Pelton: {}; a replica is ready once its port accepts connections",
                if *name == "exec" {
                    "it runs no commands in a replica"
                } else {
                    "it does not speak gRPC's health protocol"
                }
            );
            report.warning(&field.at(), "PEL-1307", message);
            None
        }
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            probe.wrong(report, format!("has {}; keep one of them", names.join(" and ")));
            None
        }
    }
}

fn http_get(field: &Field<'_>, serving: &Port, report: &mut Report) -> Option<ProbeAction> {
    let before = report.problems.len();
    let mut fields = field.fields(report)?;
    let path = fields.take("path").and_then(|field| field.parsed(report, path));
    let port = fields.take("port").and_then(|field| port(&field, serving, report));
    if let Some(field) = fields.take("scheme")
        && field.text(report).is_some_and(|scheme| scheme != "HTTP")
    {
        report.warning(&field.at(), "PEL-1307", "is not served by Pelton and has no effect; probes use HTTP");
    }
    fields.not_served(&["host", "httpHeaders"], "", report);
    fields.finish(report);
    let path = path.unwrap_or_else(|| "/".to_owned());
    (!report.failed_since(before)).then_some(ProbeAction::HttpGet { path, port })
}

fn tcp_socket(field: &Field<'_>, serving: &Port, report: &mut Report) -> Option<ProbeAction> {
    let mut fields = field.fields(report)?;
    let port = fields.take("port").and_then(|field| port(&field, serving, report));
    fields.not_served(&["host"], "", report);
    fields.finish(report);
    Some(ProbeAction::TcpSocket { port })
}

/// Path and query of a probe; Kubernetes adds a missing `/` too.
fn path(text: &str) -> Result<String, String> {
    let path = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
    match path.parse::<http::uri::PathAndQuery>() {
        Ok(_) => Ok(path),
        Err(error) => Err(format!("is not a path ({error}); write one such as /healthz")),
    }
}

/// The port to probe: a number, or the name of the serving port; `None` is the serving port. A process listens there
/// whatever the number, so the two must not be told apart by it.
fn port(field: &Field<'_>, serving: &Port, report: &mut Report) -> Option<u16> {
    let number = match &field.node.value {
        Value::Text(name) if name.is_empty() || *name == serving.name => return None,
        Value::Text(text) => text.parse().ok(),
        Value::Integer(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    if number.is_none() {
        let name = if serving.name.is_empty() { String::new() } else { format!(", or {}", serving.name) };
        field.wrong(
            report,
            format!("is not a port; write a number from 0 to 65535{name}; 0 is the serving port"),
        );
    }
    number.filter(|number| *number > 0 && *number != serving.number)
}
