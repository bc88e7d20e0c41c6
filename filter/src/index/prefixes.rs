//! Which of many texts does a given one start with?

use super::postings::{Posting, Postings, Span};

/// A sorted set of texts. Its search is one binary search, whatever the number and lengths of the texts.
///
/// Every text that `value` starts with is either the last text of the set that is not greater than `value`, or a prefix of that
/// one: all texts between a prefix of `value` and `value` itself start with that prefix. So each text knows its longest proper
/// prefix in the set, its parent, and the search walks up from there.
#[derive(Debug, Default)]
pub(super) struct PrefixSet {
    texts: Box<[u8]>,
    entries: Box<[PrefixEntry]>,
    postings: Postings,
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
            let parent = open.last().map_or(NO_PARENT, |&at| super::postings::to_u32(at));
            open.push(entries.len());
            let start = texts.len();
            texts.extend_from_slice(text);
            entries.push(PrefixEntry {
                text: Span::new(start, texts.len()),
                parent,
                postings: Span::new(postings.len() - 1, postings.len()),
            });
        }
        let longest = entries.iter().map(|entry| entry.text.len()).max().unwrap_or(0);
        Self { texts: texts.into(), entries: entries.into(), postings: postings.into(), longest }
    }

    /// The most bytes of a value that can matter.
    pub(super) const fn longest(&self) -> usize {
        self.longest
    }

    /// Calls `visit` for the postings of every text that `value` starts with.
    pub(super) fn find(&self, value: &[u8], mut visit: impl FnMut(Posting)) {
        let value = &value[..value.len().min(self.longest)];
        let after = self.entries.partition_point(|entry| entry.text.of(&self.texts) <= value);
        let Some(mut at) = after.checked_sub(1) else { return };
        let nearest = self.entries[at].text.of(&self.texts);
        let common = nearest.iter().zip(value).take_while(|(left, right)| left == right).count();
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
}
