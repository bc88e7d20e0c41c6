//! Changing resources by API or command.

use std::sync::Arc;

use futures_core::future::BoxFuture;
use pelton_resources::contracts::{Override, ResourceWriter, WriteAction, WriteError, Written};
use pelton_resources::{
    Assembly, Document, Kind, NamespacedName, Overrides, Problem, Setting, Severity, Source, assemble,
};

use super::managed::{self, Mode};
use super::overrides;
use super::store::{Basis, Store, is_managed};
use crate::limits;
use crate::topics::InForce;

/// Writes resources into the folder; a call answers when its change is on disk and in force.
#[derive(Debug, Clone)]
pub struct FolderWriter {
    store: Arc<Store>,
    in_force: InForce,
}

/// A change of files, and what it does to each resource.
struct Plan {
    files: Vec<(String, Option<String>, Mode)>,
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
        plan: impl FnOnce(&Store, &Basis) -> Result<Plan, WriteError> + Send + 'static,
    ) -> Result<Vec<Written>, WriteError> {
        let _one_at_a_time = self.store.writing.lock().await;
        let store = self.store.clone();
        let task = tokio::task::spawn_blocking(move || {
            let plan = plan(&store, &store.basis())?;
            make(&store, plan)
        });
        let written =
            task.await.map_err(|_| WriteError::Storage("the change could not be planned".into()))??;
        let generation = self.store.snapshots().borrow().generation;
        self.in_force
            .reached(generation)
            .await
            .map_err(|_| WriteError::Storage("Pelton is stopping".into()))?;
        Ok(written)
    }
}

impl ResourceWriter for FolderWriter {
    fn apply(&self, documents: String) -> BoxFuture<'_, Result<Vec<Written>, WriteError>> {
        Box::pin(self.write(move |store, basis| plan_apply(store, basis, &documents)))
    }

    fn delete(&self, kind: Kind, name: NamespacedName) -> BoxFuture<'_, Result<Written, WriteError>> {
        Box::pin(async move {
            let missing = WriteError::NotFound(kind, name.clone());
            let written = self.write(move |_, basis| plan_delete(basis, kind, &name)).await?;
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
                self.write(move |store, basis| plan_set(store, basis, kind, &name, &change)).await?;
            written.into_iter().next().ok_or(missing)
        })
    }
}

/// Writes the files of a plan and reads the folder again.
fn make(store: &Store, plan: Plan) -> Result<Vec<Written>, WriteError> {
    let storage = |error: std::io::Error| WriteError::Storage(error.to_string());
    managed::write_all(store.dir(), &plan.files).map_err(storage)?;
    if let Some(overrides) = plan.overrides {
        overrides::save(store.dir(), &overrides).map_err(storage)?;
        store.replace_overrides(overrides);
    }
    store.read(true);
    Ok(plan.written)
}

fn plan_apply(store: &Store, basis: &Basis, text: &str) -> Result<Plan, WriteError> {
    let source = Source::read("request", text);
    if source.has_errors() || source.documents().is_empty() {
        let nothing = || Problem {
            severity: Severity::Error,
            code: "PEL-1304",
            place: "request".to_owned(),
            resource: None,
            field: String::new(),
            message: "holds no resource; send a YAML document with apiVersion, kind and metadata".to_owned(),
        };
        let mut problems = source.problems().to_vec();
        if !source.has_errors() {
            problems.push(nothing());
        }
        return Err(WriteError::Invalid(problems));
    }
    let mut plan = Plan { files: Vec::new(), overrides: None, written: Vec::new() };
    for document in source.documents() {
        let action = action(basis, document)?;
        if action != WriteAction::Unchanged {
            if document.name().name().len() > limits::MANAGED_NAME_MAX {
                let message =
                    format!("names longer than {} characters do not fit a file", limits::MANAGED_NAME_MAX);
                return Err(WriteError::Storage(message));
            }
            let text = managed::text_of(document).map_err(WriteError::Storage)?;
            let file = managed::file_of(document.kind(), document.name());
            plan.files.push((file, Some(text), Mode::of(document.kind())));
        }
        plan.written.push(Written { kind: document.kind(), name: document.name().clone(), action });
    }
    refuse_what_contradicts(store, basis, &plan)?;
    Ok(plan)
}

/// What applying a document would do.
fn action(basis: &Basis, document: &Document) -> Result<WriteAction, WriteError> {
    let (kind, name) = (document.kind(), document.name());
    match basis.assembly.document(kind, name) {
        None => Ok(WriteAction::Created),
        Some(before) if before.same_value(document) => Ok(WriteAction::Unchanged),
        Some(before) if is_managed(before) => Ok(WriteAction::Configured),
        Some(before) => Err(WriteError::Foreign { kind, name: name.clone(), file: before.place() }),
    }
}

/// Tries the change on paper: a document that would not be in force is refused now.
fn refuse_what_contradicts(store: &Store, basis: &Basis, plan: &Plan) -> Result<(), WriteError> {
    let changes = plan.files.iter().map(|(file, text, _)| (file.as_str(), text.as_deref()));
    let scan = basis.scan.with_changes(changes);
    let after = assemble(&basis.assembly, &scan.sources(), store.defaults(), &basis.overrides);
    let concerned = |problem: &&Problem| {
        let resource = problem.resource.as_ref();
        resource.is_some_and(|(kind, name)| plan.written.iter().any(|w| (w.kind, &w.name) == (*kind, name)))
    };
    let known = &basis.assembly.snapshot.problems;
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

fn plan_delete(basis: &Basis, kind: Kind, name: &NamespacedName) -> Result<Plan, WriteError> {
    let Some(document) = basis.assembly.document(kind, name) else {
        return Err(WriteError::NotFound(kind, name.clone()));
    };
    if !is_managed(document) {
        return Err(WriteError::Foreign { kind, name: name.clone(), file: document.place() });
    }
    let mut overrides = basis.overrides.clone();
    let overrides = overrides.forget(kind, name).then_some(overrides);
    let written = Written { kind, name: name.clone(), action: WriteAction::Deleted };
    let file = (document.file().to_owned(), None, Mode::of(kind));
    Ok(Plan { files: vec![file], overrides, written: vec![written] })
}

fn plan_set(
    store: &Store,
    basis: &Basis,
    kind: Kind,
    name: &NamespacedName,
    change: &Override,
) -> Result<Plan, WriteError> {
    let Some(document) = basis.assembly.document(kind, name) else {
        return Err(WriteError::NotFound(kind, name.clone()));
    };
    if !change.annotation.contains(".pelton.dev/") {
        return Err(WriteError::Invalid(vec![not_an_override(kind, name, change)]));
    }
    let mut without = basis.overrides.clone();
    without.remove(kind, name, &change.annotation);
    let after_without = with_overrides(store, basis, &without);
    let (overrides, after) = match &change.value {
        None => (without, after_without),
        Some(value) => {
            let base = document.annotation(&change.annotation);
            let mut with = without.clone();
            with.set(kind, name, &change.annotation, Setting { value: value.clone(), base });
            let after_with = with_overrides(store, basis, &with);
            refuse_wrong_override(&after_with, kind, name, change)?;
            // An override that changes nothing is none.
            let same = Arc::ptr_eq(&after_with.snapshot, &after_without.snapshot)
                || same_resource(&after_with, &after_without, kind, name);
            if same { (without, after_without) } else { (with, after_with) }
        }
    };
    let unchanged = same_resource(&after, &basis.assembly, kind, name);
    let action = if unchanged { WriteAction::Unchanged } else { WriteAction::Configured };
    let overrides = (overrides != basis.overrides).then_some(overrides);
    let written = vec![Written { kind, name: name.clone(), action }];
    Ok(Plan { files: Vec::new(), overrides, written })
}

fn not_an_override(kind: Kind, name: &NamespacedName, change: &Override) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "PEL-1314",
        place: "request".to_owned(),
        resource: Some((kind, name.clone())),
        field: change.annotation.clone(),
        message: "only annotations of Pelton (*.pelton.dev/*) can be set by command".to_owned(),
    }
}

fn with_overrides(store: &Store, basis: &Basis, overrides: &Overrides) -> Assembly {
    assemble(&basis.assembly, &basis.scan.sources(), store.defaults(), overrides)
}

fn same_resource(a: &Assembly, b: &Assembly, kind: Kind, name: &NamespacedName) -> bool {
    let (a, b) = (&a.snapshot, &b.snapshot);
    match kind {
        Kind::Broker => a.brokers.get(name) == b.brokers.get(name),
        Kind::Trigger => a.triggers.get(name) == b.triggers.get(name),
        _ => true,
    }
}

fn refuse_wrong_override(
    after: &Assembly,
    kind: Kind,
    name: &NamespacedName,
    change: &Override,
) -> Result<(), WriteError> {
    let own = |problem: &&Problem| {
        problem.resource.as_ref().is_some_and(|(k, n)| (*k, n) == (kind, name))
            && problem.field.contains(&change.annotation)
            && problem.severity == Severity::Error
    };
    let problems: Vec<_> = after.snapshot.problems.iter().filter(own).cloned().collect();
    if problems.is_empty() { Ok(()) } else { Err(WriteError::Invalid(problems)) }
}
