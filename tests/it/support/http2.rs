//! HTTP/2, on either side of the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::STUCK;

/// An answer over HTTP/2.
pub struct Answer {
    pub head: http::response::Parts,
    pub body: Vec<u8>,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its last bytes.
    WithBytes,
    /// By a frame without any, as many clients do that do not know the length.
    ByItself,
}

/// Sends one request with prior knowledge and reads the answer.
pub fn exchange(address: SocketAddr, request: Request<Vec<u8>>) -> Answer {
    exchange_ending(address, request, End::WithBytes)
}

/// The same, with the end of its body told one way or the other.
pub fn exchange_ending(address: SocketAddr, request: Request<Vec<u8>>, end: End) -> Answer {
    runtime().block_on(async {
        timeout(STUCK, exchanging(address, request, end))
            .await
            .expect("an answer")
            .expect("HTTP/2")
    })
}

/// Sends one request without a body and gives what comes of the answer's before it is cut.
pub fn until_cut(address: SocketAddr, request: Request<Vec<u8>>) -> Vec<u8> {
    let reading = async {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (mut sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let driver = tokio::spawn(connection);
        let (response, _) = sender
            .send_request(request.map(drop), true)
            .expect("HTTP/2");
        let mut bytes = Vec::new();
        if let Ok(response) = response.await {
            let mut body = response.into_body();
            while let Some(Ok(chunk)) = body.data().await {
                bytes.extend_from_slice(&chunk);
            }
        }
        driver.abort();
        bytes
    };
    runtime().block_on(async { timeout(STUCK, reading).await.expect("an end") })
}

async fn exchanging(
    address: SocketAddr,
    request: Request<Vec<u8>>,
    end: End,
) -> Result<Answer, h2::Error> {
    let stream = TcpStream::connect(address)
        .await
        .expect("the gateway listens");
    let (mut sender, connection) = h2::client::handshake(stream).await?;
    let driver = tokio::spawn(connection);
    let (head, body) = request.into_parts();
    let (response, stream) = sender.send_request(Request::from_parts(head, ()), body.is_empty())?;
    // The answer is read while the body is sent: it may come first.
    let (sent, answer) = tokio::join!(send(stream, body.into(), end), async {
        let (head, mut body) = response.await?.into_parts();
        let bytes = collect(&mut body).await?;
        Ok(Answer { head, body: bytes })
    });
    // An early answer leaves the rest of the body unsent.
    let _ = sent;
    driver.abort();
    answer
}

/// Sends a whole body within the other side's window.
async fn send(mut stream: SendStream<Bytes>, mut body: Bytes, end: End) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(granted) = granted else {
            return Ok(());
        };
        let piece = body.split_to(granted?.min(body.len()));
        stream.send_data(piece, body.is_empty() && end == End::WithBytes)?;
        if body.is_empty() && end == End::ByItself {
            stream.send_data(Bytes::new(), true)?;
        }
    }
    Ok(())
}

async fn collect(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// What an HTTP/2 upstream was sent.
#[derive(Debug, Clone)]
pub struct Received {
    pub uri: http::Uri,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An HTTP/2 upstream that answers everything with the same chunks.
pub struct Upstream {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// With prior knowledge, or behind TLS where `tls` is given.
    pub fn start(
        tls: Option<Arc<ServerConfig>>,
        content_type: &'static str,
        chunks: &'static [&'static str],
    ) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("an open socket");
        let address = listener.local_addr().expect("a bound socket");
        let received = Arc::default();
        let (stop, stopped) = oneshot::channel();
        let log = Arc::clone(&received);
        let thread = thread::spawn(move || {
            let runtime = runtime();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listening socket");
                let accepting = async {
                    loop {
                        let (stream, _) = listener.accept().await.expect("a connection");
                        let (tls, log) = (tls.clone(), Arc::clone(&log));
                        tokio::spawn(async move {
                            match tls {
                                None => serve(stream, log, content_type, chunks).await,
                                Some(config) => {
                                    let accepted = TlsAcceptor::from(config).accept(stream).await;
                                    let stream = accepted.expect("a TLS handshake");
                                    serve(stream, log, content_type, chunks).await;
                                }
                            }
                        });
                    }
                };
                tokio::select! {
                    () = accepting => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            received,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn received(&self) -> Vec<Received> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        drop(self.stop.take());
        let thread = self.thread.take().expect("it is joined here alone");
        let ended = thread.join();
        if !thread::panicking() {
            ended.expect("the upstream does not panic");
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    log: Arc<Mutex<Vec<Received>>>,
    content_type: &'static str,
    chunks: &'static [&'static str],
) {
    // The gateway may end the connection in any way it likes when it is done.
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let (head, mut body) = request.into_parts();
            let body = collect(&mut body).await.expect("a whole body");
            let received = Received {
                uri: head.uri,
                headers: head.headers,
                body,
            };
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(received);
            let head = Response::builder()
                .header("content-type", content_type)
                .body(())
                .expect("a valid header");
            let mut stream = respond.send_response(head, false).expect("an open stream");
            for chunk in chunks {
                stream
                    .send_data(Bytes::from_static(chunk.as_bytes()), false)
                    .expect("open");
            }
            stream.send_data(Bytes::new(), true).expect("open");
        });
    }
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}
