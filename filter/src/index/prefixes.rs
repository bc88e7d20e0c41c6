//! Which of many texts does a given one start with?

use super::postings::{Posting, Postings, Span, to_u32};

/// A sorted set of texts. Its search is one binary search, whatever the number and lengths of the texts.
///
/// Every text that `value` starts with is either the last text of the set that is not greater than `value`, or a prefix of that
/// one: all texts between a prefix of `value` and `value` itself start with that prefix. So each text knows its longest proper
/// prefix in the set, its parent, and the search walks up from there.
///
/// Types and sources of one organisation start alike. What all texts share is compared once, and the binary search goes over
/// the eight bytes behind that; only texts that are equal there too are compared as a whole.
#[derive(Debug, Default)]
pub(super) struct PrefixSet {
    texts: Box<[u8]>,
    entries: Box<[PrefixEntry]>,
    heads: Box<[u64]>,
    postings: Postings,
    /// How many bytes all texts share.
    shared: usize,
    longest: usize,
}

#[derive(Debug)]
struct PrefixEntry {
    text: Span,
    /// The index of the longest proper prefix in the set; [`NO_PARENT`] without one.
    parent: u32,
    postings: Span,
}

const NO_PARENT: u32 = u32::MAX;

impl PrefixSet {
    /// Builds the set from texts in ascending order; equal ones lie side by side.
    pub(super) fn build<'t>(sorted: impl Iterator<Item = (&'t [u8], Posting)>) -> Self {
        let mut texts: Vec<u8> = Vec::new();
        let mut entries: Vec<PrefixEntry> = Vec::new();
        let mut postings = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for (text, posting) in sorted {
            postings.push(posting);
            if let Some(last) = entries.last_mut()
                && last.text.of(&texts) == text
            {
                last.postings.end += 1;
                continue;
            }
            while let Some(&candidate) = open.last()
                && !text.starts_with(entries[candidate].text.of(&texts))
            {
                open.pop();
            }
            let parent = open.last().map_or(NO_PARENT, |&at| to_u32(at));
            open.push(entries.len());
            let start = texts.len();
            texts.extend_from_slice(text);
            entries.push(PrefixEntry {
                text: Span::new(start, texts.len()),
                parent,
                postings: Span::new(postings.len() - 1, postings.len()),
            });
        }
        let text = |entry: &PrefixEntry| entry.text.of(&texts);
        // In a sorted list, what the first and the last share is what all share.
        let shared = match &*entries {
            [] => 0,
            [first, .., last] => common_length(text(first), text(last)),
            [only] => only.text.len(),
        };
        let heads = entries.iter().map(|entry| head(&text(entry)[shared..])).collect();
        let longest = entries.iter().map(|entry| entry.text.len()).max().unwrap_or(0);
        Self {
            texts: texts.into(),
            entries: entries.into(),
            heads,
            postings: postings.into(),
            shared,
            longest,
        }
    }

    /// The most bytes of a value that can matter.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// Calls `visit` for the postings of every text that `value` starts with.
    pub(super) fn find(&self, value: &[u8], mut visit: impl FnMut(Posting)) {
        let Some(mut at) = self.last_not_greater(value) else { return };
        let nearest = &self.entries[at].text.of(&self.texts)[self.shared..];
        let common = self.shared + common_length(nearest, &value[self.shared..]);
        loop {
            let entry = &self.entries[at];
            if entry.text.len() <= common {
                entry.postings.of(&self.postings).iter().copied().for_each(&mut visit);
            }
            if entry.parent == NO_PARENT {
                return;
            }
            at = entry.parent as usize;
        }
    }

    /// The last text that is not greater than `value`, unless it is clear that no text is a prefix of `value`.
    fn last_not_greater(&self, value: &[u8]) -> Option<usize> {
        let first = self.entries.first()?;
        if !value.starts_with(&first.text.of(&self.texts)[..self.shared]) {
            return None;
        }
        let wanted = head(&value[self.shared..]);
        let start = self.heads.partition_point(|head| *head < wanted);
        let equal = self.heads[start..].partition_point(|head| *head == wanted);
        let not_greater = self.entries[start..start + equal]
            .partition_point(|entry| entry.text.of(&self.texts)[self.shared..] <= value[self.shared..]);
        (start + not_greater).checked_sub(1)
    }
}

/// The first eight bytes as a number, so that numbers compare like the texts do; equal numbers say nothing.
fn head(text: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = text.len().min(bytes.len());
    bytes[..length].copy_from_slice(&text[..length]);
    u64::from_be_bytes(bytes)
}

fn common_length(left: &[u8], right: &[u8]) -> usize {
    const STEP: usize = 16;
    let steps = left.chunks_exact(STEP).zip(right.chunks_exact(STEP));
    let whole = steps.take_while(|(left, right)| left == right).count() * STEP;
    whole + left[whole..].iter().zip(&right[whole..]).take_while(|(left, right)| left == right).count()
}
