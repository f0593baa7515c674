//! A client on a bare socket.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;
use socket2::SockRef;

use super::STUCK;
use super::wire::{Body, Framing, Head, Reader};

/// A whole request `POST path`; each of `fields` is `Name: value`.
pub fn post(path: &str, fields: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: gateway.test\r\n");
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [request.as_bytes(), body].concat()
}

/// A whole chat request.
pub fn chat(fields: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let json = "Content-Type: application/json";
    post("/v1/chat/completions", &[&[json], fields].concat(), body)
}

/// A whole `GET path`.
pub fn get(path: &str, fields: &[&str]) -> Vec<u8> {
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{lines}\r\n").into_bytes()
}

/// `body` in chunks of `size`.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(size) {
        framed.extend(format!("{:x}\r\n", chunk.len()).bytes());
        framed.extend(chunk);
        framed.extend(b"\r\n");
    }
    framed.extend(b"0\r\n\r\n");
    framed
}

/// A response, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    pub head: Head,
    pub body: Vec<u8>,
    /// It came to the end that its framing announced.
    pub whole: bool,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that it is an error in OpenAI's shape and gives the error.
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status(), status, "{}", self.text());
        assert_eq!(self.head.get("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&self.body).expect("JSON");
        let error = body["error"].as_object().expect("an error object");
        let keys: Vec<_> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "message", "param", "type"]);
        assert!(error["message"].is_string() && error["type"].is_string());
        body["error"].clone()
    }
}

/// A connection to the gateway.
pub struct Client {
    reader: Reader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the gateway listens"))
    }

    /// A client that takes no more than a few kilobytes before the other side has to wait.
    pub fn connect_narrow(address: SocketAddr) -> Self {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, kind, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        socket
            .connect(&address.into())
            .expect("the gateway listens");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("an open socket");
        stream
            .set_read_timeout(Some(STUCK))
            .expect("an open socket");
        stream
            .set_write_timeout(Some(STUCK))
            .expect("an open socket");
        Self {
            reader: Reader::new(stream),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = &mut self.reader.stream;
        stream.write_all(bytes.as_ref()).expect("the gateway reads");
    }

    /// Sends as much as the gateway takes before it closes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        match self.reader.stream.write_all(bytes.as_ref()) {
            Err(error) if !super::wire::is_cut(&error) => panic!("{error}"),
            _ => {}
        }
    }

    /// The header section of the next response.
    pub fn head(&mut self) -> Head {
        let head = self.reader.head().expect("a header section");
        head.expect("an answer, not a closed connection")
    }

    /// One chunk of a chunked answer; `None` is its end.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.reader.chunk().expect("a chunk")
    }

    /// Reads chunks until `length` bytes of the body have come.
    pub fn chunks(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend(self.chunk().expect("more of the body"));
        }
        bytes
    }

    /// What is left of a body.
    pub fn body(&mut self, framing: Framing) -> Body {
        self.reader.body(framing).expect("a body")
    }

    /// All that comes, to the end; for protocols other than HTTP.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>) {
        self.reader.read_to_end(into).expect("an end");
    }

    /// The next response, whole.
    pub fn response(&mut self) -> Response {
        self.response_to("POST")
    }

    /// The next response; one to HEAD has no body.
    pub fn response_to(&mut self, method: &str) -> Response {
        let head = self.head();
        let bodyless = method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304);
        let framing = head.framing(true, bodyless).expect("clear framing");
        let body = self.body(framing);
        Response {
            head,
            body: body.bytes,
            whole: body.whole,
        }
    }

    /// Sends a request and reads the response, which is as it is described where it is one of the
    /// gateway's own.
    pub fn exchange(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(&request);
        let response = self.response();
        super::openapi::judge(request.as_ref(), &response);
        response
    }

    /// Whether the gateway has closed the connection, and has sent nothing more before it.
    pub fn is_closed(&mut self) -> bool {
        self.reader.at_end().expect("an end, or more")
    }

    /// Sends no more, and goes on reading.
    pub fn finish(&mut self) {
        match self.reader.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => panic!("{error}"),
            _ => {}
        }
    }

    /// Leaves with a reset.
    pub fn reset(self) {
        let stream = &self.reader.stream;
        let linger = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        linger.expect("an open socket");
    }

    /// Another handle to write with.
    pub fn writer(&self) -> TcpStream {
        self.reader.stream.try_clone().expect("an open socket")
    }

    /// The bare socket, with nothing read and kept.
    pub fn into_stream(self) -> TcpStream {
        self.reader.stream
    }
}
