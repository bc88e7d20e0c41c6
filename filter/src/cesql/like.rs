//! `LIKE` patterns (section 3.4.3), compiled.
//!
//! `%` cuts a pattern into segments of a fixed number of characters. The first segment must lie at the start, the last at the
//! end, and each between them is taken where it is found first: taking it later could only leave less room. So there is no
//! backtracking. Characters are code points; a line break is one like any other.

use memchr::memmem;

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    /// What the text starts with; empty if the pattern starts with `%`.
    first: Segment,
    /// What must follow in this order, each somewhere.
    middle: Box<[Segment]>,
    /// What the text ends with; empty if the pattern ends with `%`, `None` if there is no `%`: then `first` is the whole text.
    last: Option<Segment>,
}

/// What lies between two `%`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Segment(Box<[Piece]>);

/// Any `gap` characters (one `_` each), then `text`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Piece {
    gap: usize,
    text: Box<str>,
}

/// What every matching text has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape<'a> {
    /// It is this text, and no other matches.
    Equal(&'a str),
    /// It starts with `prefix`, ends with `suffix` and contains `longest` (each may be empty).
    Open {
        prefix: &'a str,
        suffix: &'a str,
        longest: &'a str,
        /// Whether every text that starts with the prefix (or, without a prefix, ends with the suffix) matches.
        sufficient: bool,
    },
}

impl Pattern {
    pub(super) fn compile(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut builder = SegmentBuilder::default();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '%' => segments.push(std::mem::take(&mut builder).finish()),
                '_' => builder.gap(),
                '\\' => match characters.next_if(|next| matches!(next, '%' | '_')) {
                    Some(escaped) => builder.text.push(escaped),
                    None => builder.text.push('\\'),
                },
                other => builder.text.push(other),
            }
        }
        let end = builder.finish();
        if segments.is_empty() {
            return Self { first: end, middle: Box::default(), last: None };
        }
        let first = segments.remove(0);
        segments.retain(|segment| !segment.0.is_empty());
        Self { first, middle: segments.into(), last: Some(end) }
    }

    /// Characters of the parts that are searched for and have a gap: the ones that cost their length times the text's.
    pub(super) fn searched_gapped(&self) -> usize {
        let gapped = self.middle.iter().filter(|segment| segment.0.iter().any(|piece| piece.gap > 0));
        gapped.flat_map(|segment| &*segment.0).map(|piece| piece.gap + piece.text.chars().count()).sum()
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(start) = self.first.match_at(text, 0) else { return false };
        let Some(last) = &self.last else { return start == text.len() };
        let Some(end) = last.match_before_end(text) else { return false };
        if end < start {
            return false;
        }
        let mut rest = &text[start..end];
        for segment in &self.middle {
            let Some(after) = segment.find(rest) else { return false };
            rest = &rest[after..];
        }
        true
    }

    pub(crate) fn shape(&self) -> Shape<'_> {
        let prefix = self.first.0.first().filter(|piece| piece.gap == 0).map_or("", |piece| &*piece.text);
        let Some(last) = &self.last else {
            return match &*self.first.0 {
                [] => Shape::Equal(""),
                [piece] if piece.gap == 0 => Shape::Equal(&piece.text),
                pieces => Shape::Open {
                    prefix,
                    suffix: last_text(&self.first),
                    longest: longest(pieces.iter()),
                    sufficient: false,
                },
            };
        };
        let suffix = last_text(last);
        let segments = std::iter::once(&self.first).chain(&self.middle).chain(std::iter::once(last));
        let is_text = |segment: &Segment| matches!(&*segment.0, [piece] if piece.gap == 0);
        let one_sided =
            (is_text(&self.first) && last.0.is_empty()) || (self.first.0.is_empty() && is_text(last));
        Shape::Open {
            prefix,
            suffix,
            longest: longest(segments.flat_map(|segment| &*segment.0)),
            sufficient: self.middle.is_empty() && one_sided,
        }
    }
}

fn last_text(segment: &Segment) -> &str {
    segment.0.last().map_or("", |piece| &*piece.text)
}

fn longest<'a>(pieces: impl Iterator<Item = &'a Piece>) -> &'a str {
    pieces.map(|piece| &*piece.text).max_by_key(|text| text.len()).unwrap_or("")
}

impl Segment {
    /// The end of this segment if it lies at byte `at` of `text`.
    fn match_at(&self, text: &str, mut at: usize) -> Option<usize> {
        for piece in &self.0 {
            at = skip(text, at, piece.gap)?;
            if !text.as_bytes()[at..].starts_with(piece.text.as_bytes()) {
                return None;
            }
            at += piece.text.len();
        }
        Some(at)
    }

    /// The start of this segment if it lies at the end of `text`.
    fn match_before_end(&self, text: &str) -> Option<usize> {
        let mut rest = text;
        for piece in self.0.iter().rev() {
            rest = rest.strip_suffix(&*piece.text)?;
            for _ in 0..piece.gap {
                let mut characters = rest.chars();
                characters.next_back()?;
                rest = characters.as_str();
            }
        }
        Some(rest.len())
    }

    /// The end of the first place in `text` where this segment lies.
    fn find(&self, text: &str) -> Option<usize> {
        let first = self.0.first()?;
        if first.gap > 0 {
            return text.char_indices().find_map(|(at, _)| self.match_at(text, at));
        }
        if self.0.len() == 1 {
            return memmem::find(text.as_bytes(), first.text.as_bytes()).map(|at| at + first.text.len());
        }
        // Places may overlap, so the search goes on right behind the start of the last one.
        let mut from = 0;
        while let Some(found) = memmem::find(&text.as_bytes()[from..], first.text.as_bytes()) {
            if let Some(end) = self.match_at(text, from + found) {
                return Some(end);
            }
            from += found + 1;
        }
        None
    }
}

/// The byte `characters` characters behind `at`.
fn skip(text: &str, at: usize, characters: usize) -> Option<usize> {
    if characters == 0 {
        return Some(at);
    }
    let rest = &text[at..];
    let last = rest.char_indices().nth(characters - 1)?;
    Some(at + last.0 + last.1.len_utf8())
}

#[derive(Debug, Default)]
struct SegmentBuilder {
    pieces: Vec<Piece>,
    gap: usize,
    text: String,
}

impl SegmentBuilder {
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.push();
        }
        self.gap += 1;
    }

    fn push(&mut self) {
        let text = std::mem::take(&mut self.text).into();
        self.pieces.push(Piece { gap: std::mem::take(&mut self.gap), text });
    }

    fn finish(mut self) -> Segment {
        if self.gap > 0 || !self.text.is_empty() {
            self.push();
        }
        Segment(self.pieces.into())
    }
}
