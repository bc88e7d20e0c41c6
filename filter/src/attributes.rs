//! An event's attributes, walked once and then looked up many times.

use std::fmt;

use pelton_event::{Attribute, Event, Kind, SpecVersion, Value};
use smallvec::SmallVec;

/// The name of an attribute in a compiled filter. The three that lie in front of every event need no search.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Name {
    Id,
    Source,
    Type,
    SpecVersion,
    Other(Box<str>),
}

impl Name {
    pub(crate) fn new(name: &str) -> Self {
        match name {
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "specversion" => Self::SpecVersion,
            other => Self::Other(other.into()),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::SpecVersion => "specversion",
            Self::Other(name) => name,
        }
    }

    /// Whether every event has it.
    pub(crate) const fn is_required(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The list that [`Attributes`] looks into.
pub(crate) type AttributeList<'a> = SmallVec<[Attribute<'a>; 16]>;

/// The attributes of one event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'l, 'a> {
    version: SpecVersion,
    list: &'l [Attribute<'a>],
}

impl<'l, 'a> Attributes<'l, 'a> {
    /// Walks `event` into `list`, which must be empty, and looks into that.
    pub(crate) fn of(event: &'a Event, list: &'l mut AttributeList<'a>) -> Self {
        list.extend(event.attributes());
        Self { version: event.spec_version(), list }
    }

    pub(crate) fn get(&self, name: &Name) -> Option<Value<'a>> {
        let attribute = match name {
            Name::Id => self.list.first(),
            Name::Source => self.list.get(1),
            Name::Type => self.list.get(2),
            Name::SpecVersion => return Some(self.spec_version()),
            Name::Other(name) => self.list.iter().skip(3).find(|attribute| attribute.name == &**name),
        };
        attribute.map(|attribute| attribute.value)
    }

    /// Every attribute, `specversion` included.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Attribute<'a>> + 'l {
        let version = Attribute { name: "specversion", value: self.spec_version() };
        self.list.iter().copied().chain(std::iter::once(version))
    }

    const fn spec_version(&self) -> Value<'a> {
        Value { text: self.version.as_str(), kind: Kind::String }
    }
}
