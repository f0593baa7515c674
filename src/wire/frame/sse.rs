//! Server-sent events: a byte stream, cut anywhere, as the data of its events.

use memchr::memchr2;

/// Bytes of one line, or of one event's data, that are held at most.
const EVENT_LIMIT: usize = 1024 * 1024;

/// A line or an event was larger than [`EVENT_LIMIT`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Cuts a byte stream into events and gives the data of each.
///
/// Grammar: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>.
#[derive(Debug, Default)]
pub struct Decoder {
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
pub fn data_of(line: &[u8]) -> Option<&[u8]> {
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
