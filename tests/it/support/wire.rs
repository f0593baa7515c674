//! HTTP/1 messages as they are on the wire, read strictly: what a lenient reader would let pass
//! is an error here, since it is the gateway's output that is read.

use std::io::{self, ErrorKind, Read};

/// A request's or response's header section.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// Request line or status line.
    pub first_line: String,
    /// Names and values in order, as they were sent.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The value of a field that stands once at most.
    pub fn get(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() <= 1, "{name} stands {} times", values.len());
        values.first().copied()
    }

    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter();
        let named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1);
        status
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("a status line, not {:?}", self.first_line))
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        let target = self.first_line.split(' ').nth(1);
        target.unwrap_or_else(|| panic!("a request line, not {:?}", self.first_line))
    }

    fn parse(section: &[u8]) -> io::Result<Self> {
        // One byte a character, so that nothing is lost.
        let text: String = section.iter().map(|&byte| char::from(byte)).collect();
        let mut lines = text.split("\r\n");
        let first_line = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(format!("no colon in {line:?}")))?;
            if value.contains(['\n', '\r', '\0']) {
                return Err(invalid(format!("a control character in {line:?}")));
            }
            Ok((name.to_owned(), value.trim().to_owned()))
        });
        Ok(Self {
            first_line,
            fields: fields.collect::<io::Result<_>>()?,
        })
    }

    /// How the body that follows is framed; `bodyless` where none may follow.
    pub fn framing(&self, is_response: bool, bodyless: bool) -> io::Result<Framing> {
        let lengths = self.all("content-length");
        let codings = self.all("transfer-encoding");
        match (&lengths[..], &codings[..]) {
            _ if bodyless => Ok(Framing::None),
            ([], []) if is_response => Ok(Framing::ToEnd),
            ([], []) => Ok(Framing::None),
            ([length], []) => {
                let length = length.parse().map_err(|_| invalid(format!("{length:?}")))?;
                Ok(Framing::Length(length))
            }
            ([], ["chunked"]) => Ok(Framing::Chunked),
            _ => Err(invalid(format!("ambiguous framing: {self:?}"))),
        }
    }
}

/// How a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    ToEnd,
}

/// A body and how it came.
#[derive(Debug, Clone)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// It came to the end that its framing announced.
    pub whole: bool,
}

/// Reads messages from a stream.
pub struct Reader<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl<S: Read> Reader<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    /// The next header section; `None` where the stream ends before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut searched = 0;
        loop {
            if let Some(end) = find(&self.buffer[searched..], b"\r\n\r\n") {
                let section: Vec<u8> = self.buffer.drain(..searched + end + 4).collect();
                return Head::parse(&section[..section.len() - 4]).map(Some);
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.fill()? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    /// The body; cut short where the stream ends or is reset first.
    pub fn body(&mut self, framing: Framing) -> io::Result<Body> {
        let mut bytes = Vec::new();
        let whole = match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.take(length, &mut bytes),
            Framing::Chunked => self.chunks(&mut bytes),
            Framing::ToEnd => self.rest(&mut bytes),
        };
        match whole {
            Ok(()) => Ok(Body { bytes, whole: true }),
            Err(error) if is_cut(&error) => Ok(Body {
                bytes,
                whole: false,
            }),
            Err(error) => Err(error),
        }
    }

    /// One chunk of a chunked body; `None` is its end.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let digits_alone = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits_alone {
            return Err(invalid(format!("the chunk size is {line:?}")));
        }
        let size = usize::from_str_radix(&line, 16).map_err(|_| invalid(line))?;
        let mut chunk = Vec::new();
        self.take(size, &mut chunk)?;
        let end = self.line()?;
        if !end.is_empty() {
            return Err(invalid(format!("{end:?} where a chunk ends")));
        }
        Ok((size > 0).then_some(chunk))
    }

    /// Whether the stream ends here, by an end of file or a reset.
    pub fn at_end(&mut self) -> io::Result<bool> {
        if !self.buffer.is_empty() {
            return Ok(false);
        }
        match self.fill() {
            Ok(read) => Ok(read == 0),
            Err(error) if is_cut(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// As many bytes as there is room for.
    pub fn read_exact(&mut self, room: &mut [u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(room.len());
        self.take(room.len(), &mut bytes)?;
        room.copy_from_slice(&bytes);
        Ok(())
    }

    /// All that comes, to the end.
    pub fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.rest(bytes)
    }

    /// What has come, or comes next; nothing at the end.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    fn chunks(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        while let Some(chunk) = self.chunk()? {
            bytes.extend(chunk);
        }
        Ok(())
    }

    fn rest(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        loop {
            bytes.append(&mut self.buffer);
            if self.fill()? == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut missing = length;
        loop {
            let now = missing.min(self.buffer.len());
            bytes.extend(self.buffer.drain(..now));
            missing -= now;
            if missing == 0 {
                return Ok(());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return String::from_utf8(line[..end].to_vec())
                    .map_err(|_| invalid("not text".to_owned()));
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut space = [0; 64 * 1024];
        let read = self.stream.read(&mut space)?;
        self.buffer.extend_from_slice(&space[..read]);
        Ok(read)
    }
}

/// Whether the other side ended the connection, in whichever way.
pub fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

pub fn find(bytes: &[u8], sought: &[u8]) -> Option<usize> {
    bytes
        .windows(sought.len())
        .position(|window| window == sought)
}

fn invalid(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}
