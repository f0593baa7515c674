//! Server-sent events: a byte stream, cut anywhere, as the events that it holds.
//!
//! Grammar: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use serde::de::IgnoredAny;

use super::Event;

/// Bytes of one event at most: some bring pictures, or repeat all that was asked.
pub const EVENT_LIMIT: usize = 16 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Cuts a byte stream into frames. Those that lie in one chunk share its bytes.
#[derive(Debug)]
pub struct Splitter {
    /// The frame that the last chunk left unfinished.
    held: BytesMut,
    /// Where in `held` the line begins that is being read.
    line: usize,
    /// The byte before is a carriage return: a line feed now belongs to it.
    after_return: bool,
    /// Lines end with both.
    has_pairs: bool,
    /// The frame in `held` is complete but for a line feed that may belong to its blank line.
    awaits_feed: bool,
    /// The first line, which may begin with a byte order mark, is past …
    line_past: bool,
    /// … and so is the first frame.
    frame_past: bool,
    /// Bytes of one frame at most.
    limit: usize,
    /// Up to where `held` is known to hold no frame that lacks its blank line.
    searched: usize,
    /// A frame that is too large goes by.
    skips: bool,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::with_limit(EVENT_LIMIT)
    }
}

/// What comes next of a chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Frame(Frame),
    /// Nothing before the next chunk.
    More,
    /// A frame larger than the limit, or a part of one. The next one can be read again.
    TooLarge(Bytes),
}

/// One event, or a comment, with the blank line that ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    raw: Bytes,
    is_first: bool,
}

impl Splitter {
    /// One that takes frames of up to `limit` bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            held: BytesMut::new(),
            line: 0,
            after_return: false,
            has_pairs: false,
            awaits_feed: false,
            line_past: false,
            frame_past: false,
            limit,
            searched: 0,
            skips: false,
        }
    }

    /// Whether the last frame was complete.
    pub fn is_between(&self) -> bool {
        self.held.is_empty()
    }

    /// Takes the next frame off the front of `chunk`, or all of it to wait for more.
    ///
    /// Some servers write no blank lines between events: one also ends behind a line of data that is an
    /// object by itself, where the next line begins another.
    pub fn next(&mut self, chunk: &mut Bytes) -> Next {
        if self.skips {
            return self.skip(chunk);
        }
        let raw = match self.frame_end(chunk) {
            Some(end) => {
                let raw = self.take(chunk, end);
                match unparted(&raw, &mut self.searched) {
                    None => raw,
                    Some(end) => {
                        *chunk = [&raw[end..], &chunk[..]].concat().into();
                        raw.slice(..end)
                    }
                }
            }
            None => {
                let all = self.held.len() + chunk.len();
                self.held.extend_from_slice(chunk);
                chunk.clear();
                let end = match self.awaits_feed {
                    true => None,
                    false => unparted(&self.held, &mut self.searched),
                };
                match end {
                    Some(end) => {
                        let raw = self.held.split_to(end).freeze();
                        *chunk = self.held.split().freeze();
                        raw
                    }
                    None if all > self.limit => {
                        self.skips = true;
                        let raw = self.held.split().freeze();
                        self.within(&raw);
                        return Next::TooLarge(raw);
                    }
                    None => return Next::More,
                }
            }
        };
        let is_first = !std::mem::replace(&mut self.frame_past, true);
        self.line = 0;
        self.searched = 0;
        match raw.len() > self.limit {
            true => Next::TooLarge(raw),
            false => Next::Frame(Frame { raw, is_first }),
        }
    }

    /// Takes what is left of a frame that is too large.
    fn skip(&mut self, chunk: &mut Bytes) -> Next {
        if chunk.is_empty() {
            return Next::More;
        }
        let end = self.frame_end(chunk);
        let raw = chunk.split_to(end.unwrap_or(chunk.len()));
        match end {
            Some(_) => {
                self.skips = false;
                self.frame_past = true;
                self.held.clear();
                self.line = 0;
                self.searched = 0;
            }
            None => self.within(&raw),
        }
        Next::TooLarge(raw)
    }

    /// Keeps of what went by whether a line has begun.
    fn within(&mut self, raw: &[u8]) {
        self.held.clear();
        self.line = 0;
        if let Some(last) = raw.last().filter(|last| !matches!(last, b'\n' | b'\r')) {
            self.held.extend_from_slice(&[*last]);
        }
    }

    /// What is left where the stream ends within a frame, which readers take for whole.
    pub fn rest(&mut self) -> Option<Frame> {
        let is_first = !std::mem::replace(&mut self.frame_past, true);
        let raw = self.held.split().freeze();
        self.line = 0;
        self.searched = 0;
        if std::mem::take(&mut self.skips) {
            return None;
        }
        (!raw.is_empty()).then_some(Frame { raw, is_first })
    }

    fn take(&mut self, chunk: &mut Bytes, end: usize) -> Bytes {
        if self.held.is_empty() {
            return chunk.split_to(end);
        }
        self.held.extend_from_slice(&chunk.split_to(end));
        self.held.split().freeze()
    }

    /// Where in `chunk` the frame ends, its blank line included.
    fn frame_end(&mut self, chunk: &[u8]) -> Option<usize> {
        let before = self.held.len();
        let mut at = 0;
        if self.awaits_feed && !chunk.is_empty() {
            self.awaits_feed = false;
            self.after_return = false;
            return Some(usize::from(chunk[0] == b'\n'));
        }
        loop {
            if self.after_return && at < chunk.len() {
                // Of a pair that two chunks share, the rest goes with what follows.
                let is_pair = chunk[at] == b'\n';
                self.has_pairs |= is_pair;
                at += usize::from(is_pair);
                self.line = before + at;
                self.after_return = false;
            }
            let newline = at + memchr2(b'\n', b'\r', &chunk[at..])?;
            let is_blank = self.is_blank(&chunk[..newline]);
            self.after_return = chunk[newline] == b'\r';
            at = newline + 1;
            if self.after_return && chunk.get(at) == Some(&b'\n') {
                self.after_return = false;
                self.has_pairs = true;
                at += 1;
            }
            self.line = before + at;
            self.line_past = true;
            if is_blank && self.after_return && self.has_pairs && at == chunk.len() {
                // Not to be parted: not every client takes one of the two for the end of a line.
                self.awaits_feed = true;
                return None;
            }
            if is_blank {
                return Some(at);
            }
        }
    }

    /// Whether nothing stands in the line that ends where `chunk` does.
    fn is_blank(&self, chunk: &[u8]) -> bool {
        let before = self.held.len();
        let length = before + chunk.len() - self.line;
        if self.line_past || length != BYTE_ORDER_MARK.len() {
            return length == 0;
        }
        let line = self.held[self.line.min(before)..].iter();
        let line = line.chain(&chunk[self.line.saturating_sub(before)..]);
        line.eq(BYTE_ORDER_MARK)
    }
}

impl Frame {
    /// Its bytes, as they came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its data, the lines joined by line feeds; empty where it has none.
    pub fn data(&self) -> Bytes {
        let mut values = self.lines().filter_map(|(line, _)| data_of(line));
        let Some(first) = values.next() else {
            return Bytes::new();
        };
        match values.next() {
            None => self.raw.slice_ref(first),
            Some(second) => {
                let values: Vec<_> = [first, second].into_iter().chain(values).collect();
                values.join(&b'\n').into()
            }
        }
    }

    /// The same frame with other data: its other lines stay, and so does how the first line of data
    /// is written.
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        let mut written = false;
        let mut out = BytesMut::with_capacity(self.raw.len() + data.len());
        for (line, ending) in self.lines() {
            let Some(old) = data_of(line) else {
                out.extend_from_slice(line);
                out.extend_from_slice(ending);
                continue;
            };
            if std::mem::replace(&mut written, true) {
                continue;
            }
            let prefix = match old.is_empty() {
                true => &b"data: "[..],
                false => &line[..line.len() - old.len()],
            };
            let ending = if ending.is_empty() { b"\n" } else { ending };
            for value in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
                for part in [prefix, value, ending] {
                    out.extend_from_slice(part);
                }
            }
        }
        if !matches!(self.raw.last(), Some(b'\n' | b'\r')) {
            // It was the last of a stream that broke off: one more may follow now.
            out.extend_from_slice(b"\n");
        }
        out.freeze()
    }

    /// Each line, and what ends it.
    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = match self.is_first {
            true => self.raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.raw),
            false => &self.raw[..],
        };
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let (line, behind) = rest.split_at(end);
            let ending = match behind {
                [b'\r', b'\n', ..] => 2,
                [] => 0,
                _ => 1,
            };
            let (ending, next) = behind.split_at(ending);
            rest = next;
            Some((line, ending))
        })
    }
}

/// Where a frame ends that no blank line ends. Up to `searched` there is known to be none; what may tell of the
/// line behind it is looked at again.
fn unparted(raw: &[u8], searched: &mut usize) -> Option<usize> {
    const LONGEST: usize = b"event:".len();
    let mut from = *searched;
    loop {
        let newline = from + memchr2(b'\n', b'\r', &raw[from..])?;
        let is_pair = raw[newline..].starts_with(b"\r\n");
        let next = newline + if is_pair { 2 } else { 1 };
        let begins = || raw[next..].starts_with(b"data:") || raw[next..].starts_with(b"event:");
        let line = &raw[from..newline];
        if matches!(line.last(), Some(b'}' | b']')) && begins() && is_alone(line) {
            return Some(next);
        }
        if raw.len() >= next + LONGEST {
            *searched = next;
        }
        from = next;
    }
}

/// Whether a line is of data and needs no other.
fn is_alone(line: &[u8]) -> bool {
    data_of(line).map(<[u8]>::trim_ascii).is_some_and(|value| {
        value == b"[DONE]"
            || (value.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(value).is_ok())
    })
}

/// The value of a `data` line; `None` for comments and other fields.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.split_first() {
        None => Some(value),
        Some((b':', value)) => {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            // Some that pass events on write it once more.
            match value.strip_prefix(b"data:") {
                Some(again) => Some(again.strip_prefix(b" ").unwrap_or(again)),
                None => Some(value),
            }
        }
        Some(_) => None,
    }
}

/// An event as a frame of its own.
pub fn framed(event: &Event) -> Bytes {
    let mut out = BytesMut::with_capacity(event.data.len() + 64);
    if let Some(name) = &event.name {
        for part in [b"event: ", name.as_bytes(), b"\n"] {
            out.extend_from_slice(part);
        }
    }
    for line in event.data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        for part in [b"data: ", line, b"\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\n");
    out.freeze()
}

/// Whether a chunk ends where a frame does, told by its last bytes.
pub fn ends_frame(chunk: &[u8]) -> bool {
    chunk.ends_with(b"\n\n") || chunk.ends_with(b"\r\n\r\n")
}
