//! Works off the queue, one exchange at a time, so that each finds the facts of the one before.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::learnt::{Learnt, is_fact};
use super::prompt::Asked;
use super::{Extraction, Feed, ModelError};
use crate::memory::bill::Bill;
use crate::memory::cache::Scopes;
use crate::memory::index::{Clock, Query};
use crate::memory::queue::WeakJobs;
use crate::memory::ranking::Unwanted;
use crate::memory::record::Record;
use crate::memory::stats::{Counters, Extracted};
use crate::memory::store::{MemoryStore, Pending, SET_ASIDE, StoreError};
use crate::memory::writer::Job;

/// Tries after which an exchange is set aside.
const TRIES: u32 = 5;

/// Until the second try, in milliseconds; each later one waits four times as long: five tries take
/// an hour and a half.
const BACK_OFF: i64 = 60_000;

/// Pauses of everything while the upstream fails: after the first failure, and at most.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How often the queue is looked at unasked: for what other gateways queued, and what is due again.
const POLL: Duration = Duration::from_secs(5);

/// Milliseconds beyond the model's time for which a claim holds.
const SLACK: i64 = 60_000;

/// Facts that the model is shown: those that the exchange reminds of, then the latest.
const SHOWN: usize = 12;

/// Records among which those that the exchange reminds of are looked for.
const LOOKED_AT: usize = 200;

/// Takes exchanges from the store's queue and gives what they teach to the writer.
#[derive(Clone)]
pub struct Worker {
    pub store: Arc<dyn MemoryStore>,
    pub scopes: Scopes,
    pub counters: Arc<Counters>,
    pub jobs: WeakJobs,
}

/// What one look at the queue came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is due, or the store does not say.
    Idle,
    /// The model was not asked.
    Skipped,
    Asked,
    /// The upstream failed.
    Down(String),
}

/// When the model may be asked again.
pub struct Pace {
    next: Instant,
    outages: u32,
}

impl Pace {
    pub fn new() -> Self {
        Self {
            next: Instant::now(),
            outages: 0,
        }
    }

    /// Looks at the queue as soon as the budget allows.
    pub async fn step(&mut self, worker: &Worker, extraction: &Extraction) -> Step {
        sleep_until(self.next).await;
        let begun = Instant::now();
        let step = worker.step(extraction, now()).await;
        if matches!(step, Step::Asked | Step::Down(_)) {
            self.next = begun + Duration::from_secs(60) / extraction.per_minute.max(1);
        }
        match &step {
            Step::Asked => self.outages = 0,
            Step::Down(_) => {
                let pause = (PAUSES[0] * 2u32.pow(self.outages.min(6))).min(PAUSES[1]);
                self.outages += 1;
                self.next = self.next.max(Instant::now() + pause);
            }
            Step::Idle | Step::Skipped => {}
        }
        step
    }
}

impl Worker {
    /// Works until memory is gone.
    pub async fn run(self, mut feed: Feed) {
        let mut pace = Pace::new();
        loop {
            let settings = feed.settings.borrow_and_update().clone();
            let Some(extraction) = settings else {
                if feed.settings.changed().await.is_err() {
                    return;
                }
                continue;
            };
            // What is changed meanwhile counts at once.
            tokio::select! {
                () = sleep_until(pace.next) => {}
                changed = feed.settings.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
            if pace.step(&self, &extraction).await == Step::Idle {
                tokio::select! {
                    () = feed.queued.notified() => {}
                    () = sleep(POLL) => {}
                    changed = feed.settings.changed() => if changed.is_err() { return },
                }
            }
        }
    }

    /// Takes what has been due longest; `now` is in Unix milliseconds.
    pub async fn step(&self, extraction: &Extraction, now: i64) -> Step {
        let lease = i64::try_from(extraction.timeout.as_millis()).unwrap_or(i64::MAX / 2) + SLACK;
        let claimed = match self.store.claim(now, now.saturating_add(lease)).await {
            Ok(Some(claimed)) => claimed,
            Ok(None) => return Step::Idle,
            // A store tells by itself that it is out of reach.
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::debug!(%error, "exchanges to be extracted cannot be looked for");
                return Step::Idle;
            }
            Err(error) => {
                tracing::warn!(%error, "exchanges to be extracted cannot be looked for");
                return Step::Idle;
            }
        };
        match self.work(extraction, &claimed).await {
            Ok(step) => step,
            Err(Failed::Model(error)) => self.fail(&claimed, error, now).await,
            // The claim ends by itself, and the exchange is tried again.
            Err(Failed::Store(error)) => {
                tracing::warn!(%error, "facts not stored yet");
                Step::Idle
            }
        }
    }

    async fn work(&self, extraction: &Extraction, claimed: &Pending) -> Result<Step, Failed> {
        let mut exchange = Vec::new();
        for id in &claimed.records {
            exchange.extend(self.store.get(claimed.scope.tenant(), *id).await?);
        }
        let whole = exchange.len() == claimed.records.len();
        let Some(first) = exchange.first().filter(|_| whole) else {
            self.store.finish(claimed, Vec::new()).await?;
            self.counters.extracted(Extracted::Gone);
            return Ok(Step::Skipped);
        };
        // The first is what the user said; the same answer may have been given since.
        let said_at = first.updated_at;
        let known = self.known(claimed, &exchange, said_at).await?;
        let asked = Asked {
            exchange: &exchange,
            known: &known,
            max_facts: extraction.max_facts,
        };
        let tenant = claimed.scope.tenant();
        if let Some(payer) = self.counters.payer()
            && !payer.can_pay(tenant).await
        {
            // The claim ends by itself, and by then there may be some left.
            tracing::debug!(tenant, "no budget is left for extraction");
            return Ok(Step::Idle);
        }
        let (prompt, bill) = (asked.prompt(), Bill::default());
        let answering = extraction.model.answer(&prompt, &bill);
        let answer = timeout(extraction.timeout, answering).await;
        bill.settle(self.counters.payer(), &[(tenant, 1)]);
        let late = |_| ModelError::Down(format!("no answer within {:?}", extraction.timeout));
        let verdict = asked.verdict(&answer.map_err(late)??)?;
        let learnt = Learnt {
            claimed: claimed.clone(),
            verdict,
            said_at,
            conversation: first.conversation.clone(),
            request_id: first.request_id.clone(),
            generation: first.generation,
        };
        let (reply, done) = oneshot::channel();
        let gone = || StoreError::Unavailable("memory has stopped".into());
        let jobs = self.jobs.upgrade().ok_or_else(gone)?;
        let sent = jobs.send(Job::Learn(Box::new(learnt), reply)).await;
        sent.map_err(|_| gone())?;
        done.await.map_err(|_| gone())??;
        Ok(Step::Asked)
    }

    /// Facts that the exchange may change, and none that came after it: an old exchange that is
    /// tried again must not undo them.
    async fn known(
        &self,
        claimed: &Pending,
        exchange: &[Record],
        said_at: i64,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let text: Vec<_> = exchange.iter().map(|record| record.text.as_str()).collect();
        let query = Query::new(&text.join("\n"), &[]);
        let entry = self.scopes.get(&claimed.scope).await?;
        let index = entry.read();
        let ranking = index.rank((&query, &Clock::default()), None, LOOKED_AT);
        let found = index.answer(&ranking, LOOKED_AT, &Unwanted::default());
        let latest = index.records().iter().rev().cloned();
        let mut known: Vec<Arc<Record>> = Vec::new();
        for record in found.into_iter().map(|found| found.record).chain(latest) {
            let is_new = known.iter().all(|known| known.id != record.id);
            if is_new && is_fact(&record) && record.updated_at <= said_at {
                known.push(record);
            }
            if known.len() == SHOWN {
                break;
            }
        }
        Ok(known)
    }

    /// Has the exchange tried again later, or never.
    async fn fail(&self, claimed: &Pending, error: ModelError, now: i64) -> Step {
        let exchange = claimed.id();
        let tries = claimed.failures + 1;
        self.counters.extracted(Extracted::Failed);
        let due = if tries < TRIES {
            tracing::warn!(%exchange, tries, %error, "exchange not extracted yet");
            now.saturating_add(BACK_OFF << (2 * claimed.failures))
        } else {
            self.counters.extracted(Extracted::SetAside);
            tracing::error!(
                %exchange, tries, %error,
                "exchange set aside; `yychat memory extract` tries it again"
            );
            SET_ASIDE
        };
        if let Err(error) = self.store.postpone(claimed, due).await {
            tracing::warn!(%exchange, %error, "failure not counted");
        }
        match error {
            ModelError::Down(why) => Step::Down(why),
            ModelError::Unusable(_) => Step::Asked,
        }
    }
}

#[derive(Debug)]
enum Failed {
    Model(ModelError),
    Store(StoreError),
}

impl From<ModelError> for Failed {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn now() -> i64 {
    Timestamp::now().as_millisecond()
}
