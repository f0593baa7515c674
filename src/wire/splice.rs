//! Insertions and cuts at offsets of one body, and the pieces that come of them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

/// A body with its edits made: pieces of the original bytes, shared, and what was put between.
#[derive(Debug, Clone)]
pub struct Spliced<S> {
    /// The body, in order. See [`coalesce`] for fewer and larger ones.
    pub pieces: Vec<Bytes>,
    /// Sum of the pieces' lengths: the exact `Content-Length`.
    pub length: usize,
    /// What was put in, in order, without overlap.
    pub insertions: Vec<Insertion<S>>,
    /// What was taken out: ranges of the original body, in order, without overlap.
    pub cuts: Vec<Range<usize>>,
}

/// A run of bytes that did not stand there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Insertion<S> {
    /// Range of the new body, with the JSON around the text where that is ours too.
    pub at: Range<usize>,
    /// Why it is there.
    pub source: S,
}

impl<S> Spliced<S> {
    /// The whole body in one piece; copies it unless it already is one.
    pub fn to_bytes(&self) -> Bytes {
        match &self.pieces[..] {
            [whole] => whole.clone(),
            pieces => pieces.concat().into(),
        }
    }
}

impl<S> Default for Spliced<S> {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            length: 0,
            insertions: Vec::new(),
            cuts: Vec::new(),
        }
    }
}

/// Text in a row, as JSON bytes, each run with where it comes from.
#[derive(Debug, Clone)]
pub struct Rope<S>(Vec<(S, Bytes)>);

impl<S> Default for Rope<S> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// A blank line inside a string literal.
const BLANK_LINE: &[u8] = br"\n\n";

impl<S: Copy> Rope<S> {
    pub fn of(source: S, bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(source, bytes);
        rope
    }

    pub fn push(&mut self, source: S, bytes: Bytes) {
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
pub struct Splice<'a, S> {
    body: &'a Bytes,
    inserts: Vec<(usize, S, Bytes)>,
    cuts: Vec<Range<usize>>,
}

impl<'a, S: Copy + PartialEq> Splice<'a, S> {
    pub fn new(body: &'a Bytes) -> Self {
        Self {
            body,
            inserts: Vec::new(),
            cuts: Vec::new(),
        }
    }

    pub fn insert(&mut self, at: usize, rope: Rope<S>) {
        let runs = rope.0.into_iter();
        self.inserts
            .extend(runs.map(|(source, bytes)| (at, source, bytes)));
    }

    /// Cuts may touch but not overlap, and no insertion may fall inside one.
    pub fn cut(&mut self, range: Range<usize>) {
        self.cuts.push(range);
    }

    pub fn finish(mut self) -> Spliced<S> {
        self.inserts.sort_by_key(|&(at, ..)| at);
        self.cuts.sort_by_key(|cut| cut.start);
        let mut output = Output {
            body: self.body,
            read: 0,
            spliced: Spliced::default(),
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
        Spliced {
            cuts: self.cuts,
            ..output.spliced
        }
    }
}

struct Output<'a, S> {
    body: &'a Bytes,
    /// How much of the body is already kept or cut.
    read: usize,
    spliced: Spliced<S>,
}

impl<S: Copy + PartialEq> Output<'_, S> {
    fn keep_until(&mut self, end: usize) {
        if self.read < end {
            self.push(self.body.slice(self.read..end));
            self.read = end;
        }
    }

    fn insert(&mut self, source: S, bytes: Bytes) {
        let start = self.spliced.length;
        self.push(bytes);
        let end = self.spliced.length;
        match self.spliced.insertions.last_mut() {
            Some(last) if last.source == source && last.at.end == start => last.at.end = end,
            _ => self.spliced.insertions.push(Insertion {
                at: start..end,
                source,
            }),
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.spliced.length += bytes.len();
        self.spliced.pieces.push(bytes);
    }
}

/// Copies neighbouring pieces together until each holds `least` bytes or more, the last one
/// excepted; a piece that large by itself is passed on without a copy when nothing small is
/// waiting before it.
pub fn coalesce(pieces: impl IntoIterator<Item = Bytes>, least: usize) -> Vec<Bytes> {
    let pieces: Vec<_> = pieces.into_iter().collect();
    let small = pieces
        .iter()
        .map(Bytes::len)
        .filter(|&length| length < least);
    let mut waiting = BytesMut::with_capacity(small.sum::<usize>().min(2 * least));
    let mut joined = Vec::new();
    for piece in pieces {
        if piece.len() >= least {
            if !waiting.is_empty() {
                joined.push(waiting.split().freeze());
            }
            joined.push(piece);
            continue;
        }
        waiting.extend_from_slice(&piece);
        if waiting.len() >= least {
            joined.push(waiting.split().freeze());
        }
    }
    if !waiting.is_empty() {
        joined.push(waiting.freeze());
    }
    joined
}
