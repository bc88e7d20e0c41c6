//! How people name resources.

use pelton_resources::{Kind, NamespacedName};

use crate::failure::Failure;

/// A kind: any case, singular or plural.
pub(crate) fn kind(text: &str) -> Result<Kind, Failure> {
    Kind::parse(text).ok_or_else(|| {
        Failure::usage(Some("PEL-1708"), format!("there is no kind `{text}`; there are broker and trigger"))
    })
}

/// `NAME` in `namespace`, or `NAMESPACE/NAME`.
pub(crate) fn name(text: &str, namespace: &str) -> Result<NamespacedName, Failure> {
    let name = if text.contains('/') {
        NamespacedName::parse(text)
    } else {
        (!text.is_empty()).then(|| NamespacedName::new(namespace, text))
    };
    name.ok_or_else(|| {
        Failure::usage(Some("PEL-1708"), format!("`{text}` is no name; write NAME or NAMESPACE/NAME"))
    })
}

/// The path of a resource in the admin API.
pub(crate) fn path(kind: Kind, name: &NamespacedName) -> String {
    use crate::api::admin::part;
    format!("/api/v1/{}/{}/{}", kind.plural(), part(name.namespace()), part(name.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_namespace() {
        assert_eq!(name("a", "n").unwrap().as_str(), "n/a");
        assert_eq!(name("m/a", "n").unwrap().as_str(), "m/a");
        for wrong in ["", "/", "a/", "/a", "a/b/c"] {
            assert!(name(wrong, "n").is_err(), "{wrong}");
        }
        assert_eq!(path(kind("Triggers").unwrap(), &name("a", "n").unwrap()), "/api/v1/triggers/n/a");
        assert!(kind("pod").is_err());
    }
}
