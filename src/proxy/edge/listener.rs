//! What stands between accepted connections and pingora's HTTP: a count, TLS, and the guard.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::StatusCode;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::ALPN;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{Peek, Stream};
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;

use super::framing::{self, HeaderLimits};
use super::guard::Guarded;
use super::tls::Tls;
use crate::error::ApiError;
use crate::snapshot::Store;
use crate::telemetry::Metrics;

/// Bytes of the preface of an HTTP/2 connection.
const H2_PREFACE: usize = 24;
/// HTTP/2 windows to clients: pingora's 64 KiB make an upload wait for a round trip each. What is in a
/// window lies in memory while nobody reads it, so a connection has not room for all of its streams.
const H2_STREAM_WINDOW: u32 = 256 << 10;
const H2_CONNECTION_WINDOW: u32 = 2 << 20;

/// Wraps an HTTP application: its connections are counted and guarded.
pub struct Guard<A> {
    app: Arc<Armed<A>>,
    snapshots: Arc<Store>,
    /// Absent where `server.tls` is.
    tls: Option<Tls>,
    most: usize,
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// Tells the guard of each connection where a request begins.
struct Armed<A> {
    app: Arc<A>,
    options: HttpServerOptions,
    h2: H2Options,
}

impl<A: HttpServerApp + Send + Sync + 'static> Guard<A> {
    /// Guards `app` by the limits and timeouts of the generation that a connection begins with;
    /// those of HTTP/2, and how many connections there may be, are the first generation's.
    pub fn new(app: A, snapshots: Arc<Store>, metrics: Arc<Metrics>, tls: Option<Tls>) -> Self {
        let config = &snapshots.load().config;
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(config.timeouts.keepalive);
        let mut h2 = H2Options::new();
        h2.max_concurrent_streams(config.limits.h2_streams)
            .max_header_list_size(u32::try_from(config.limits.header_bytes).unwrap_or(u32::MAX))
            .initial_window_size(H2_STREAM_WINDOW)
            .initial_connection_window_size(H2_CONNECTION_WINDOW);
        Self {
            app: Arc::new(Armed {
                app: Arc::new(app),
                options,
                h2,
            }),
            tls,
            most: config.limits.connections,
            snapshots,
            open: Arc::default(),
            metrics,
        }
    }

    /// Puts TLS, where it is spoken, and the guard before a connection.
    async fn greet(&self, mut stream: Stream) -> io::Result<Box<Guarded>> {
        let (limits, within) = {
            let config = &self.snapshots.load().config;
            (HeaderLimits::of(config), config.timeouts.handshake)
        };
        if let Some(tls) = &self.tls {
            stream = tls.accept(stream, within).await?;
        }
        let speaks_h2 = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        let mut guarded = Box::new(Guarded::new(stream, limits, self.metrics.clone()));
        if speaks_h2 {
            // The rest of its handshake, for which h2 would wait without end.
            guarded.try_peek(&mut [0; H2_PREFACE]).await?;
        }
        Ok(guarded)
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for Guard<A> {
    async fn process_new(
        self: &Arc<Self>,
        mut stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // From here on, which is before TLS and before its first byte.
        let _counted = Counted::new(&self.open, &self.metrics);
        if self.open.load(Ordering::Relaxed) > self.most {
            self.metrics.reject("connections");
            // Without a handshake there are no words for a client of TLS.
            if self.tls.is_none() {
                Box::pin(turn_away(&mut stream, self.most)).await;
            }
            return None;
        }
        // Boxed, so that the connection holds no room for a handshake that is over.
        let guarded = match Box::pin(self.greet(stream)).await {
            Ok(guarded) => guarded,
            Err(error) => {
                self.metrics.reject("handshake");
                tracing::debug!(%error, "a client shook no hands");
                return None;
            }
        };
        self.app.process_new(guarded, shutdown).await
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for Armed<A> {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if let Some(guarded) = Guarded::of(&session) {
            guarded.arm();
        }
        self.app.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

/// A connection in the count for as long as it lives.
struct Counted {
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Counted {
    fn new(open: &Arc<AtomicUsize>, metrics: &Arc<Metrics>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        metrics.connections.inc();
        Self {
            open: open.clone(),
            metrics: metrics.clone(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.connections.dec();
    }
}

async fn turn_away(stream: &mut Stream, most: usize) {
    let mut error = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("The gateway holds {most} connections already. Try again shortly."),
    );
    error.retry_after = Some(1);
    // The connection closes next, whether the client hears of it or not.
    let _ = stream.write_all(&framing::refusal(&error)).await;
    let _ = stream.flush().await;
}
