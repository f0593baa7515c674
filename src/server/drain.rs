//! The drain: stop accepting, finish what is live, and be gone within a second of the last.
//!
//! pingora 0.9.1 sleeps its whole grace period at SIGTERM and then cuts what is live. So its
//! services are given a watch of our own, which closes the listeners; pingora itself is told to
//! stop only when nothing is live any more.
//!
//! Where another process has taken this one's place, idle connections are not closed under a
//! request that may be on its way: each has a while to bring one more, after which it is closed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{Service, listening};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::raise;
use crate::snapshot::Store;
use crate::telemetry::Metrics;

/// How long idle connections outlive the listeners after an upgrade. Clients that pool connections
/// seldom use one that was idle for longer.
const LINGER: Duration = Duration::from_secs(5);
/// How often it is seen whether any is left.
const LOOK: Duration = Duration::from_millis(20);

/// What the drain needs to know.
pub struct Drain {
    live: TaskTracker,
    draining: Arc<AtomicBool>,
    store: Arc<Store>,
    metrics: Arc<Metrics>,
    close_first: watch::Sender<bool>,
    close_last: watch::Sender<bool>,
    let_go: watch::Sender<bool>,
}

/// What becomes of the listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nobody listens any more.
    Gone,
    /// Another process does.
    Succeeded,
}

impl Drain {
    /// Waits for `live` requests for at most `timeouts.drain`, and shows others that it is
    /// `draining`.
    pub fn new(
        live: TaskTracker,
        draining: Arc<AtomicBool>,
        store: Arc<Store>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            live,
            draining,
            store,
            metrics,
            close_first: watch::channel(false).0,
            close_last: watch::channel(false).0,
            let_go: watch::channel(false).0,
        }
    }

    /// Keeps idle connections to `app` until the drain lets go of them.
    pub fn lingering<A>(&self, app: A) -> Lingering<A> {
        Lingering {
            app: Arc::new(app),
            let_go: self.let_go.subscribe(),
        }
    }

    /// Lets `service` listen on the sockets `fds` until the drain begins.
    pub fn first<S>(&self, service: S, fds: ListenFds) -> Drained<S> {
        Drained {
            service,
            fds: Some(fds),
            close: self.close_first.subscribe(),
        }
    }

    /// Lets `service` listen until the drain is over, or another process answers there.
    pub fn last<S>(&self, service: S) -> Drained<S> {
        Drained {
            service,
            fds: None,
            close: self.close_last.subscribe(),
        }
    }

    /// Stops accepting, and returns when nothing is live any more.
    pub async fn run(&self, then: Then) {
        raise(&self.draining);
        self.live.close();
        tracing::info!(live = self.live.len(), "draining");
        // The services may have ended already; then nobody needs to hear it.
        self.close_first.send_replace(true);
        if then == Then::Succeeded {
            self.close_last.send_replace(true);
            self.linger().await;
        }
        self.let_go.send_replace(true);
        let cap = self.store.load().config.timeouts.drain;
        if tokio::time::timeout(cap, self.live.wait()).await.is_err() {
            tracing::warn!(live = self.live.len(), ?cap, "drain cut short");
        }
        self.close_last.send_replace(true);
    }

    async fn linger(&self) {
        let began = Instant::now();
        while self.metrics.connections.get() > 0 && began.elapsed() < LINGER {
            sleep(LOOK).await;
        }
    }
}

/// An application whose idle connections outlive its listener.
pub struct Lingering<A> {
    app: Arc<A>,
    let_go: watch::Receiver<bool>,
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Lingering<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        // In a task of its own: pingora's holds room for a handshake, which is over or none, as long as it lives.
        let (app, shutdown) = (self.app.clone(), shutdown.clone());
        tokio::spawn(listening::Service::handle_event(stream, app, shutdown));
        None
    }

    async fn cleanup(&self) {
        let mut let_go = self.let_go.clone();
        // An error means that the drain is gone, and the process with it.
        let _ = let_go.wait_for(|gone| *gone).await;
        self.app.cleanup().await;
    }
}

/// A service that listens on sockets bound before, its own or those given, and closes when the
/// drain says so.
pub struct Drained<S> {
    service: S,
    fds: Option<ListenFds>,
    close: ShutdownWatch,
}

#[async_trait]
impl<S: Service> Service for Drained<S> {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        _shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        self.service
            .start_service(self.fds.clone(), self.close.clone(), listeners_per_fd)
            .await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
