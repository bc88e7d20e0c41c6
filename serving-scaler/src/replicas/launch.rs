//! From a revision's container to a program and its surroundings.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use pelton_resources::{Container, NamespacedName};

/// What runs images on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEngine(PathBuf);

impl ContainerEngine {
    /// The first of `podman` and `docker` on this path, a list as of `PATH`.
    #[must_use]
    pub fn find(path: Option<OsString>) -> Option<Self> {
        let path = path?;
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        let program = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file());
        program("podman").or_else(|| program("docker")).map(Self)
    }
}

/// Whose replica it is.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The Service.
    pub service: &'a NamespacedName,
    /// The revision.
    pub revision: &'a str,
    /// The replica, unique in this process.
    pub replica: &'a str,
}

/// A program and its surroundings.
#[derive(Clone, PartialEq, Eq)]
pub struct Launch {
    /// The program and its arguments.
    pub program: Vec<OsString>,
    /// Variables added to those of Pelton; of two with one name the later counts.
    pub environment: Vec<(String, String)>,
    /// The folder it starts in; `None`: Pelton's.
    pub working_dir: Option<PathBuf>,
    /// Whether the program itself listens on its port: an engine does so for its container.
    pub listens_itself: bool,
    /// How long it may go on after SIGTERM.
    pub grace: Duration,
}

impl std::fmt::Debug for Launch {
    /// Without the values of variables: they may be credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("program", &self.program).finish_non_exhaustive()
    }
}

/// Why nothing can be run for a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotLaunch {
    /// There is only an image.
    #[error(
        "image {0} needs podman or docker, and neither is on the PATH; install one, or say what to run without it \
         (`command`, or the annotation process.pelton.dev/command)"
    )]
    NoEngine(String),
    /// There is nothing to run.
    #[error("the container has neither command nor image")]
    Nothing,
}

/// What is run for a replica that is to listen on `port`.
///
/// # Errors
/// [`CannotLaunch`] says what is missing.
pub fn launch(
    container: &Container,
    identity: Identity<'_>,
    port: u16,
    grace: Duration,
    engine: Option<&ContainerEngine>,
) -> Result<Launch, CannotLaunch> {
    let own = own_variables(identity);
    let command: Vec<String> = match &container.process_command {
        Some(command) => command.clone(),
        None if container.command.is_empty() => {
            return in_engine(container, &own, identity, port, grace, engine);
        }
        None => container.command.iter().chain(&container.args).cloned().collect(),
    };
    let mut environment: Vec<_> =
        container.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    environment.push(("PORT".to_owned(), port.to_string()));
    let program = command.iter().map(|word| expand(word, &environment).into()).collect();
    let working_dir = container.working_dir.as_ref().map(PathBuf::from);
    Ok(Launch { program, environment, working_dir, listens_itself: true, grace })
}

/// What Knative tells a container (runtime contract, "Process").
fn own_variables(identity: Identity<'_>) -> [(&'static str, String); 3] {
    [
        ("K_SERVICE", identity.service.name().to_owned()),
        ("K_CONFIGURATION", identity.service.name().to_owned()),
        ("K_REVISION", identity.revision.to_owned()),
    ]
}

fn in_engine(
    container: &Container,
    own: &[(&'static str, String); 3],
    identity: Identity<'_>,
    port: u16,
    grace: Duration,
    engine: Option<&ContainerEngine>,
) -> Result<Launch, CannotLaunch> {
    let image = container.image.as_ref().ok_or(CannotLaunch::Nothing)?;
    let engine = engine.ok_or_else(|| CannotLaunch::NoEngine(image.clone()))?;
    let inside = container.port;
    let mut program: Vec<OsString> = vec![engine.0.clone().into()];
    let mut add = |words: &[&str]| program.extend(words.iter().map(OsString::from));
    add(&["run", "--rm", "--init", "--name", identity.replica]);
    add(&["--publish", &format!("127.0.0.1:{port}:{inside}")]);
    add(&["--stop-timeout", &grace.as_secs().to_string()]);
    // By name only: the values are in the engine's environment, where other users of the machine do not read them.
    for variable in &container.env {
        add(&["--env", &variable.name]);
    }
    for (name, _) in own {
        add(&["--env", name]);
    }
    add(&["--env", "PORT"]);
    if let Some(folder) = &container.working_dir {
        add(&["--workdir", folder]);
    }
    add(&[image]);
    add(&container.args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut environment: Vec<_> =
        container.env.iter().map(|variable| (variable.name.clone(), variable.value.clone())).collect();
    environment.extend(own.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    environment.push(("PORT".to_owned(), inside.to_string()));
    Ok(Launch { program, environment, working_dir: None, listens_itself: false, grace })
}

/// `$(NAME)` becomes the variable's value and `$$` a `$`, as in Kubernetes (Container v1, `command`). What names no variable
/// stays.
fn expand(word: &str, environment: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let name = after.strip_prefix('(').and_then(|inner| inner.split_once(')')).map(|(name, _)| name);
        let value = name.and_then(|name| environment.iter().rev().find(|(known, _)| known == name));
        if let (Some(name), Some((_, value))) = (name, value) {
            expanded.push_str(value);
            rest = &after[name.len() + 2..];
        } else {
            expanded.push('$');
            rest = after.strip_prefix('$').unwrap_or(after);
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use pelton_resources::{EnvironmentVariable, Protocol, ReadinessProbe};

    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn container() -> Container {
        let variable =
            |name: &str, value: &str| EnvironmentVariable { name: name.into(), value: value.into() };
        Container {
            image: None,
            command: vec!["serve".into(), "--port".into(), "$(PORT)".into()],
            args: vec!["$(MODEL)/$(NOBODY)/$$(MODEL)".into()],
            process_command: None,
            env: vec![variable("MODEL", "first"), variable("MODEL", "second")],
            working_dir: Some("/models".into()),
            port: 8080,
            protocol: Protocol::Http1,
            readiness_probe: ReadinessProbe::default(),
        }
    }

    fn launched(container: &Container, engine: Option<&ContainerEngine>) -> Result<Launch, CannotLaunch> {
        let service = NamespacedName::new("shop", "model");
        let identity = Identity { service: &service, revision: "model-00002", replica: "model-00002-7" };
        launch(container, identity, 20_007, GRACE, engine)
    }

    fn words(launch: &Launch) -> Vec<&str> {
        launch.program.iter().map(|word| word.to_str().unwrap()).collect()
    }

    #[test]
    fn a_command_runs_as_a_process_and_is_told_who_it_is() {
        let launch = launched(&container(), None).unwrap();
        assert_eq!(words(&launch), ["serve", "--port", "20007", "second/$(NOBODY)/$(MODEL)"]);
        let value =
            |name: &str| launch.environment.iter().rfind(|(known, _)| known == name).unwrap().1.clone();
        let told = ["MODEL", "K_SERVICE", "K_CONFIGURATION", "K_REVISION", "PORT"].map(value);
        assert_eq!(told, ["second", "model", "model", "model-00002", "20007"]);
        assert!(launch.listens_itself);
        assert!(!format!("{launch:?}").contains("first"));
    }

    #[test]
    fn the_command_for_processes_counts_before_that_of_the_container() {
        let process_command = Some(vec!["./local".to_owned()]);
        let container = Container { image: Some("model:1".into()), process_command, ..container() };
        assert_eq!(words(&launched(&container, None).unwrap()), ["./local"]);
    }

    #[test]
    fn an_image_alone_needs_an_engine() {
        let container = Container { image: Some("model:1".into()), command: Vec::new(), ..container() };
        assert_eq!(launched(&container, None), Err(CannotLaunch::NoEngine("model:1".into())));
        let engine = ContainerEngine("/usr/bin/podman".into());
        let launch = launched(&container, Some(&engine)).unwrap();
        let words = words(&launch);
        assert_eq!(words[..4], ["/usr/bin/podman", "run", "--rm", "--init"]);
        assert!(words.windows(2).any(|pair| pair == ["--publish", "127.0.0.1:20007:8080"]), "{words:?}");
        assert!(!words.contains(&"second"), "values are not on the command line: {words:?}");
        let port = launch.environment.iter().rfind(|(name, _)| name == "PORT").unwrap();
        assert_eq!(port.1, "8080", "inside, the port is the container's");
        assert!(!launch.listens_itself);
        let nothing = Container { image: None, ..container };
        assert_eq!(launched(&nothing, Some(&engine)), Err(CannotLaunch::Nothing));
    }
}
