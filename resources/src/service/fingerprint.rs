//! What tells templates apart that make different revisions.

use std::fmt;

/// A hash of a template. It is the same in every process and version, so that it can be kept beside a revision.
///
/// It is no secret-keeper and no signature: it tells whether the owner changed the template, and its owner is nobody's
/// enemy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for Fingerprint {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes in parts of a template, one after the other: FNV-1a of 128 bits
/// (<https://www.ietf.org/archive/id/draft-eastlake-fnv-21.html>).
#[derive(Debug)]
pub(crate) struct Fingerprinter(u128);

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl Fingerprinter {
    pub(crate) const fn new() -> Self {
        Self(OFFSET_BASIS)
    }

    /// Takes in bytes whose length follows from what was taken before.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    /// Takes in a number.
    pub(crate) fn number(&mut self, number: usize) {
        self.bytes(&(number as u64).to_le_bytes());
    }

    /// Takes in a text, with its length: two texts are told from one that is both.
    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len());
        self.bytes(text.as_bytes());
    }

    pub(crate) const fn finish(&self) -> Fingerprint {
        Fingerprint(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of the specification's appendix.
    #[test]
    fn hashes_as_specified() {
        let vectors = [
            ("", "6c62272e07bb014262b821756295c58d"),
            ("a", "d228cb696f1a8caf78912b704e4a8964"),
            ("foobar", "343e1662793c64bf6f0d3597ba446f18"),
        ];
        for (text, expected) in vectors {
            let mut hash = Fingerprinter::new();
            hash.bytes(text.as_bytes());
            let found = hash.finish();
            assert_eq!(found.to_string(), expected, "{text}");
            assert_eq!(Fingerprint::parse(expected), Some(found));
        }
        for text in ["", "6c62", "+c62272e07bb014262b821756295c58d", "6C62272E07BB014262B821756295C58D"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
