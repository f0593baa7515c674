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

use parking_lot::Mutex;
use redis::RedisError;
use secrecy::SecretString;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::breaker::Breaker;
pub use self::link::{Link, encoded};
pub use self::notes::{Notes, Since};
use crate::telemetry::Metrics;

/// How long what nobody waits for may take.
pub const BEHIND: Duration = Duration::from_secs(2);
/// How often it is told at most that a key is passed over.
const TOLD: Duration = Duration::from_secs(60);
/// How often it is asked whether it is time to look for a store that is away.
const LOOKED: Duration = Duration::from_secs(1);

/// The shared store.
pub struct Store {
    link: Link,
    deadline: Duration,
    breaker: Breaker,
    /// Told when the store has come back.
    back: Notify,
    /// When it was said last that a key holds what no gateway wrote there.
    told: Mutex<Option<Instant>>,
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
            told: Mutex::default(),
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
            Ok(Err(error)) if link::is_of_a_key(&error) => {
                self.answered();
                self.passes_over(&error);
                None
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

    /// Tells that a key is passed over, which holds something else than what gateways keep there.
    fn passes_over(&self, why: &RedisError) {
        let now = Instant::now();
        let mut told = self.told.lock();
        if told.is_none_or(|told| now.duration_since(told) >= TOLD) {
            *told = Some(now);
            tracing::warn!(
                %why,
                "a key of the shared store holds what no gateway wrote there, and is passed over: \
                 delete it; they all begin with `yychat:`"
            );
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
            Ok(Err(error)) if link::is_of_a_key(&error) => {
                self.passes_over(&error);
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::testing::Server;
    use super::*;

    fn store(url: &str) -> Store {
        let minute = Duration::from_secs(60);
        Store::new(&url.into(), minute, Arc::new(Metrics::new())).expect("a store")
    }

    #[tokio::test]
    async fn a_key_that_holds_something_else_is_no_fault_of_the_store() {
        let server = Server::start();
        let store = store(&server.url());
        let mut odd = redis::cmd("HSET");
        odd.arg("yychat:{t}:odd").arg("a").arg("b");
        assert_eq!(store.ask(store.link().query::<i64>(&odd)).await, Some(1));
        let script = redis::Script::new("return redis.call('INCR', KEYS[1])");
        let mut call = script.prepare_invoke();
        call.key("yychat:{t}:odd");
        let mut read = redis::cmd("GET");
        read.arg("yychat:{t}:odd");
        for _ in 0..2 {
            let counted = store.ask(store.link().invoke::<i64>(&call)).await;
            let found = store.later(store.link().query::<String>(&read)).await;
            assert_eq!((counted, found), (None, None));
            assert!(store.is_up());
        }
        let trial = store.link().invoke::<i64>(&call);
        let trial = async { trial.await.map(drop) };
        store.greet(trial).await.expect("no refusal");
    }

    /// A server that is one of three nodes, and does whatever is asked of it.
    fn node() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let said = BufReader::new(client.try_clone().expect("a socket"));
                let mut lines = said.lines().map_while(Result::ok);
                while let Some(count) = lines.next() {
                    let count: usize = count[1..].parse().expect("a number of words");
                    let words: Vec<String> = (0..count).filter_map(|_| lines.nth(1)).collect();
                    let answer = match words[0].as_str() {
                        "CLUSTER" => "$16\r\ncluster_size:3\r\n\r\n",
                        _ => "+OK\r\n",
                    };
                    client.write_all(answer.as_bytes()).expect("a client");
                }
            }
        });
        format!("redis://{address}")
    }

    #[tokio::test]
    async fn a_node_of_a_cluster_is_refused() {
        let refusal = store(&node()).greet(async { Ok(()) }).await;
        let why = refusal.expect_err("others have keys that it has not").0;
        assert!(why.contains("one of the 3 nodes of a cluster"), "{why}");
    }
}
