//! The container of a Service.

use super::super::fields::{Field, Fields};
use super::super::report::Report;
use super::probe;
use crate::service::{Container, EnvironmentVariable, Protocol, ReadinessProbe};

/// Fields of Kubernetes' Container that have no effect here.
const NOT_SERVED: [&str; 12] = [
    "imagePullPolicy",
    "lifecycle",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
];

/// Variables that tell a replica who it is.
const SET_BY_PELTON: [&str; 4] = ["PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"];

/// The port of a container that names none (Knative's default).
const PORT_DEFAULT: u16 = 8080;

/// Reads a container, which is run by `process_command` where replicas are processes.
pub(super) fn read(
    field: &Field<'_>,
    process_command: Option<Vec<String>>,
    report: &mut Report,
) -> Option<Container> {
    let before = report.problems.len();
    let mut fields = field.fields(report)?;
    if let Some(name) = fields.take("name") {
        name.text(report);
    }
    let image = fields.take("image").and_then(|field| field.parsed(report, image));
    let command = texts(fields.take("command").as_ref(), report);
    let args = texts(fields.take("args").as_ref(), report);
    let env = environment(fields.take("env").as_ref(), report);
    let working_dir = fields.take("workingDir").and_then(|field| field.parsed(report, without_nul));
    let ports = fields.take("ports");
    let port = ports.and_then(|field| only_port(&field, report)).unwrap_or_default();
    let probe = fields.take("readinessProbe").and_then(|field| probe::read(&field, &port, report));
    fields.not_served(&["envFrom"], "; its variables are not set", report);
    fields.not_served(&["livenessProbe", "startupProbe"], "; readinessProbe is", report);
    fields.not_served(&["volumeMounts"], "; the container sees no files but its own", report);
    fields.not_served(&NOT_SERVED, "", report);
    fields.finish(report);
    if report.failed_since(before) {
        return None;
    }
    if image.is_none() && command.is_empty() && process_command.is_none() {
        let message =
            "names nothing to run; add an image, a command, or the annotation process.pelton.dev/command";
        report.error(&field.at(), "PEL-1304", message);
        return None;
    }
    Some(Container {
        image,
        command,
        args,
        process_command,
        env,
        working_dir: working_dir.filter(|folder| !folder.is_empty()),
        port: port.number,
        protocol: port.protocol,
        readiness_probe: probe.unwrap_or_else(ReadinessProbe::default),
    })
}

fn image(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err("is not the name of an image; write one such as registry.example.com/team/app:1.2".into());
    }
    Ok(text.to_owned())
}

/// A text that can be given to a process.
fn without_nul(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("has a NUL character, which nothing can be started with; remove it".into());
    }
    Ok(text.to_owned())
}

fn texts(field: Option<&Field<'_>>, report: &mut Report) -> Vec<String> {
    let items = field.and_then(|field| field.items(report)).unwrap_or_default();
    items.iter().filter_map(|item| item.parsed(report, without_nul)).collect()
}

fn environment(field: Option<&Field<'_>>, report: &mut Report) -> Vec<EnvironmentVariable> {
    let items = field.and_then(|field| field.items(report)).unwrap_or_default();
    items.iter().filter_map(|item| variable(item, report)).collect()
}

fn variable(field: &Field<'_>, report: &mut Report) -> Option<EnvironmentVariable> {
    let mut fields = field.fields(report)?;
    let name = fields
        .required("name", "name: MY_VARIABLE", report)
        .and_then(|field| field.parsed(report, variable_name));
    let value = fields.take("value");
    let source = fields.take("valueFrom");
    let value = match (&value, &source) {
        (Some(value), Some(_)) => {
            value.wrong(report, "is given beside valueFrom; keep one of the two");
            None
        }
        // The value is not repeated: it may be a credential.
        (Some(value), None) => value.text(report).and_then(|text| {
            let checked = without_nul(text);
            checked.map_err(|why| value.wrong(report, why)).ok()
        }),
        (None, Some(source)) => {
            let message = "is not served by Pelton: the variable is not set; write its value";
            report.warning(&source.at(), "PEL-1307", message);
            None
        }
        (None, None) => Some(String::new()),
    };
    fields.finish(report);
    Some(EnvironmentVariable { name: name?, value: value? })
}

fn variable_name(text: &str) -> Result<String, String> {
    if SET_BY_PELTON.contains(&text) {
        return Err("is set by Pelton, which tells a replica who it is by it; remove it".into());
    }
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err("is not the name of a variable; write letters, digits and '_'".into());
    }
    Ok(text.to_owned())
}

/// The port that serves requests.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    /// By which a probe may mean it.
    pub(super) name: String,
    protocol: Protocol,
}

impl Default for Port {
    fn default() -> Self {
        Self { number: PORT_DEFAULT, name: String::new(), protocol: Protocol::default() }
    }
}

fn only_port(field: &Field<'_>, report: &mut Report) -> Option<Port> {
    let items = field.items(report)?;
    match items.as_slice() {
        [] => None,
        [item] => port(item, report),
        several => {
            let message = format!("has {} ports; requests come in at one, keep that", several.len());
            field.wrong(report, message);
            None
        }
    }
}

fn port(field: &Field<'_>, report: &mut Report) -> Option<Port> {
    let mut fields = field.fields(report)?;
    let number = fields.take("containerPort").and_then(|field| field.integer(u16::MAX.into(), report));
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    let name = fields.take("name");
    let protocol = name.as_ref().and_then(|field| field.parsed(report, protocol)).unwrap_or_default();
    transport(&mut fields, report);
    fields.not_served(&["hostIP", "hostPort"], "; requests come in at the gateway", report);
    fields.finish(report);
    let name = name.and_then(|field| field.node.as_text().map(str::to_owned)).unwrap_or_default();
    Some(Port { number: number.unwrap_or(PORT_DEFAULT), name, protocol })
}

fn transport(fields: &mut Fields<'_>, report: &mut Report) {
    if let Some(field) = fields.take("protocol")
        && let Some(text) = field.text(report)
        && !matches!(text, "" | "TCP")
    {
        field.wrong(report, format!("{text:?} is not served; HTTP needs TCP"));
    }
}

/// What is spoken at a port, by its name.
fn protocol(name: &str) -> Result<Protocol, String> {
    match name {
        "" | "http1" => Ok(Protocol::Http1),
        "h2c" => Ok(Protocol::H2c),
        other => Err(super::super::delivery::one_of(other, &["http1", "h2c"])),
    }
}
