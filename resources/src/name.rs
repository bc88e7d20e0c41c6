//! Names of resources.

use std::fmt;
use std::sync::Arc;

/// The namespace of what names none.
pub const NAMESPACE_DEFAULT: &str = "default";

/// The kinds of resources Pelton serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `eventing.knative.dev/v1` Broker.
    Broker,
    /// `eventing.knative.dev/v1` Trigger.
    Trigger,
    /// `serving.knative.dev/v1` Service.
    Service,
    /// `v1` ConfigMap: settings that brokers refer to.
    ConfigMap,
    /// `v1` Secret: credentials that brokers refer to.
    Secret,
}

impl Kind {
    /// The kinds that can be listed, in order; ConfigMaps and Secrets only serve them.
    pub const ALL: [Self; 3] = [Self::Broker, Self::Trigger, Self::Service];
    pub(crate) const EVERY: [Self; 5] =
        [Self::Broker, Self::Trigger, Self::Service, Self::ConfigMap, Self::Secret];

    /// The kind as written in YAML.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Trigger => "Trigger",
            Self::Service => "Service",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// The plural as written in URLs and commands.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Broker => "brokers",
            Self::Trigger => "triggers",
            Self::Service => "services",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }

    /// The `apiVersion` as written in YAML.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Broker | Self::Trigger => "eventing.knative.dev/v1",
            Self::Service => "serving.knative.dev/v1",
            Self::ConfigMap | Self::Secret => "v1",
        }
    }

    /// Reads a kind as people write it: any case, singular or plural.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::EVERY
            .into_iter()
            .find(|kind| text.eq_ignore_ascii_case(kind.as_str()) || text.eq_ignore_ascii_case(kind.plural()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name of a resource; its identity. Cheap to clone. Shown as `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    text: Arc<str>,
    slash: usize,
}

impl NamespacedName {
    /// The name `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { text: format!("{namespace}/{name}").into(), slash: namespace.len() }
    }

    /// Reads `namespace/name`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then(|| Self::new(namespace, name))
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.text[..self.slash]
    }

    /// The name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[self.slash + 1..]
    }

    /// Both, as `namespace/name`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Both, as `namespace/name`, without a copy.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        self.text.clone()
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
