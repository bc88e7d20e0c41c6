//! The keys of one attribute.

use hashbrown::HashMap;

use super::access::{GRAM_BYTES, Key, KeyKind};
use super::postings::{Posting, Postings, Span};
use super::prefixes::PrefixSet;

type Gram = [u8; GRAM_BYTES];

/// Every key that the filters have for one attribute.
#[derive(Debug, Default)]
pub(super) struct AttributeIndex {
    equal: HashMap<Box<[u8]>, Span>,
    grams: HashMap<Gram, Span>,
    gram_marks: GramMarks,
    prefixes: PrefixSet,
    /// Of the texts read backwards.
    suffixes: PrefixSet,
    present: Postings,
    /// Of `equal` and `grams`.
    postings: Postings,
}

impl AttributeIndex {
    /// Builds it from the keys of one attribute in ascending order.
    pub(super) fn build(keys: &[(Key<'_>, Posting)]) -> Self {
        let of_kind = |kind| {
            let start = keys.partition_point(|(key, _)| key.kind < kind);
            let end = keys.partition_point(|(key, _)| key.kind <= kind);
            &keys[start..end]
        };
        let mut postings = Vec::new();
        let equal = table(of_kind(KeyKind::Equal), &mut postings, |text| text.into());
        let grams = table(of_kind(KeyKind::Gram), &mut postings, |text| {
            let mut gram = Gram::default();
            gram.copy_from_slice(text);
            gram
        });
        let mut gram_marks = GramMarks::default();
        grams.keys().for_each(|gram| gram_marks.set(*gram));
        let mut reversed: Vec<(Vec<u8>, Posting)> = of_kind(KeyKind::Suffix)
            .iter()
            .map(|(key, posting)| (key.text.iter().rev().copied().collect(), *posting))
            .collect();
        reversed.sort_unstable();
        Self {
            equal,
            grams,
            gram_marks,
            prefixes: PrefixSet::build(
                of_kind(KeyKind::Prefix).iter().map(|(key, posting)| (key.text, *posting)),
            ),
            suffixes: PrefixSet::build(reversed.iter().map(|(text, posting)| (text.as_slice(), *posting))),
            present: of_kind(KeyKind::Present).iter().map(|(_, posting)| *posting).collect(),
            postings: postings.into(),
        }
    }

    /// Calls `visit` for each filter that `text` leads to. `reversed` is scratch memory.
    pub(super) fn find(&self, text: &[u8], reversed: &mut Vec<u8>, mut visit: impl FnMut(Posting)) {
        self.present.iter().copied().for_each(&mut visit);
        if !self.equal.is_empty()
            && let Some(span) = self.equal.get(text)
        {
            span.of(&self.postings).iter().copied().for_each(&mut visit);
        }
        if self.prefixes.longest() > 0 {
            self.prefixes.find(text, &mut visit);
        }
        if self.suffixes.longest() > 0 {
            reversed.clear();
            reversed.extend_from_slice(&text[text.len().saturating_sub(self.suffixes.longest())..]);
            reversed.reverse();
            self.suffixes.find(reversed, &mut visit);
        }
        if !self.grams.is_empty() {
            for gram in text.array_windows::<GRAM_BYTES>() {
                if self.gram_marks.may_have(*gram)
                    && let Some(span) = self.grams.get(gram)
                {
                    span.of(&self.postings).iter().copied().for_each(&mut visit);
                }
            }
        }
    }
}

/// A small table in front of the grams, as most of a text's grams lead nowhere: one bit for many grams.
#[derive(Debug, Default)]
struct GramMarks([u64; 16]);

impl GramMarks {
    /// Fibonacci hashing: the upper bits of the product depend on all bytes.
    const fn place([a, b, c]: Gram) -> (usize, u64) {
        let mixed = u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9E37_79B1) >> 22;
        (mixed as usize / 64, 1 << (mixed % 64))
    }

    const fn set(&mut self, gram: Gram) {
        let (word, bit) = Self::place(gram);
        self.0[word] |= bit;
    }

    const fn may_have(&self, gram: Gram) -> bool {
        let (word, bit) = Self::place(gram);
        self.0[word] & bit != 0
    }
}

/// Groups sorted keys by their text.
fn table<T: std::hash::Hash + Eq>(
    keys: &[(Key<'_>, Posting)],
    postings: &mut Vec<Posting>,
    to_owned: impl Fn(&[u8]) -> T,
) -> HashMap<T, Span> {
    let groups = || keys.chunk_by(|(left, _), (right, _)| left.text == right.text);
    let mut table = HashMap::with_capacity(groups().count());
    for group in groups() {
        let start = postings.len();
        postings.extend(group.iter().map(|(_, posting)| *posting));
        table.insert(to_owned(group[0].0.text), Span::new(start, postings.len()));
    }
    table
}
