//! An event, or a whole answer, that is being edited.

use std::ops::Range;

use bytes::Bytes;

use crate::dialect::calls::Edit;
use crate::wire::json::Span;
use crate::wire::object::Member;
use crate::wire::splice::{Rope, Splice};

/// An event that is being edited.
pub struct Editing<'a> {
    pub json: &'a Bytes,
    splice: Splice<'a, ()>,
    pub changed: bool,
    /// Whether the client learns anything from what is left.
    pub says: bool,
}

impl<'a> Editing<'a> {
    pub fn new(json: &'a Bytes) -> Self {
        Self {
            json,
            splice: Splice::new(json),
            changed: false,
            says: false,
        }
    }

    pub fn replace(&mut self, at: Span, with: impl Into<Bytes>) {
        self.changed = true;
        self.splice.cut(at.range());
        self.splice.insert(at.start, Rope::of((), with.into()));
    }

    pub fn cut(&mut self, ranges: Vec<Range<usize>>) {
        for range in ranges {
            self.changed = true;
            self.splice.cut(range);
        }
    }

    pub fn finish(self) -> Edit {
        match self.changed {
            true => Edit::Replace(self.splice.finish().to_bytes()),
            false => Edit::Pass,
        }
    }
}

/// Whether a member says nothing.
pub fn is_empty(json: &[u8], member: &Member) -> bool {
    matches!(
        &json[member.value.range()],
        b"null" | b"\"\"" | b"[]" | b"{}"
    )
}
