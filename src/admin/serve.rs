//! Serving the admin listener: plain HTTP/1 out of one router.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::snapshot::Store;

/// Connections at most: some browsers, and whatever scrapes.
const CONNECTIONS: usize = 512;
/// How long no more is accepted after the system had no descriptor left.
const OUT_OF_FILES: Duration = Duration::from_secs(1);

/// Answers what comes to `listener` out of `router`, for as long as it is polled. `store` tells the
/// limits of a request's header, as they are when its connection comes.
pub async fn serve(listener: TcpListener, router: Router, store: Arc<Store>) -> Infallible {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match room.clone().try_acquire_owned() {
                Ok(place) => {
                    tokio::spawn(converse(stream, router.clone(), store.clone(), place));
                }
                Err(_) => tracing::warn!(most = CONNECTIONS, "admin connection turned away"),
            },
            Err(error) if is_its_own(error.kind()) => {}
            Err(error) => {
                tracing::error!(%error, "the admin listener accepts nothing for now");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
}

/// Whether the connection that was to be accepted failed, and not the listener.
fn is_its_own(error: ErrorKind) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error,
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// One connection, to its end.
async fn converse(
    stream: TcpStream,
    router: Router,
    store: Arc<Store>,
    _place: OwnedSemaphorePermit,
) {
    let serving = {
        let config = &store.load().config;
        http1::Builder::new()
            .timer(TokioTimer::new())
            // The wait for the next request counts in it.
            .header_read_timeout(config.timeouts.header.max(config.timeouts.keepalive))
            .max_headers(config.limits.header_fields)
            .max_buf_size(config.limits.header_bytes.max(LEAST_BUFFER))
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request: http::Request<Incoming>| {
                    let request: Request = request.map(Body::new);
                    router.clone().oneshot(request)
                }),
            )
    };
    // The client left, was late, or sent what is no HTTP: it was answered where it can be.
    if let Err(error) = serving.await {
        tracing::debug!(%error, "admin connection ended");
    }
}

/// What hyper takes at least.
const LEAST_BUFFER: usize = 8 * 1024;
