//! Which Service a host and a path name.

use pelton_resources::NamespacedName;

/// What stands behind `NAME.NAMESPACE` in a host.
const SUFFIXES: [&str; 4] = [".localhost", ".svc.cluster.local", ".svc.cluster", ".svc"];
/// What stands before `NAMESPACE/NAME/` in a path.
const PATH_PREFIX: &str = "/-/";
/// The header that names a tag (Knative Serving, tag header based routing).
pub(super) const TAG_HEADER: &str = "knative-serving-tag";

/// A Service as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) service: NamespacedName,
    /// A tag that the host names.
    pub(super) tag: Option<String>,
    /// Path and query for the replica, where they are others than those of the request.
    pub(super) path: Option<String>,
}

impl Address {
    /// The Service of a request; `exists` tells whether there is one of that name. A host `a-b.default.localhost` is that of
    /// Service `a-b` if there is one, else that of tag `a` of Service `b`.
    pub(super) fn of(host: &str, path: &str, exists: impl Fn(&NamespacedName) -> bool) -> Option<Self> {
        if let Some(found) = Self::of_path(path) {
            return Some(found);
        }
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let end = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix))?;
        let (name, namespace) = end.split_once('.').filter(|(_, namespace)| !namespace.contains('.'))?;
        let service = NamespacedName::new(namespace, name);
        if exists(&service) {
            return Some(Self { service, tag: None, path: None });
        }
        // A tag may have a hyphen, and so may a Service.
        let splits = name.match_indices('-').map(|(at, _)| (&name[..at], &name[at + 1..]));
        let tagged = splits
            .map(|(tag, name)| (tag, NamespacedName::new(namespace, name)))
            .find(|(_, service)| exists(service));
        match tagged {
            Some((tag, service)) => Some(Self { service, tag: Some(tag.to_owned()), path: None }),
            None => Some(Self { service, tag: None, path: None }),
        }
    }

    fn of_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(PATH_PREFIX)?;
        let (namespace, rest) = rest.split_once('/')?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        if namespace.is_empty() || name.is_empty() {
            return None;
        }
        let path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        Some(Self { service: NamespacedName::new(namespace, name), tag: None, path: Some(path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(host: &str, path: &str) -> Option<(String, Option<String>, Option<String>)> {
        let exists = |name: &NamespacedName| ["shop/model", "shop/blue-model"].contains(&name.to_string().as_str());
        let address = Address::of(host, path, exists)?;
        Some((address.service.to_string(), address.tag, address.path))
    }

    fn service(name: &str) -> Option<(String, Option<String>, Option<String>)> {
        Some((name.to_owned(), None, None))
    }

    #[test]
    fn hosts_name_services_and_tags() {
        for host in [
            "model.shop.localhost",
            "Model.Shop.localhost:8081",
            "model.shop.svc.cluster.local",
            "model.shop.svc.cluster.local.:80",
            "model.shop.svc",
        ] {
            assert_eq!(found(host, "/x"), service("shop/model"), "{host}");
        }
        assert_eq!(found("blue-model.shop.localhost", "/"), service("shop/blue-model"), "the whole name first");
        let tagged = |host| found(host, "/").map(|(service, tag, _)| (service, tag.unwrap_or_default()));
        assert_eq!(tagged("canary-model.shop.localhost"), Some(("shop/model".into(), "canary".into())));
        assert_eq!(tagged("v-2-model.shop.localhost"), Some(("shop/model".into(), "v-2".into())));
        assert_eq!(tagged("old-blue-model.shop.localhost"), Some(("shop/blue-model".into(), "old".into())));
        assert_eq!(found("other.shop.localhost", "/"), service("shop/other"), "told to be missing by its name");
        for host in ["localhost", "model.localhost", "a.b.c.localhost", "model.shop.example.com", ""] {
            assert_eq!(found(host, "/"), None, "{host}");
        }
    }

    #[test]
    fn paths_name_services_and_what_follows_is_theirs() {
        let path = |path| found("127.0.0.1:8081", path).map(|(service, _, path)| (service, path.unwrap()));
        assert_eq!(path("/-/shop/model/v1/infer?deep=1"), Some(("shop/model".into(), "/v1/infer?deep=1".into())));
        assert_eq!(path("/-/shop/model"), Some(("shop/model".into(), "/".into())));
        assert_eq!(path("/-/shop/model?a=/b"), Some(("shop/model".into(), "/?a=/b".into())));
        for nothing in ["/", "/-/", "/-/shop", "/-//model/", "/-/shop/?x", "/shop/model"] {
            assert_eq!(path(nothing), None, "{nothing}");
        }
    }
}
