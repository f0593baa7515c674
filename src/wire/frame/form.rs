//! Whether a body is a stream of events or one whole text, told by its first bytes: what a server says
//! of it elsewhere is not always so.

use bytes::Bytes;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a line of a stream of events may begin with.
const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];

/// How a body is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Server-sent events.
    Stream,
    /// One whole text.
    Whole,
}

/// What is known so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Is(Form),
    /// More bytes will tell.
    More,
    /// They never will.
    Neither,
}

/// Looks at a body's first bytes, cut into chunks anywhere.
#[derive(Debug, Default)]
pub struct Looking {
    /// What stands behind white space and a byte order mark.
    first: Vec<u8>,
}

impl Looking {
    /// Looks at the next bytes, until it is known.
    pub fn see(&mut self, bytes: &[u8]) -> Look {
        for &byte in bytes {
            if self.first.is_empty() && byte.is_ascii_whitespace() {
                continue;
            }
            self.first.push(byte);
            match self.look() {
                Look::More => {}
                known => return known,
            }
        }
        Look::More
    }

    fn look(&mut self) -> Look {
        let first = &self.first[..];
        if matches!(first, [b'{' | b'[', ..]) {
            return Look::Is(Form::Whole);
        }
        if FIELDS.contains(&first) {
            return Look::Is(Form::Stream);
        }
        if first == BYTE_ORDER_MARK {
            self.first.clear();
            return Look::More;
        }
        let may_be = |known: &[u8]| known.starts_with(first);
        match may_be(BYTE_ORDER_MARK) || FIELDS.iter().any(|field| may_be(field)) {
            true => Look::More,
            false => Look::Neither,
        }
    }
}

/// The text without a byte order mark.
pub fn without_mark(text: &Bytes) -> Bytes {
    match text.starts_with(BYTE_ORDER_MARK) {
        true => text.slice(BYTE_ORDER_MARK.len()..),
        false => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told when the bytes come one by one.
    fn look(bytes: &[u8]) -> Look {
        let mut looking = Looking::default();
        let looks = bytes.chunks(1).map(|byte| looking.see(byte));
        let bytewise = looks
            .into_iter()
            .find(|look| *look != Look::More)
            .unwrap_or(Look::More);
        assert_eq!(Looking::default().see(bytes), bytewise);
        bytewise
    }

    #[test]
    fn the_first_bytes_tell_a_stream_from_a_whole() {
        for stream in [
            "data: {}\n\n",
            "data:{}\n\n",
            "event: message_start\n",
            "id: 1\ndata: {}\n\n",
            "retry: 3000\n\n",
            ": OPENROUTER PROCESSING\n\n",
            "\r\n\r\ndata: [DONE]\r\n\r\n",
            "\u{feff}data: {}\n\n",
            "\u{feff}\n: hi\n\n",
        ] {
            assert_eq!(look(stream.as_bytes()), Look::Is(Form::Stream), "{stream}");
        }
        for whole in [
            "{}",
            "\n\n  {\"id\":1}",
            "[{}]",
            "\u{feff}{}",
            "\u{feff} \t{",
        ] {
            assert_eq!(look(whole.as_bytes()), Look::Is(Form::Whole), "{whole}");
        }
        for neither in [
            "<html>",
            "data is not here",
            "Internal Server Error",
            "events: 1",
        ] {
            assert_eq!(look(neither.as_bytes()), Look::Neither, "{neither}");
        }
        for more in ["", " \n", "\u{feff}", "dat", "even"] {
            assert_eq!(look(more.as_bytes()), Look::More, "{more}");
        }
    }
}
