//! The drain: stop accepting, finish what is live, and be gone within a second of the last.
//!
//! pingora 0.9.1 sleeps its whole grace period at SIGTERM and then cuts what is live. So its
//! services are given a watch of our own, which closes the listeners; pingora itself is told to
//! stop only when nothing is live any more.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::Service;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::raise;
use super::signals::{Order, Shutdown};
use crate::snapshot::Store;

/// What the drain needs to know.
pub struct Drain {
    live: TaskTracker,
    draining: Arc<AtomicBool>,
    store: Arc<Store>,
    close: watch::Sender<bool>,
}

impl Drain {
    /// Waits for `live` requests for at most `timeouts.drain`, and shows others that it is
    /// `draining`.
    pub fn new(live: TaskTracker, draining: Arc<AtomicBool>, store: Arc<Store>) -> Self {
        Self {
            live,
            draining,
            store,
            close: watch::channel(false).0,
        }
    }

    /// Lets `service` listen on the sockets `fds` until the drain begins.
    pub fn first<S>(&self, service: S, fds: ListenFds) -> Drained<S> {
        Drained {
            service,
            fds,
            close: Some(self.close.subscribe()),
        }
    }

    /// Lets `service` listen on the sockets `fds` until the drain is over.
    pub fn last<S>(&self, service: S, fds: ListenFds) -> Drained<S> {
        Drained {
            service,
            fds,
            close: None,
        }
    }

    /// Follows the orders of `shutdown`, and calls `reload` when one asks for it.
    pub fn on<R: Fn() + Send + Sync>(self, shutdown: Arc<dyn Shutdown>, reload: R) -> Orders<R> {
        Orders {
            drain: self,
            shutdown,
            reload,
        }
    }

    async fn run(&self) {
        tracing::info!(live = self.live.len(), "draining");
        raise(&self.draining);
        // The services may have ended already; then nobody needs to hear it.
        let _ = self.close.send(true);
        self.live.close();
        let cap = self.store.load().config.timeouts.drain;
        if tokio::time::timeout(cap, self.live.wait()).await.is_err() {
            tracing::warn!(live = self.live.len(), ?cap, "drain cut short");
        }
    }
}

/// pingora's source of shutdown signals, ours underneath.
pub struct Orders<R> {
    drain: Drain,
    shutdown: Arc<dyn Shutdown>,
    reload: R,
}

#[async_trait]
impl<R: Fn() + Send + Sync> ShutdownSignalWatch for Orders<R> {
    async fn recv(&self) -> ShutdownSignal {
        loop {
            match self.shutdown.next().await {
                Order::Reload => (self.reload)(),
                Order::Drain => {
                    self.drain.run().await;
                    return ShutdownSignal::GracefulTerminate;
                }
            }
        }
    }
}

/// A service that listens on sockets bound before, and closes when the drain says so.
pub struct Drained<S> {
    service: S,
    fds: ListenFds,
    /// `None`: when pingora stops.
    close: Option<ShutdownWatch>,
}

#[async_trait]
impl<S: Service> Service for Drained<S> {
    async fn start_service(
        &mut self,
        _fds: Option<ListenFds>,
        shutdown: ShutdownWatch,
        listeners_per_fd: usize,
    ) {
        let close = self.close.clone().unwrap_or(shutdown);
        self.service
            .start_service(Some(self.fds.clone()), close, listeners_per_fd)
            .await;
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}
