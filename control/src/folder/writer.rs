//! Changing resources by API or command.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use pelton_resources::contracts::{Override, ResourceWriter, WriteAction, WriteError, Written};
use pelton_resources::{
    Assembly, Document, Kind, NamespacedName, Overrides, Problem, Setting, Severity, Source,
    annotation_field, assemble, duplicates,
};

use super::changes::Changes;
use super::managed;
use super::store::{State, Store, Turn, is_managed};
use crate::limits::MANAGED_NAME_MAX;
use crate::topics::InForce;

/// The name of a request's text in problems.
const REQUEST: &str = "request";

/// Writes resources into the folder; a call answers when its change is on disk and in force.
#[derive(Debug, Clone)]
pub struct FolderWriter {
    store: Arc<Store>,
    in_force: InForce,
}

/// A change of files, and what it does to each resource.
#[derive(Default)]
struct Plan {
    files: Changes,
    overrides: Option<Overrides>,
    written: Vec<Written>,
}

impl FolderWriter {
    pub(super) const fn new(store: Arc<Store>, in_force: InForce) -> Self {
        Self { store, in_force }
    }

    /// Plans a change on what is in force, makes it, and waits until it is in force itself.
    async fn write(
        &self,
        plan: impl FnOnce(&Store, &State) -> Result<Plan, WriteError> + Send + 'static,
    ) -> Result<Vec<Written>, WriteError> {
        let (store, turn) = (self.store.clone(), self.store.turn().await);
        let task = tokio::task::spawn_blocking(move || {
            let written = make(&store, &turn, plan(&store, &store.state())?)?;
            Ok((written, store.snapshots().borrow().generation))
        });
        let (written, generation) =
            task.await.map_err(|_| WriteError::Storage("the change could not be planned".into()))??;
        self.in_force
            .reached(generation)
            .await
            .map_err(|_| WriteError::Storage("Pelton is stopping".into()))?;
        Ok(written)
    }
}

impl ResourceWriter for FolderWriter {
    fn apply(&self, documents: String, namespace: String) -> BoxFuture<'_, Result<Vec<Written>, WriteError>> {
        Box::pin(self.write(move |store, state| plan_apply(store, state, &documents, &namespace)))
    }

    fn delete(&self, kind: Kind, name: NamespacedName) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let missing = WriteError::NotFound(kind, name.clone());
            let written = self.write(move |_, state| plan_delete(state, kind, &name)).await?;
            written.into_iter().next().ok_or(missing)
        })
    }

    fn set(
        &self,
        kind: Kind,
        name: NamespacedName,
        change: Override,
    ) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let missing = WriteError::NotFound(kind, name.clone());
            let written =
                self.write(move |store, state| plan_set(store, state, kind, &name, &change)).await?;
            written.into_iter().next().ok_or(missing)
        })
    }
}

/// Writes the files of a plan and reads the folder again.
fn make(store: &Store, turn: &Turn, plan: Plan) -> Result<Vec<Written>, WriteError> {
    let storage = |error: std::io::Error| WriteError::Storage(error.to_string());
    managed::write_all(store.dir(), plan.files.texts()).map_err(storage)?;
    if let Some(overrides) = plan.overrides {
        store.replace_overrides(turn, overrides).map_err(storage)?;
    }
    store.read(turn, true);
    Ok(plan.written)
}

fn plan_apply(store: &Store, state: &State, text: &str, namespace: &str) -> Result<Plan, WriteError> {
    let source = Arc::new(Source::read_in(REQUEST, text, namespace));
    refuse_wrong(&source)?;
    let mut plan = Plan::default();
    for document in source.documents() {
        let action = action(state, document)?;
        if action != WriteAction::Unchanged {
            let text = managed::text_of(document).map_err(WriteError::Storage)?;
            plan.files.put(state, document.kind(), document.name(), Some(&text))?;
        }
        plan.written.push(Written { kind: document.kind(), name: document.name().clone(), action });
    }
    refuse_what_contradicts(store, state, &plan)?;
    Ok(plan)
}

/// What can be told to be wrong of a request by itself.
fn refuse_wrong(source: &Arc<Source>) -> Result<(), WriteError> {
    let mut problems = duplicates(std::slice::from_ref(source));
    let long = source.documents().iter().filter(|document| document.name().name().len() > MANAGED_NAME_MAX);
    problems.extend(long.map(|document| Problem {
        severity: Severity::Error,
        code: "PEL-1315",
        place: document.place(),
        resource: Some((document.kind(), document.name().clone())),
        field: "metadata.name".to_owned(),
        message: format!(
            "names longer than {MANAGED_NAME_MAX} characters do not fit the name of a file; write a shorter one, or \
             the document into a file of your own"
        ),
    }));
    if source.documents().is_empty() && !source.has_errors() {
        problems.push(Problem {
            severity: Severity::Error,
            code: "PEL-1304",
            place: REQUEST.to_owned(),
            resource: None,
            field: String::new(),
            message: "holds no resource; send a YAML document with apiVersion, kind and metadata".to_owned(),
        });
    }
    if problems.is_empty() && !source.has_errors() {
        return Ok(());
    }
    Err(WriteError::Invalid(source.problems().iter().cloned().chain(problems).collect()))
}

/// What applying a document would do.
fn action(state: &State, document: &Document) -> Result<WriteAction, WriteError> {
    let (kind, name) = (document.kind(), document.name());
    match state.assembly.document(kind, name) {
        None => Ok(WriteAction::Created),
        Some(before) if before.same_value(document) => Ok(WriteAction::Unchanged),
        Some(before) if is_managed(before) => Ok(WriteAction::Configured),
        Some(before) => Err(WriteError::Foreign { kind, name: name.clone(), file: before.place() }),
    }
}

/// Tries the change on paper: a document that would not be in force is refused now.
fn refuse_what_contradicts(store: &Store, state: &State, plan: &Plan) -> Result<(), WriteError> {
    let scan = state.scan.with_changes(plan.files.texts());
    let after = assemble(&state.assembly, &scan.sources(), store.defaults(), &state.overrides);
    let concerned = |problem: &&Problem| {
        let resource = problem.resource.as_ref();
        resource.is_some_and(|(kind, name)| plan.written.iter().any(|w| (w.kind, &w.name) == (*kind, name)))
    };
    let known = &state.assembly.snapshot.problems;
    let problems: Vec<_> = after
        .snapshot
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error && !known.contains(problem))
        .filter(concerned)
        .cloned()
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(WriteError::Invalid(problems)) }
}

fn plan_delete(state: &State, kind: Kind, name: &NamespacedName) -> Result<Plan, WriteError> {
    let Some(document) = state.assembly.document(kind, name) else {
        return Err(WriteError::NotFound(kind, name.clone()));
    };
    if !is_managed(document) {
        return Err(WriteError::Foreign { kind, name: name.clone(), file: document.place() });
    }
    let mut overrides = state.overrides.clone();
    let overrides = overrides.forget(kind, name).then_some(overrides);
    let written = Written { kind, name: name.clone(), action: WriteAction::Deleted };
    let mut files = Changes::default();
    files.put(state, kind, name, None)?;
    Ok(Plan { files, overrides, written: vec![written] })
}

fn plan_set(
    store: &Store,
    state: &State,
    kind: Kind,
    name: &NamespacedName,
    change: &Override,
) -> Result<Plan, WriteError> {
    let Some(document) = state.assembly.document(kind, name) else {
        return Err(WriteError::NotFound(kind, name.clone()));
    };
    if !change.annotation.contains(".pelton.dev/") {
        return Err(WriteError::Invalid(vec![not_an_override(kind, name, change)]));
    }
    let mut without = state.overrides.clone();
    without.remove(kind, name, &change.annotation);
    let after_without = with_overrides(store, state, &without);
    let (overrides, after) = match &change.value {
        None => (without, after_without),
        Some(value) => {
            let base = document.said(&change.annotation);
            let mut with = without.clone();
            with.set(kind, name, &change.annotation, Setting { value: value.clone(), base });
            let after_with = with_overrides(store, state, &with);
            refuse_wrong_override(&after_with, kind, name, change)?;
            // An override that changes nothing is none.
            let same = Arc::ptr_eq(&after_with.snapshot, &after_without.snapshot)
                || same_resource(&after_with, &after_without, kind, name);
            if same { (without, after_without) } else { (with, after_with) }
        }
    };
    let unchanged = same_resource(&after, &state.assembly, kind, name);
    let action = if unchanged { WriteAction::Unchanged } else { WriteAction::Configured };
    let overrides = (overrides != state.overrides).then_some(overrides);
    let written = vec![Written { kind, name: name.clone(), action }];
    Ok(Plan { files: Changes::default(), overrides, written })
}

fn not_an_override(kind: Kind, name: &NamespacedName, change: &Override) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "PEL-1314",
        place: REQUEST.to_owned(),
        resource: Some((kind, name.clone())),
        field: change.annotation.clone(),
        message: "only annotations of Pelton (*.pelton.dev/*) can be set by command".to_owned(),
    }
}

fn with_overrides(store: &Store, state: &State, overrides: &Overrides) -> Assembly {
    assemble(&state.assembly, &state.scan.sources(), store.defaults(), overrides)
}

fn same_resource(a: &Assembly, b: &Assembly, kind: Kind, name: &NamespacedName) -> bool {
    let (a, b) = (&a.snapshot, &b.snapshot);
    match kind {
        Kind::Broker => a.brokers.get(name) == b.brokers.get(name),
        Kind::Trigger => a.triggers.get(name) == b.triggers.get(name),
        Kind::Service => a.services.get(name) == b.services.get(name),
        _ => true,
    }
}

fn refuse_wrong_override(
    after: &Assembly,
    kind: Kind,
    name: &NamespacedName,
    change: &Override,
) -> Result<(), WriteError> {
    let field = annotation_field(&change.annotation);
    let own = |problem: &&Problem| {
        problem.resource.as_ref().is_some_and(|(k, n)| (*k, n) == (kind, name))
            && problem.field == field
            && problem.severity == Severity::Error
    };
    let problems: Vec<_> = after.snapshot.problems.iter().filter(own).cloned().collect();
    if problems.is_empty() { Ok(()) } else { Err(WriteError::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use pelton_resources::Defaults;
    use tokio::time::timeout;

    use super::*;
    use crate::folder::{FolderConfig, FolderStore};

    #[tokio::test]
    async fn nobody_else_writes_before_a_write_is_done_whose_client_has_gone_away() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, data_dir) = (folder.path().to_owned(), folder.path().join("data"));
        let store = FolderStore::open(FolderConfig { dir, data_dir, defaults: Defaults::default() }).unwrap();
        let writer = store.handle().writer(InForce::at_once());
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (let_go, may_go) = mpsc::channel::<()>();
        let request = tokio::spawn({
            let writer = writer.clone();
            async move {
                let plan = move |_: &Store, _: &State| {
                    begun.send(()).unwrap();
                    may_go.recv().unwrap();
                    Ok(Plan::default())
                };
                writer.write(plan).await
            }
        });
        has_begun.await.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        let short = Duration::from_millis(50);
        assert!(timeout(short, writer.write(|_, _| Ok(Plan::default()))).await.is_err());
        // Dropping stale overrides writes too.
        assert!(timeout(short, store.read(true)).await.is_err());
        let_go.send(()).unwrap();
        assert_eq!(writer.write(|_, _| Ok(Plan::default())).await, Ok(Vec::new()));
    }
}
