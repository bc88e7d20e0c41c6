//! Settings as people write them: durations as `"200ms"`, sizes as `"10GiB"`, secrets that never show.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Units of a duration with their milliseconds, largest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of a size with their bytes: the binary ones first, largest first, as they are written back.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration in whole milliseconds, written as `"200ms"`, `"1h30m"` or `"7d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(u64);

impl HumanDuration {
    /// `ms` milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// `s` seconds.
    #[must_use]
    pub const fn from_secs(s: u64) -> Self {
        Self(s * 1_000)
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// In milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a duration; write a number and a unit, like \"200ms\", \"5s\", \"10m\", \"1h30m\" or \"7d\""
            )
        };
        let mut rest = text;
        let mut total = 0_u64;
        let mut last_unit = u64::MAX;
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(wrong)?;
            let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let unit = &tail[..unit_end];
            let (_, ms) = DURATION_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            // Largest unit first and each once: "30m1h" or "1s1s" is more likely a slip than a wish.
            if ms >= last_unit {
                return Err(wrong());
            }
            last_unit = ms;
            total = number.checked_mul(ms).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
            rest = &tail[unit_end..];
        }
        if last_unit == u64::MAX { Err(wrong()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, ms) in DURATION_UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// A number of bytes, written as `"512KiB"`, `"10GiB"` or `"1500MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// `bytes` bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `n` times 1024² bytes.
    #[must_use]
    pub const fn from_mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` times 1024³ bytes.
    #[must_use]
    pub const fn from_gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// `percent` hundredths of it, rounded down. Multiplied first: half of 8 MiB is 4 MiB and not a little less.
    #[must_use]
    pub fn percent(self, percent: u8) -> Self {
        let bytes = u128::from(self.0) * u128::from(percent) / 100;
        Self(u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// In bytes, as a length in memory; a size beyond the address space reads as its end.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not a size; write a whole number and a unit, like \"512KiB\", \"64MiB\" or \"10GiB\""
            )
        };
        let (number, unit) = split_number(text).ok_or_else(wrong)?;
        let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit.trim()).ok_or_else(wrong)?;
        number.checked_mul(bytes).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, bytes): &(&str, u64)| self.0 >= *bytes && self.0.is_multiple_of(*bytes);
        let (unit, bytes) = SIZE_UNITS.into_iter().find(fits).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// The ports from `first` to `last`.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// The ports.
    #[must_use]
    pub const fn ports(self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port > 0);
        let ends = text.split_once('-').and_then(|(first, last)| Some((port(first)?, port(last)?)));
        match ends {
            Some((first, last)) if first <= last => Ok(Self { first, last }),
            _ => Err(format!(
                "{text:?} is no range of ports; write the first and the last, like \"20000-29999\""
            )),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

/// A value that must not be seen: no log, error, debug print or `config show` tells it. Empty means not set.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that needs it; `None` if it is not set.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }

    fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "(secret)" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.shown())
    }
}

impl Serialize for Secret {
    /// Writes `""` or `"(secret)"`, never the secret.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    )*};
}

serde_as_text!(HumanDuration, ByteSize, PortRange);

/// Optional settings: TOML has no null, so an empty text means "not set".
pub(super) mod optional {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "the signature serde asks for")]
    pub(in crate::config) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&path.as_deref().unwrap_or_else(|| "".as_ref()).display())
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_in_and_out() {
        for (text, ms, written) in [
            ("200ms", 200, "200ms"),
            ("5s", 5_000, "5s"),
            ("90s", 90_000, "1m30s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("7d", 604_800_000, "7d"),
            ("0s", 0, "0s"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!((duration.as_millis(), duration.to_string().as_str()), (ms, written), "{text}");
        }
    }

    #[test]
    fn wrong_durations_are_refused() {
        for text in
            ["", "5", "s", "5 s", "-5s", "1.5s", "5S", "5sec", "30m1h", "1s1s", "99999999999999999d", "5s "]
        {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_in_and_out() {
        for (text, bytes, written) in [
            ("0B", 0, "0B"),
            ("512KiB", 524_288, "512KiB"),
            ("10GiB", 10_737_418_240, "10GiB"),
            ("1024 KiB", 1_048_576, "1MiB"),
            ("1500MB", 1_500_000_000, "1500MB"),
            ("7B", 7, "7B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, written), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        for text in ["", "10", "GiB", "1.5GiB", "10gib", "10G", "-1B", "99999999999999999999B", "99999999TiB"]
        {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_shows_nowhere() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret((secret))");
        assert_eq!(toml::Value::try_from(&secret).unwrap().as_str(), Some("(secret)"));
        assert_eq!((secret.reveal(), Secret::default().reveal()), (Some("hunter2"), None));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(number in 0..u64::MAX / 2) {
            prop_assert_eq!(HumanDuration(number).to_string().parse(), Ok(HumanDuration(number)));
            prop_assert_eq!(ByteSize(number).to_string().parse(), Ok(ByteSize(number)));
        }
    }
}
