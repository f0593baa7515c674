//! The ledger of usage: what each key used, by model and day, written behind the requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::RwLock;

use super::budget::{Limit, Unit};
use super::{Account, Spent};
use crate::config::model::Period;
use crate::config::prices::Tokens;
use crate::memory::Memory;
use crate::memory::usage::{Day, Row, Used};

/// How long usage waits to be written with what comes after it.
const GATHER: Duration = Duration::from_secs(2);

/// Usage that is not yet stored, and the store that it goes to.
pub struct Ledger {
    /// Absent where memory is off: usage is then of this process alone, and ends with it.
    memory: Option<Arc<Memory>>,
    waiting: Mutex<BTreeMap<Name, Used>>,
    /// Held while usage is on its way to the store, where whoever reads would find it in neither.
    moving: RwLock<()>,
    /// All of it, where there is no store.
    unstored: Mutex<BTreeMap<Name, Used>>,
}

type Name = (Account, String, Day);

impl Ledger {
    /// A ledger that is kept in the store of `memory`.
    pub fn new(memory: Option<Arc<Memory>>) -> Self {
        Self {
            memory,
            waiting: Mutex::default(),
            moving: RwLock::default(),
            unstored: Mutex::default(),
        }
    }

    /// Notes one request.
    pub fn note(&self, account: &Account, model: &str, tokens: Tokens, micro_usd: u64) {
        let day = Day::of(Timestamp::now());
        let used = Used {
            requests: 1,
            input: tokens.input,
            cached: tokens.cached,
            output: tokens.output,
            micro_usd,
        };
        let name = (account.clone(), model.to_owned(), day);
        self.waiting.lock().entry(name).or_default().add(used);
    }

    /// Writes what waits, every now and then, for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(GATHER).await;
            self.flush().await;
        }
    }

    /// Writes what waits. What the store does not take waits on.
    pub async fn flush(&self) {
        let _moving = self.moving.write().await;
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return;
        }
        let Some(memory) = &self.memory else {
            return merge(&mut self.unstored.lock(), waiting);
        };
        if let Err(error) = memory.add_usage(rows(&waiting)).await {
            tracing::warn!(%error, "usage is not stored yet");
            merge(&mut self.waiting.lock(), waiting);
        }
    }

    /// What was used from one day to another, both included, of one tenant or of all; what waits
    /// is in it.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn read(
        &self,
        tenant: Option<&str>,
        (from, to): (Day, Day),
    ) -> Result<Vec<Row>, crate::memory::StoreError> {
        let _still = self.moving.read().await;
        let mut all: BTreeMap<Name, Used> = BTreeMap::new();
        if let Some(memory) = &self.memory {
            for row in memory.usage(tenant, (from, to)).await? {
                let account = Account {
                    tenant: row.tenant.as_str().into(),
                    key: row.key.as_str().into(),
                };
                all.entry((account, row.model, row.day))
                    .or_default()
                    .add(row.used);
            }
        }
        for part in [&self.waiting, &self.unstored] {
            merge(&mut all, part.lock().clone());
        }
        all.retain(|(account, _, day), _| {
            tenant.is_none_or(|tenant| *account.tenant == *tenant) && (from..=to).contains(day)
        });
        Ok(rows(&all))
    }

    /// Whether it has what other gateways note, too.
    pub fn is_shared(&self) -> bool {
        self.memory
            .as_ref()
            .is_some_and(|memory| memory.is_shared())
    }

    /// What an account has used in the window of each limit that `now` lies in, as far as the ledger,
    /// which counts by days, can tell: minutes and hours begin anew.
    pub async fn spent(&self, account: &Account, limits: &[Limit], now: Timestamp) -> Vec<Spent> {
        let today = Day::of(now);
        let rows = self.read(Some(&account.tenant), (today.first_of_month(), today));
        let rows = rows.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "budgets begin without what was used before");
            Vec::new()
        });
        let of = |limit: &Limit| {
            let counted = rows.iter().filter(|row| {
                *row.key == *account.key
                    && match limit.per {
                        Period::Minute | Period::Hour => false,
                        Period::Day => row.day == today,
                        Period::Month => true,
                    }
            });
            let amounts = counted.map(|row| match limit.unit {
                Unit::Tokens => row.used.input + row.used.output,
                Unit::MicroUsd => row.used.micro_usd,
            });
            Spent {
                unit: limit.unit,
                per: limit.per,
                amount: amounts.sum(),
            }
        };
        limits.iter().map(of).collect()
    }
}

fn merge(into: &mut BTreeMap<Name, Used>, from: BTreeMap<Name, Used>) {
    for (name, used) in from {
        into.entry(name).or_default().add(used);
    }
}

fn rows(of: &BTreeMap<Name, Used>) -> Vec<Row> {
    of.iter()
        .map(|((account, model, day), used)| Row {
            tenant: account.tenant.to_string(),
            key: account.key.to_string(),
            model: model.clone(),
            day: *day,
            used: *used,
        })
        .collect()
}
