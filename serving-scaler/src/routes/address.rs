//! The addresses of Services: hosts and paths.
//!
//! | form | meaning |
//! |---|---|
//! | `NAME.NAMESPACE.localhost`, `NAME.NAMESPACE.svc.cluster.local`, `NAME.NAMESPACE.svc` | the Service |
//! | `TAG-NAME.NAMESPACE` and one of these ends | the revision of the Service that has the tag |
//! | `/-/NAMESPACE/NAME/…` | the Service, for clients that cannot choose their host |
//!
//! A host may have a port and a last dot, and capitals are as small letters.

use std::borrow::Cow;

use pelton_resources::NamespacedName;

/// The ends of hosts of Services: resolvers know the first, Kubernetes the others.
const HOST_ENDS: [&str; 3] = [".localhost", ".svc.cluster.local", ".svc"];
/// What paths of Services begin with; `-` is no namespace, so that nothing else can.
const PATH_START: &str = "/-/";

/// What a host means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The Service.
    pub service: NamespacedName,
    /// The tag of the revision, if one is named.
    pub tag: Option<String>,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAddress<'a> {
    /// The Service.
    pub service: NamespacedName,
    /// Path and query below the Service, starting with `/`.
    pub rest: Cow<'a, str>,
}

/// Reads the `Host` of a request. `exists` tells whether there is a Service, and whether it has a tag.
///
/// `a-b` may be a Service or the tag `a` of the Service `b`: a Service of the whole name counts first, then the shortest tag.
#[must_use]
pub fn of_host(host: &str, exists: impl Fn(&NamespacedName, Option<&str>) -> bool) -> Option<Address> {
    let host = without_port(host);
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let name = HOST_ENDS.iter().find_map(|end| host.strip_suffix(end))?;
    let (label, namespace) = name.split_once('.')?;
    if label.is_empty() || namespace.is_empty() || namespace.contains(['.', '/']) || label.contains('/') {
        return None;
    }
    let service = NamespacedName::new(namespace, label);
    if exists(&service, None) {
        return Some(Address { service, tag: None });
    }
    label.match_indices('-').find_map(|(hyphen, _)| {
        let (tag, name) = (&label[..hyphen], &label[hyphen + 1..]);
        if tag.is_empty() || name.is_empty() {
            return None;
        }
        let service = NamespacedName::new(namespace, name);
        exists(&service, Some(tag)).then(|| Address { service, tag: Some(tag.to_owned()) })
    })
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Reads the path and query of a request.
#[must_use]
pub fn of_path(path: &str) -> Option<PathAddress<'_>> {
    let (namespace, below) = path.strip_prefix(PATH_START)?.split_once('/')?;
    let end = below.find(['/', '?']).unwrap_or(below.len());
    let (name, rest) = below.split_at(end);
    if namespace.is_empty() || namespace.contains('?') || name.is_empty() {
        return None;
    }
    let rest = if rest.starts_with('/') { Cow::Borrowed(rest) } else { Cow::Owned(format!("/{rest}")) };
    Some(PathAddress { service: NamespacedName::new(namespace, name), rest })
}

/// Where the gateway listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entrance {
    /// The port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Entrance {
    /// Without TLS.
    #[must_use]
    pub const fn plain(port: u16) -> Self {
        Self { port, tls: false }
    }
}

/// The forms in which a Service, or its revision with a tag, is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// On this machine, through the gateway.
    pub local: String,
    /// As in a cluster; triggers write it as a `uri`.
    pub cluster: String,
    /// Through the gateway by any of its hosts; there is none for a tag.
    pub path: Option<String>,
}

impl Urls {
    /// Those of `service` behind a gateway.
    #[must_use]
    pub fn of(service: &NamespacedName, tag: Option<&str>, gateway: Entrance) -> Self {
        let (namespace, name) = (service.namespace(), service.name());
        let label = tag.map_or_else(|| name.to_owned(), |tag| format!("{tag}-{name}"));
        let (scheme, usual) = if gateway.tls { ("https", 443) } else { ("http", 80) };
        let port = if gateway.port == usual { String::new() } else { format!(":{}", gateway.port) };
        Self {
            local: format!("{scheme}://{label}.{namespace}{}{port}", HOST_ENDS[0]),
            cluster: format!("http://{label}.{namespace}{}", HOST_ENDS[1]),
            path: tag.is_none().then(|| format!("{PATH_START}{namespace}/{name}/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Services with their tags.
    const SERVICES: [(&str, &[&str]); 5] = [
        ("shop/hello", &["canary", "a-b"]),
        ("shop/a-b", &[]),
        ("shop/b", &["a", "x"]),
        ("shop/c", &["a-b", "b"]),
        ("shop/b-c", &["a"]),
    ];

    fn exists(service: &NamespacedName, tag: Option<&str>) -> bool {
        let known = SERVICES.iter().find(|(name, _)| *name == service.as_str());
        known.is_some_and(|(_, tags)| tag.is_none_or(|tag| tags.contains(&tag)))
    }

    #[test]
    fn hosts_are_read() {
        let rows = [
            ("hello.shop.localhost", Some(("shop/hello", None))),
            ("hello.shop.localhost:8081", Some(("shop/hello", None))),
            ("hello.shop.localhost.", Some(("shop/hello", None))),
            ("HELLO.Shop.LocalHost:80", Some(("shop/hello", None))),
            ("hello.shop.svc.cluster.local", Some(("shop/hello", None))),
            ("hello.shop.svc.cluster.local.:8081", Some(("shop/hello", None))),
            ("hello.shop.svc", Some(("shop/hello", None))),
            ("canary-hello.shop.localhost:8081", Some(("shop/hello", Some("canary")))),
            ("Canary-Hello.shop.svc.cluster.local", Some(("shop/hello", Some("canary")))),
            ("a-b-hello.shop.localhost", Some(("shop/hello", Some("a-b")))),
            // Tag `a` of `b`, too: the Service of the whole name counts.
            ("a-b.shop.localhost", Some(("shop/a-b", None))),
            ("x-b.shop.localhost", Some(("shop/b", Some("x")))),
            // Tag `a` of `b-c`, or `a-b` of `c`.
            ("a-b-c.shop.localhost", Some(("shop/b-c", Some("a")))),
            ("b-c.shop.localhost", Some(("shop/b-c", None))),
            ("other-hello.shop.localhost", None),
            ("hello.other.localhost", None),
            ("hello.shop.example.com", None),
            ("hello.shop", None),
            ("hello.localhost", None),
            ("deep.hello.shop.localhost", None),
            ("localhost:8081", None),
            (".shop.localhost", None),
            ("hello..localhost", None),
            ("-hello.shop.localhost", None),
            ("canary-.shop.localhost", None),
            ("hello/shop.shop.localhost", None),
            ("hello.shop/x.localhost", None),
            ("[::1]:8081", None),
            ("", None),
        ];
        for (host, expected) in rows {
            let found = of_host(host, exists);
            let found = found.as_ref().map(|found| (found.service.as_str(), found.tag.as_deref()));
            assert_eq!(found, expected, "{host}");
        }
    }

    #[test]
    fn paths_are_read() {
        let rows = [
            ("/-/shop/hello/", Some(("shop/hello", "/"))),
            ("/-/shop/hello", Some(("shop/hello", "/"))),
            ("/-/shop/hello/orders/7?x=/a", Some(("shop/hello", "/orders/7?x=/a"))),
            ("/-/shop/hello?x=1", Some(("shop/hello", "/?x=1"))),
            ("/-/shop/hello//", Some(("shop/hello", "//"))),
            ("/-/shop/", None),
            ("/-/shop", None),
            ("/-//hello/", None),
            ("/-/shop//x", None),
            ("/-/shop?x/hello/", None),
            ("/shop/hello/", None),
            ("-/shop/hello/", None),
            ("", None),
        ];
        for (path, expected) in rows {
            let found = of_path(path);
            let found = found.as_ref().map(|found| (found.service.as_str(), found.rest.as_ref()));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn urls_lead_back() {
        let service = NamespacedName::new("shop", "hello");
        let urls = Urls::of(&service, None, Entrance::plain(8081));
        assert_eq!(urls.local, "http://hello.shop.localhost:8081");
        assert_eq!(urls.cluster, "http://hello.shop.svc.cluster.local");
        assert_eq!(urls.path.as_deref(), Some("/-/shop/hello/"));
        assert_eq!(of_path(urls.path.as_deref().unwrap()).unwrap().service, service);
        let urls = Urls::of(&service, Some("canary"), Entrance::plain(80));
        assert_eq!((urls.local.as_str(), urls.path), ("http://canary-hello.shop.localhost", None));
        for url in [&urls.local, &urls.cluster] {
            let found = of_host(url.strip_prefix("http://").unwrap(), exists);
            assert_eq!(found, Some(Address { service: service.clone(), tag: Some("canary".into()) }));
        }
    }

    #[test]
    fn urls_tell_whether_the_gateway_speaks_tls() {
        let local =
            |port| Urls::of(&NamespacedName::new("shop", "hello"), None, Entrance { port, tls: true }).local;
        assert_eq!(local(8443), "https://hello.shop.localhost:8443");
        assert_eq!(local(443), "https://hello.shop.localhost");
        assert_eq!(local(80), "https://hello.shop.localhost:80");
    }

    proptest::proptest! {
        #[test]
        fn nothing_breaks_it(text in "[-a-z./:?A-Zß]{0,40}") {
            let _ = of_path(&text);
            if let Some(found) = of_host(&text, |_, _| true) {
                proptest::prop_assert!(NamespacedName::parse(found.service.as_str()).is_some());
            }
        }
    }
}
