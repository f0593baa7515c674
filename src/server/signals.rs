//! What tells the server to reload, to hand over or to stop.

use async_trait::async_trait;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;

/// What the server is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Read the files again.
    Reload,
    /// Start the program anew, and let the new process take this one's place.
    Upgrade,
    /// Take no more requests, finish the live ones, stop.
    Drain,
}

/// Where orders come from: signals, or a test.
#[async_trait]
pub trait Shutdown: Send + Sync {
    /// Resolves with the next order.
    async fn next(&self) -> Order;
}

/// SIGTERM and SIGINT drain, SIGHUP reloads, SIGQUIT hands over.
pub struct Signals(Mutex<Option<Listening>>);

struct Listening {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    /// Listens from the first call of [`Shutdown::next`] on, which is within a runtime.
    pub fn new() -> Self {
        Self(Mutex::new(None))
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Shutdown for Signals {
    async fn next(&self) -> Order {
        let mut listening = self.0.lock().await;
        if listening.is_none() {
            *listening = Listening::start()
                .inspect_err(|error| tracing::error!(%error, "signals cannot be received"))
                .ok();
        }
        let Some(listening) = listening.as_mut() else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = listening.terminate.recv() => Order::Drain,
            _ = listening.interrupt.recv() => Order::Drain,
            _ = listening.hang_up.recv() => Order::Reload,
            _ = listening.quit.recv() => Order::Upgrade,
        }
    }
}

impl Listening {
    fn start() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }
}
