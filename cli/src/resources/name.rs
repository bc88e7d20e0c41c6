//! How people name resources.

use pelton_resources::{Kind, NamespacedName};

use crate::failure::Failure;

/// What can be listed and shown: resources, and what runs of Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    Resource(Kind),
    Revision,
    Route,
}

impl Thing {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "revision" | "revisions" => Some(Self::Revision),
            "route" | "routes" => Some(Self::Route),
            _ => Kind::parse(text).map(Self::Resource),
        }
    }

    /// Its name in paths.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Resource(kind) => kind.plural(),
            Self::Revision => "revisions",
            Self::Route => "routes",
        }
    }

    /// The path of one of them in the admin API.
    pub(crate) fn path(self, name: &NamespacedName) -> String {
        use crate::api::admin::part;
        format!("/api/v1/{}/{}/{}", self.plural(), part(name.namespace()), part(name.name()))
    }
}

/// What can be listed and shown: any case, singular or plural.
pub(crate) fn thing(text: &str) -> Result<Thing, Failure> {
    Thing::parse(text).ok_or_else(|| {
        let message =
            format!("there is no kind `{text}`; there are broker, trigger, service, revision and route");
        Failure::usage(Some("PEL-1708"), message)
    })
}

/// One of them, named in one argument or two as a resource is.
pub(crate) fn named_thing(arguments: &[String], namespace: &str) -> Result<(Thing, NamespacedName), Failure> {
    named(arguments, None, namespace, thing, Thing::parse)
}

/// A kind: any case, singular or plural.
pub(crate) fn kind(text: &str) -> Result<Kind, Failure> {
    Kind::parse(text).ok_or_else(|| {
        let message = format!("there is no kind `{text}`; there are broker, trigger and service");
        Failure::usage(Some("PEL-1708"), message)
    })
}

/// A resource named in one argument or two: `KIND NAME`, `KIND/NAME`, or `NAME` alone where it can only be of one kind.
pub(crate) fn resource(
    arguments: &[String],
    only: Option<Kind>,
    namespace: &str,
) -> Result<(Kind, NamespacedName), Failure> {
    named(arguments, only, namespace, kind, Kind::parse)
}

fn named<K>(
    arguments: &[String],
    only: Option<K>,
    namespace: &str,
    read: impl Fn(&str) -> Result<K, Failure>,
    parse: impl Fn(&str) -> Option<K>,
) -> Result<(K, NamespacedName), Failure> {
    let (given, text) = match arguments {
        [first, text] => (Some(read(first)?), text.as_str()),
        rest => {
            let text = rest.first().map_or("", String::as_str);
            let split = text.split_once('/').and_then(|(kind, name)| Some((parse(kind)?, name)));
            split.map_or((None, text), |(kind, name)| (Some(kind), name))
        }
    };
    let found = given.or(only).ok_or_else(|| {
        let message = format!("`{text}` is a name without its kind; write it like `trigger {text}`");
        Failure::usage(Some("PEL-1708"), message)
    })?;
    Ok((found, name(text, namespace)?))
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
    Thing::Resource(kind).path(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_before_the_name_or_in_it() {
        let read = |arguments: &[&str], only| {
            let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
            resource(&arguments, only, "n").map(|(kind, name)| format!("{kind} {name}"))
        };
        for (arguments, only, expected) in [
            (&["trigger", "a"][..], None, "Trigger n/a"),
            (&["triggers", "m/a"], None, "Trigger m/a"),
            (&["services", "m/a"], None, "Service m/a"),
            (&["broker/a"], None, "Broker n/a"),
            (&["trigger/m/a"], None, "Trigger m/a"),
            (&["a"], Some(Kind::Trigger), "Trigger n/a"),
            (&["m/a"], Some(Kind::Trigger), "Trigger m/a"),
            (&["broker/a"], Some(Kind::Trigger), "Broker n/a"),
        ] {
            assert_eq!(read(arguments, only).unwrap(), expected);
        }
        for wrong in [&["a"][..], &["m/a"], &["pod", "a"], &["trigger/"]] {
            assert!(read(wrong, None).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_runs_is_named_like_a_resource() {
        let read = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
            named_thing(&arguments, "n").map(|(thing, name)| thing.path(&name))
        };
        for (arguments, expected) in [
            (&["revision", "a"][..], "/api/v1/revisions/n/a"),
            (&["Revisions/m/a"], "/api/v1/revisions/m/a"),
            (&["route", "m/a"], "/api/v1/routes/m/a"),
            (&["service", "a"], "/api/v1/services/n/a"),
        ] {
            assert_eq!(read(arguments).unwrap(), expected);
        }
        assert!(read(&["pod", "a"]).unwrap_err().to_string().contains("revision and route"));
    }

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
