//! Watches a copy of an event stream while the original bytes go to the client.

use memchr::memchr2;

use super::answer::Answer;

/// Bytes of one line, or of one event's data, that are held at most.
const EVENT_LIMIT: usize = 1024 * 1024;

/// Gathers an [`Answer`] from the chunks of a chat completion stream, cut anywhere.
///
/// It never errs. At the first thing that it cannot read it stops watching, which
/// [`Observer::is_blind`] and the answer's `unreadable` tell.
#[derive(Debug)]
pub struct Observer {
    decoder: Decoder,
    answer: Answer,
    done: bool,
    text_limit: usize,
}

impl Observer {
    /// An observer that keeps `text_limit` bytes of what is said.
    pub fn new(text_limit: usize) -> Self {
        Self {
            decoder: Decoder::default(),
            answer: Answer::default(),
            done: false,
            text_limit,
        }
    }

    /// Watches the next bytes of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        if self.is_blind() {
            return;
        }
        let (answer, done, limit) = (&mut self.answer, &mut self.done, self.text_limit);
        let fed = self
            .decoder
            .feed(chunk, |data| note(answer, done, limit, data));
        if fed.is_err() {
            self.answer.unreadable = true;
        }
        if self.is_blind() {
            self.decoder = Decoder::default();
        }
    }

    /// What has been said so far.
    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    /// Whether something has been said: the first token is here.
    pub fn has_begun(&self) -> bool {
        self.answer.content_events > 0
    }

    /// Whether `[DONE]` has come.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Whether it has met something that it could not read and has stopped watching.
    pub fn is_blind(&self) -> bool {
        self.answer.unreadable
    }

    /// The answer at the end of the stream. An event that lacks its last line ends counts, as
    /// clients read it too.
    pub fn finish(mut self) -> Answer {
        self.feed(b"\n\n");
        self.answer
    }
}

fn note(answer: &mut Answer, done: &mut bool, text_limit: usize, data: &[u8]) {
    match data.trim_ascii() {
        b"" => {}
        // What follows in the same chunk is not watched either: where a stream is cut is chance.
        _ if answer.unreadable => {}
        b"[DONE]" => *done = true,
        json => answer.read(json, text_limit),
    }
}

/// A line or an event was larger than [`EVENT_LIMIT`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Cuts a byte stream into events and gives the data of each.
///
/// Grammar: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The line that the last chunk left unfinished.
    line: Vec<u8>,
    /// The data lines of the event so far, each ended by a line feed.
    data: Vec<u8>,
    /// The last chunk ended with a carriage return: a line feed now belongs to it.
    after_return: bool,
    /// The first line, which may begin with a byte order mark, is past.
    started: bool,
}

impl Decoder {
    /// Reads on, calling `event` with the data of each event that is complete.
    pub fn feed(&mut self, chunk: &[u8], mut event: impl FnMut(&[u8])) -> Result<(), TooLarge> {
        let mut rest = chunk;
        loop {
            if self.after_return && !rest.is_empty() {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                self.after_return = false;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.line.extend_from_slice(rest);
                return within_limit(&self.line);
            };
            self.after_return = rest[end] == b'\r';
            if self.line.is_empty() {
                self.end_line(&rest[..end], &mut event)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.end_line(&line, &mut event)?;
                line.clear();
                self.line = line;
            }
            rest = &rest[end + 1..];
        }
    }

    fn end_line(&mut self, line: &[u8], event: &mut impl FnMut(&[u8])) -> Result<(), TooLarge> {
        within_limit(line)?;
        let bom: &[u8] = if self.started { b"" } else { b"\xef\xbb\xbf" };
        self.started = true;
        let line = line.strip_prefix(bom).unwrap_or(line);
        if line.is_empty() {
            if let Some((_, data)) = self.data.split_last() {
                event(data);
            }
            self.data.clear();
        } else if let Some(value) = data_of(line) {
            self.data.extend_from_slice(value);
            self.data.push(b'\n');
        }
        within_limit(&self.data)
    }
}

/// The value of a `data` line; `None` for comments and other fields.
pub(super) fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.split_first() {
        None => Some(value),
        Some((b':', value)) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        Some(_) => None,
    }
}

fn within_limit(bytes: &[u8]) -> Result<(), TooLarge> {
    if bytes.len() > EVENT_LIMIT {
        return Err(TooLarge);
    }
    Ok(())
}
