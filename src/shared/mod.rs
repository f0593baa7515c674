//! The store that the gateways of a fleet share: Valkey or Redis, as one gateway sees it.
//!
//! ```text
//! Store ── ask (a request waits: `shared.deadline`, once) ── later (nobody waits)
//!   │        Breaker: away? then nobody waits at all, and `keep` looks every now and then
//!   ├─ Link    one connection for all, which comes back by itself
//!   └─ Notes   what any gateway may have to go on with: turns, blocks, whose an answer is
//! ```
//!
//! What is counted there is [`crate::quota`]'s.

mod breaker;
mod link;
mod notes;
#[cfg(test)]
pub mod testing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::RedisError;
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::breaker::Breaker;
pub use self::link::{Link, encoded};
pub use self::notes::Notes;
use crate::telemetry::Metrics;

/// How long what nobody waits for may take.
pub const BEHIND: Duration = Duration::from_secs(2);
/// How often it is asked whether it is time to look for a store that is away.
const LOOKED: Duration = Duration::from_secs(1);

/// The shared store.
pub struct Store {
    link: Link,
    deadline: Duration,
    breaker: Breaker,
    /// Told when the store has come back.
    back: Notify,
    metrics: Arc<Metrics>,
}

/// Why a store is of no use, as it says itself: waiting changes nothing.
#[derive(Debug)]
pub struct Refusal(pub String);

impl Store {
    /// A store at `url`, for which a request waits `deadline` at most.
    ///
    /// # Errors
    ///
    /// Says what of the URL cannot be used.
    pub fn new(
        url: &SecretString,
        deadline: Duration,
        metrics: Arc<Metrics>,
    ) -> Result<Self, RedisError> {
        metrics.quota.shared_up.set(1);
        Ok(Self {
            link: Link::new(url, deadline.max(BEHIND))?,
            deadline,
            breaker: Breaker::default(),
            back: Notify::new(),
            metrics,
        })
    }

    /// The way there.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What a request waits for it at most.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What the store says within a request's time; `None` where it cannot say it, which is counted.
    pub async fn ask<T>(&self, asking: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
        let said = match self.breaker.is_closed() {
            true => self.within(self.deadline, asking).await,
            false => None,
        };
        if said.is_none() {
            self.metrics.quota.shared_fallback.inc();
        }
        said
    }

    /// The same where nobody waits for it, and nothing is asked of a store that is away.
    pub async fn later<T>(&self, asking: impl Future<Output = Result<T, RedisError>>) -> Option<T> {
        match self.breaker.is_closed() {
            true => self.within(BEHIND, asking).await,
            false => None,
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        asking: impl Future<Output = Result<T, RedisError>>,
    ) -> Option<T> {
        match timeout(limit, asking).await {
            Ok(Ok(said)) => {
                self.answered();
                Some(said)
            }
            Ok(Err(error)) => {
                self.failed(&error.to_string());
                None
            }
            Err(_) => {
                self.failed("no answer in time");
                None
            }
        }
    }

    fn answered(&self) {
        if self.breaker.answered() {
            tracing::info!("shared store is back");
            self.metrics.quota.shared_up.set(1);
            self.back.notify_one();
        }
    }

    fn failed(&self, why: &str) {
        if self.breaker.failed(Instant::now()) {
            tracing::error!(why, "shared store is out of reach");
        }
        self.metrics.quota.shared_up.set(0);
        // It may have become a replica, or its address another's.
        self.link.let_go();
    }

    /// Waits until the store has come back. For one alone.
    pub async fn comes_back(&self) {
        self.back.notified().await;
    }

    /// Looks whether the store is there again while it is away, for as long as it is polled.
    pub async fn keep(&self) {
        loop {
            sleep(LOOKED).await;
            if !self.breaker.is_closed() && self.breaker.lets_through(Instant::now()) {
                // It is to live in the runtime that polls this, whoever connected last.
                self.link.let_go();
                self.within(BEHIND, self.link.ping()).await;
            }
        }
    }

    /// Looks once whether the store does what is asked of it, `trial` included. One that is out of
    /// reach may yet come; one that refuses will not.
    ///
    /// # Errors
    ///
    /// What it refuses.
    pub async fn greet(
        &self,
        trial: impl Future<Output = Result<(), RedisError>>,
    ) -> Result<(), Refusal> {
        let trial = async {
            // Before the trial, of which one node may take all, and others' keys elsewhere.
            let nodes = self.link.nodes().await?;
            if nodes > 1 {
                return Ok(Err(Refusal(format!(
                    "it is one of the {nodes} nodes of a cluster, which are not spoken to here: name \
                     a server that has all keys, or a proxy before the cluster"
                ))));
            }
            trial.await?;
            self.link.evicts().await.map(Ok)
        };
        match timeout(BEHIND, trial).await {
            Ok(Ok(Err(refusal))) => Err(refusal),
            Ok(Ok(Ok(evicts))) => {
                tracing::info!("shared store reached");
                if let Some(policy) = evicts {
                    tracing::warn!(
                        policy,
                        "the shared store may evict counts when its memory is full; set its \
                         maxmemory-policy to volatile-ttl, which lets go of turns first"
                    );
                }
                Ok(())
            }
            Ok(Err(error)) if link::is_refusal(&error) => Err(Refusal(error.to_string())),
            Ok(Err(error)) => {
                self.failed(&error.to_string());
                Ok(())
            }
            Err(_) => {
                self.failed("no answer in time");
                Ok(())
            }
        }
    }

    /// Whether it is taken to be there.
    pub fn is_up(&self) -> bool {
        self.breaker.is_closed()
    }
}
