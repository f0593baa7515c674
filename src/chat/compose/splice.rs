//! Insertions and cuts at offsets of one body, and the pieces that come of them.

use std::ops::Range;

use bytes::Bytes;

use super::{Composed, Insertion, Source};

/// Text of several origins in a row, as JSON bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Rope(Vec<(Source, Bytes)>);

/// A blank line inside a string literal.
const BLANK_LINE: &[u8] = br"\n\n";

impl Rope {
    pub fn of(source: Source, bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(source, bytes);
        rope
    }

    pub fn push(&mut self, source: Source, bytes: Bytes) {
        if !bytes.is_empty() {
            self.0.push((source, bytes));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn append(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Both texts, with a blank line between where neither is empty.
    pub fn paragraph(self, other: Self) -> Self {
        if self.is_empty() {
            other
        } else {
            self.append(other.after(BLANK_LINE))
        }
    }

    /// With `prefix` before it, unless it is empty.
    pub fn after(self, prefix: &'static [u8]) -> Self {
        match self.0.first() {
            Some(&(source, _)) => Self::of(source, Bytes::from_static(prefix)).append(self),
            None => self,
        }
    }

    /// With `suffix` behind it, unless it is empty.
    pub fn before(mut self, suffix: &'static [u8]) -> Self {
        if let Some(&(source, _)) = self.0.last() {
            self.push(source, Bytes::from_static(suffix));
        }
        self
    }

    /// With `prefix` and `suffix` around it, unless it is empty.
    pub fn within(self, prefix: &'static [u8], suffix: &'static [u8]) -> Self {
        self.after(prefix).before(suffix)
    }

    /// With a blank line behind it, unless it is empty.
    pub fn before_blank_line(self) -> Self {
        self.before(BLANK_LINE)
    }

    /// With a blank line before it, unless it is empty.
    pub fn after_blank_line(self) -> Self {
        self.after(BLANK_LINE)
    }
}

/// The edits of one body. Insertions at one offset keep the order in which they were made.
#[derive(Debug)]
pub(super) struct Splice<'a> {
    body: &'a Bytes,
    inserts: Vec<(usize, Source, Bytes)>,
    cuts: Vec<Range<usize>>,
}

impl<'a> Splice<'a> {
    pub fn new(body: &'a Bytes) -> Self {
        Self {
            body,
            inserts: Vec::new(),
            cuts: Vec::new(),
        }
    }

    pub fn insert(&mut self, at: usize, rope: Rope) {
        let runs = rope.0.into_iter();
        self.inserts
            .extend(runs.map(|(source, bytes)| (at, source, bytes)));
    }

    /// Cuts may touch but not overlap, and no insertion may fall inside one.
    pub fn cut(&mut self, range: Range<usize>) {
        self.cuts.push(range);
    }

    pub fn finish(mut self) -> Composed {
        self.inserts.sort_by_key(|&(at, ..)| at);
        self.cuts.sort_by_key(|cut| cut.start);
        let mut output = Output {
            body: self.body,
            read: 0,
            composed: Composed::default(),
        };
        let mut cuts = self.cuts.iter().peekable();
        for (at, source, bytes) in self.inserts {
            while let Some(cut) = cuts.next_if(|cut| cut.start < at) {
                output.keep_until(cut.start);
                output.read = cut.end;
            }
            output.keep_until(at);
            output.insert(source, bytes);
        }
        for cut in cuts {
            output.keep_until(cut.start);
            output.read = cut.end;
        }
        output.keep_until(self.body.len());
        Composed {
            cuts: self.cuts,
            ..output.composed
        }
    }
}

struct Output<'a> {
    body: &'a Bytes,
    /// How much of the body is already kept or cut.
    read: usize,
    composed: Composed,
}

impl Output<'_> {
    fn keep_until(&mut self, end: usize) {
        if self.read < end {
            self.push(self.body.slice(self.read..end));
            self.read = end;
        }
    }

    fn insert(&mut self, source: Source, bytes: Bytes) {
        let start = self.composed.length;
        self.push(bytes);
        let end = self.composed.length;
        match self.composed.insertions.last_mut() {
            Some(last) if last.source == source && last.at.end == start => last.at.end = end,
            _ => self.composed.insertions.push(Insertion {
                at: start..end,
                source,
            }),
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.composed.length += bytes.len();
        self.composed.pieces.push(bytes);
    }
}
