//! An upstream that plays a script and keeps every byte that it was sent.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::STUCK;
use super::wire::{Framing, Head, Reader, is_cut};

/// A server on a free port; its script is played anew for each connection.
pub struct Upstream {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    /// Every byte received, connection by connection.
    received: Vec<Vec<u8>>,
    failed: Vec<String>,
}

/// A request that came whole.
#[derive(Debug, Clone)]
pub struct Request {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Request {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Upstream {
    /// Plays `script` on each connection, which is closed where the script ends.
    pub fn start(script: impl Fn(&mut Visit) + Send + Sync + 'static) -> Self {
        Self::serve(None, script)
    }

    /// The same behind TLS.
    pub fn start_tls(
        config: Arc<ServerConfig>,
        script: impl Fn(&mut Visit) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Some(config), script)
    }

    /// Answers every request with the same bytes, and keeps the connection.
    pub fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |visit| {
            while visit.request().is_some() {
                visit.send(&answer);
            }
        })
    }

    /// Answers every request with a small completion.
    pub fn ok() -> Self {
        Self::answering(json_answer(COMPLETION))
    }

    /// The same on a socket that is bound already.
    pub fn listening(listener: TcpListener) -> Self {
        Self::serve_at(listener, None, |visit| {
            while visit.request().is_some() {
                visit.send(json_answer(COMPLETION));
            }
        })
    }

    /// An address where nobody listens.
    pub fn dead() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("a bound socket")
    }

    fn serve(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Visit) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::serve_at(listener, tls, script)
    }

    fn serve_at(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Visit) + Send + Sync + 'static,
    ) -> Self {
        let upstream = Self {
            address: listener.local_addr().expect("a bound socket"),
            log: Arc::default(),
            stop: Arc::default(),
        };
        let (log, stop) = (upstream.log.clone(), upstream.stop.clone());
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let stream = stream.expect("a connection");
                let (log, script, tls) = (log.clone(), script.clone(), tls.clone());
                let number = {
                    let mut log = lock(&log);
                    log.received.push(Vec::new());
                    log.received.len() - 1
                };
                thread::spawn(move || {
                    let mut visit = Visit::new(stream, tls, number, log.clone());
                    let played = catch_unwind(AssertUnwindSafe(|| script(&mut visit)));
                    if let Err(panic) = played {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&t| t.into()));
                        lock(&log).failed.push(text.unwrap_or_default());
                    }
                });
            }
        });
        upstream
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that have come whole so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.log).requests.clone()
    }

    /// The one request that has come.
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Every byte received so far, over all connections.
    pub fn received(&self) -> Vec<u8> {
        lock(&self.log).received.concat()
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.log).received.len()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the listener, which may be gone already.
        let _ = TcpStream::connect(self.address);
        let failed = &lock(&self.log).failed;
        if !thread::panicking() {
            assert!(failed.is_empty(), "the upstream's script: {failed:?}");
        }
    }
}

/// One connection, as the script sees it.
pub struct Visit {
    reader: Reader<Recording>,
    log: Arc<Mutex<Log>>,
}

impl Visit {
    fn new(
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        number: usize,
        log: Arc<Mutex<Log>>,
    ) -> Self {
        stream.set_nodelay(true).expect("an open socket");
        stream
            .set_read_timeout(Some(STUCK))
            .expect("an open socket");
        stream
            .set_write_timeout(Some(STUCK))
            .expect("an open socket");
        let socket = stream.try_clone().expect("an open socket");
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let session = ServerConnection::new(config).expect("a valid configuration");
                Box::new(StreamOwned::new(session, stream))
            }
        };
        Self {
            reader: Reader::new(Recording {
                stream,
                socket,
                number,
                log: log.clone(),
            }),
            log,
        }
    }

    /// The next request's header section; `None` where the gateway has closed.
    pub fn head(&mut self) -> Option<Head> {
        match self.reader.head() {
            Ok(head) => head,
            Err(error) if is_cut(&error) => None,
            Err(error) => panic!("no request: {error}"),
        }
    }

    /// The next request, whole; `None` where the gateway has closed.
    pub fn request(&mut self) -> Option<Request> {
        let head = self.head()?;
        self.body(head)
    }

    /// The rest of the request that began with `head`; `None` where it is cut short.
    pub fn body(&mut self, head: Head) -> Option<Request> {
        let framing = head.framing(false, false).expect("clear framing");
        let body = self.reader.body(framing).expect("a body");
        let request = Request {
            head,
            body: body.bytes,
        };
        if body.whole {
            lock(&self.log).requests.push(request.clone());
        }
        body.whole.then_some(request)
    }

    /// The next request, whole; `None` also where a handshake fails.
    pub fn try_request(&mut self) -> Option<Request> {
        let head = self.reader.head().ok().flatten()?;
        self.body(head)
    }

    /// Reads as many bytes as there is room for.
    pub fn read_exact(&mut self, room: &mut [u8]) {
        self.reader.read_exact(room).expect("so many bytes");
    }

    /// What is left of a body of known length when `read` bytes of it were read.
    pub fn rest(&mut self, head: Head, read: usize) -> Vec<u8> {
        let length: usize = head
            .get("content-length")
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let mut rest = vec![0; length - read];
        self.read_exact(&mut rest);
        rest
    }

    /// Sends the body back in chunks, as it comes.
    pub fn echo(&mut self, head: Head) {
        match head.framing(false, false).expect("clear framing") {
            Framing::Chunked => {
                while let Some(chunk) = self.reader.chunk().expect("a chunk") {
                    self.chunk(chunk);
                }
            }
            Framing::Length(mut left) => {
                while left > 0 {
                    let mut piece = vec![0; left.min(64 << 10)];
                    self.read_exact(&mut piece);
                    left -= piece.len();
                    self.chunk(piece);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Sends back whatever comes, to its end; for protocols other than HTTP.
    pub fn echo_raw(&mut self) {
        loop {
            let said = self.reader.read_some().expect("an end");
            if said.is_empty() {
                return;
            }
            self.send(said);
        }
    }

    /// All that comes, to its end; for protocols other than HTTP.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        self.reader.read_to_end(&mut said).expect("an end");
        said
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let stream = &mut self.reader.stream.stream;
        stream.write_all(bytes.as_ref()).expect("the gateway reads");
        stream.flush().expect("the gateway reads");
    }

    /// Sends until the gateway takes no more; gives whether it took all.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = &mut self.reader.stream.stream;
        stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads whatever comes; a TLS handshake may fail here.
    pub fn try_read(&mut self) -> io::Result<usize> {
        self.reader.stream.read(&mut [0; 4096])
    }

    /// The connection itself, for protocols other than HTTP.
    pub fn stream(&mut self) -> &mut (impl Read + Write + use<>) {
        &mut self.reader.stream
    }

    /// Sends one chunk.
    pub fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let size = format!("{:x}\r\n", bytes.len());
        self.send([size.as_bytes(), bytes, b"\r\n"].concat());
    }

    /// Ends a chunked answer.
    pub fn last_chunk(&mut self) {
        self.send(b"0\r\n\r\n");
    }

    /// Waits until the gateway closes; what it sends before is read and kept.
    pub fn wait_for_close(&mut self) {
        let mut space = [0; 4096];
        loop {
            match self.reader.stream.read(&mut space) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_cut(&error) => return,
                Err(error) => panic!("the gateway does not close: {error}"),
            }
        }
    }

    /// Closes at once; an end of file is on its way when this returns.
    pub fn close(&mut self) {
        let socket = &self.reader.stream.socket;
        socket.shutdown(Shutdown::Both).expect("an open socket");
    }

    /// Closes with a reset when the script ends.
    pub fn reset(&mut self) {
        let socket = SockRef::from(&self.reader.stream.socket);
        socket
            .set_linger(Some(Duration::ZERO))
            .expect("an open socket");
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

struct Recording {
    stream: Box<dyn Stream>,
    socket: TcpStream,
    number: usize,
    log: Arc<Mutex<Log>>,
}

impl Read for Recording {
    fn read(&mut self, space: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(space)?;
        lock(&self.log).received[self.number].extend_from_slice(&space[..read]);
        Ok(read)
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A completion such as an upstream sends.
pub const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}"#;

/// `HTTP/1.1 200` with a JSON body.
pub fn json_answer(body: &str) -> Vec<u8> {
    answer("200 OK", &["Content-Type: application/json"], body)
}

/// A whole answer with a length; each of `fields` is `Name: value`.
pub fn answer(status: &str, fields: &[&str], body: &str) -> Vec<u8> {
    let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The header section of a chunked stream of events.
pub const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

/// An event with a piece of text.
pub fn event(text: &str) -> String {
    let content = serde_json::Value::from(text);
    format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{content}}}}}]}}\n\n"
    )
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
