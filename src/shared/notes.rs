//! Notes that a gateway leaves for the others of its fleet, since any of them may be asked to go on.
//!
//! Each gateway keeps its own beside, in caches of its own: these are asked only for what it does not
//! have. A note that is gone costs what a restart of one gateway costs: a turn that stands alone, a
//! prompt cache that begins anew. No request fails for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use redis::Pipeline;
use tokio::time::timeout;

use super::{Store, encoded};

/// Bytes of a note at most; a larger one stays with the gateway that has it.
const LARGEST: usize = 1024 * 1024;
/// How long it is known what was erased when: as long as the longest of what it takes stays.
const ERASED: Duration = Duration::from_secs(24 * 60 * 60);
/// Microseconds by which the clocks of gateways may differ. What begins so soon after an erasure is not left
/// for others, who do without.
const APART: i64 = 2_000_000;
/// How long an erasure may take.
const ERASING: Duration = Duration::from_secs(30);
/// Notes that are asked for at once.
const MOST: usize = 128;

/// When what a note tells of began, and the patterns of the erasures that would take it.
#[derive(Debug, Clone)]
pub struct Since {
    /// Unix microseconds, by this machine's clock.
    pub began: i64,
    pub patterns: Vec<String>,
}

/// The notes of a fleet; by default those of nobody.
#[derive(Clone, Default)]
pub struct Notes(Option<Arc<Store>>);

impl Notes {
    /// Those that lie in this store.
    pub fn of(store: Arc<Store>) -> Self {
        Self(Some(store))
    }

    /// Whether there are others who may have left some.
    pub fn are_shared(&self) -> bool {
        self.0.is_some()
    }

    /// What was left under these names of a tenant, each in its place: one round trip, and no longer
    /// than a request waits. Of very many the last are asked for.
    pub async fn find(&self, tenant: &str, names: &[String]) -> Vec<Option<Bytes>> {
        let mut found = vec![None; names.len()];
        let from = names.len().saturating_sub(MOST);
        let asked = &names[from..];
        let Some(store) = self.0.as_ref().filter(|_| !asked.is_empty()) else {
            return found;
        };
        let mut command = redis::cmd("MGET");
        for name in asked {
            command.arg(key(tenant, name));
        }
        let asking = store.link().query::<Vec<Option<Vec<u8>>>>(&command);
        for (place, note) in found[from..]
            .iter_mut()
            .zip(store.ask(asking).await.unwrap_or_default())
        {
            *place = note.map(Bytes::from);
        }
        found
    }

    /// Leaves notes under names of a tenant for `rest`; when it returns, whoever asks finds them, or
    /// the store took longer than a request waits.
    pub async fn keep(&self, tenant: &str, notes: &[(String, Bytes)], rest: Duration) {
        let Some(store) = &self.0 else { return };
        let mut pipeline = Pipeline::new();
        for (name, note) in notes {
            if note.len() > LARGEST {
                tracing::debug!(
                    bytes = note.len(),
                    "too large to be left for other gateways"
                );
                continue;
            }
            let mut command = redis::cmd("SET");
            command.arg(key(tenant, name)).arg(&note[..]);
            command.arg("EX").arg(rest.as_secs());
            pipeline.add_command(command).ignore();
        }
        if !pipeline.is_empty() {
            store.ask(store.link().pipe::<()>(&pipeline)).await;
        }
    }

    /// The same, but nothing stays of what was erased after it had begun.
    pub async fn keep_since(
        &self,
        tenant: &str,
        (name, note): (String, Bytes),
        rest: Duration,
        since: &Since,
    ) {
        let Some(store) = &self.0 else { return };
        // Either the erasure is known by now, or it has yet to look at what there is.
        self.keep(tenant, &[(name.clone(), note)], rest).await;
        let mut marks = redis::cmd("MGET");
        for pattern in &since.patterns {
            marks.arg(key(tenant, &mark(pattern)));
        }
        let asking = store.link().query::<Vec<Option<i64>>>(&marks);
        let erased = store.ask(asking).await;
        let is_gone = |at: &i64| since.began <= at.saturating_add(APART);
        // What cannot be known is not left.
        if erased.is_none_or(|erased| erased.iter().flatten().any(is_gone)) {
            self.forget(tenant, &name).await;
        }
    }

    /// Takes away the notes of a tenant whose names these patterns fit, and those that are yet to come of
    /// what began before. Looks at every key of the store, a part at a time.
    pub async fn erase(&self, tenant: &str, patterns: &[String]) {
        let Some(store) = &self.0 else { return };
        let erasing = async {
            let mut marks = Pipeline::new();
            for pattern in patterns {
                let mut command = redis::cmd("SET");
                command.arg(key(tenant, &mark(pattern))).arg(now());
                command.arg("EX").arg(ERASED.as_secs());
                marks.add_command(command).ignore();
            }
            store.link().pipe::<()>(&marks).await?;
            for pattern in patterns {
                store.link().unlink_all(&key(tenant, pattern)).await?;
            }
            Ok::<_, redis::RedisError>(())
        };
        let why = match timeout(ERASING, erasing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::warn!(
            why,
            "what was left for other gateways of what was erased stays there until its time is over"
        );
    }

    /// Takes a note away.
    pub async fn forget(&self, tenant: &str, name: &str) {
        let Some(store) = &self.0 else { return };
        let mut command = redis::cmd("UNLINK");
        command.arg(key(tenant, name));
        store.ask(store.link().query::<()>(&command)).await;
    }
}

/// The name under which it is known when what fits this pattern was erased.
fn mark(pattern: &str) -> String {
    format!("erased:{pattern}")
}

/// Unix microseconds.
fn now() -> i64 {
    Timestamp::now().as_microsecond()
}

/// All keys of a tenant have one hash tag, so that a cluster keeps them together.
fn key(tenant: &str, name: &str) -> String {
    format!("yychat:{{{}}}:{name}", encoded(tenant))
}
