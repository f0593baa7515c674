//! The one writer: a bounded queue, whose jobs are gathered into change sets that share a sync.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use uuid::Uuid;

use super::cache::Scopes;
use super::embedding::Fresh;
use super::extraction::Feed;
use super::extraction::learnt::Learnt;
use super::kept::Turn;
use super::record::{Reason, Record};
use super::scope::Scope;
use super::similar::fingerprint;
use super::stats::{Counters, Extracted, Fact};
use super::store::{Change, Changed, MemoryStore, Pending, Selection, StoreError};
use super::tries::Tries;

/// Jobs that one change set takes at most.
const BATCH: usize = 1024;

/// Turns that are held at most while the store refuses writes; the oldest are given up first.
const HELD: usize = 1024;

/// How long a store that refused a turn is left alone before the turn is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What comes of a write that somebody waits for.
type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

pub enum Job {
    Turn(Box<Turn>),
    /// Answers with the record, or with the one that says the very same already.
    Create(Box<Record>, Reply<Record>),
    /// Puts records as they are.
    Import(Vec<Record>, Reply<()>),
    /// Gives a record another text; `None` when there is no such record.
    Edit(Edit, Reply<Option<Record>>),
    Delete(String, Selection, Reply<u64>),
    /// Removes one record; whether it was there.
    Remove(Scope, Uuid, Reply<()>),
    /// Takes an exchange out of the queue, with what it taught.
    Learn(Box<Learnt>, Reply<()>),
    /// Answers once everything before it has been written; whether all of it is on disk.
    Flush(oneshot::Sender<bool>),
    /// Writes everything before it and lets go of the store; turns go to the receiver it answers
    /// with from then on. `None` from a store that goes on.
    HandOver(oneshot::Sender<Option<mpsc::UnboundedReceiver<Turn>>>),
    /// Takes the store back, and saves the turns that went out in vain.
    TakeBack(Vec<Turn>),
}

pub struct Edit {
    pub tenant: String,
    pub id: Uuid,
    pub text: String,
    pub now: i64,
}

pub struct Writer {
    pub store: Arc<dyn MemoryStore>,
    pub scopes: Scopes,
    pub counters: Arc<Counters>,
    /// Turns whose change set the store refused, until it takes them.
    held: Vec<Turn>,
    /// Told of records to be embedded.
    fresh: Option<Fresh>,
    /// Saves the turns while another process has the store.
    heir: Option<mpsc::UnboundedSender<Turn>>,
    /// Told of turns to be extracted.
    feed: Feed,
    pub tries: Tries,
}

type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A change set in the making.
#[derive(Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// Where in `changes` a scope says what: role, then fingerprint.
    said: HashMap<(Scope, Arc<str>, u64), usize>,
    /// Whose records are among the changes.
    turns: Vec<Turn>,
    /// Each is told how the change set went.
    replies: Vec<Told>,
}

impl Plan {
    fn put(&mut self, record: Record) {
        let said = (
            record.scope.clone(),
            record.role.clone(),
            fingerprint(&record.text),
        );
        self.said.insert(said, self.changes.len());
        self.changes.push(Change::Put(record));
    }

    /// What is planned of a record: that it be so, or that it be none; `None` where nothing is.
    pub fn planned(&self, id: Uuid) -> Option<Option<&Record>> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::Put(record) if record.id == id => Some(Some(record)),
            Change::Remove { id: removed, .. } if *removed == id => Some(None),
            _ => None,
        })
    }

    /// The planned record that says the very same as `new`, whose text has this fingerprint.
    pub fn said(&self, new: &Record, print: u64) -> Option<&Record> {
        let said = (new.scope.clone(), new.role.clone(), print);
        let Change::Put(planned) = self.changes.get(*self.said.get(&said)?)? else {
            return None;
        };
        // It may have been changed again since.
        let now = self.planned(planned.id)?;
        now.filter(|now| fingerprint(&now.text) == print)
    }

    fn reply<T: Send + 'static>(&mut self, reply: Reply<T>, value: T) {
        self.replies.push(Box::new(move |result| {
            // Whoever asked may have gone.
            let _ = reply.send(result.map(|()| value));
        }));
    }
}

impl Writer {
    pub fn new(
        store: Arc<dyn MemoryStore>,
        scopes: Scopes,
        counters: Arc<Counters>,
        fresh: Option<Fresh>,
        (feed, tries): (Feed, Tries),
    ) -> Self {
        Self {
            store,
            scopes,
            counters,
            held: Vec::new(),
            fresh,
            heir: None,
            feed,
            tries,
        }
    }

    /// Works until every sender of `jobs` is gone.
    pub async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = async {
                match self.held.is_empty() {
                    true => pending().await,
                    false => sleep(RETRY).await,
                }
            };
            let received = tokio::select! {
                () = due => None,
                received = jobs.recv_many(&mut batch, BATCH) => Some(received),
            };
            match received {
                None => self.retry().await,
                Some(0) => break,
                Some(_) => {
                    let mut plan = Plan::default();
                    for job in batch.drain(..) {
                        self.plan(job, &mut plan).await;
                    }
                    self.commit(plan).await;
                }
            }
        }
        self.retry().await;
        self.counters.save_failed(self.held.len() as u64);
    }

    /// Writes the turns that were held. They are planned anew: what of them did reach the disk
    /// is found as a duplicate.
    async fn retry(&mut self) {
        let turns = std::mem::take(&mut self.held);
        let count = turns.len();
        let mut plan = Plan::default();
        for turn in turns {
            self.plan_turn(turn, &mut plan).await;
        }
        self.commit(plan).await;
        self.counters.held(self.held.len());
        if count > 0 && self.held.is_empty() {
            tracing::info!(
                turns = count,
                "memory store took the turns that it had refused"
            );
        }
    }

    /// Keeps turns that the store refused, for nobody else will send them again.
    fn hold(&mut self, turns: Vec<Turn>) {
        self.held.extend(turns);
        let excess = self.held.len().saturating_sub(HELD);
        if excess > 0 {
            self.held.drain(..excess);
            self.counters.save_failed(excess as u64);
            tracing::error!(
                turns = excess,
                held = HELD,
                "turns given up, the store still refuses"
            );
        }
        self.counters.held(self.held.len());
    }

    async fn plan(&mut self, job: Job, plan: &mut Plan) {
        match job {
            Job::Turn(turn) => self.plan_turn(*turn, plan).await,
            Job::Create(record, reply) => match self.created(*record, plan).await {
                Ok(record) => {
                    plan.put(record.clone());
                    plan.reply(reply, record);
                }
                Err(e) => drop(reply.send(Err(e))),
            },
            Job::Import(records, reply) => {
                records.into_iter().for_each(|record| plan.put(record));
                plan.reply(reply, ());
            }
            Job::Remove(scope, id, reply) => {
                plan.changes.push(Change::Remove { scope, id });
                plan.reply(reply, ());
            }
            Job::Edit(edit, reply) => {
                // It reads what the changes before it write.
                self.commit(std::mem::take(plan)).await;
                match self.store.get(&edit.tenant, edit.id).await {
                    Ok(Some(mut record)) => {
                        record.replace_text(edit.text, Reason::Edited, edit.now);
                        plan.put(record.clone());
                        plan.reply(reply, Some(record));
                    }
                    Ok(None) => drop(reply.send(Ok(None))),
                    Err(e) => drop(reply.send(Err(e))),
                }
            }
            Job::Delete(tenant, selection, reply) => {
                self.commit(std::mem::take(plan)).await;
                let result = self.store.delete(&tenant, &selection).await;
                if let Ok((_, changed)) = &result {
                    for changed in changed {
                        self.scopes.changed(changed, None).await;
                    }
                }
                // Whoever asked may have gone.
                let _ = reply.send(result.map(|(count, _)| count));
            }
            Job::Learn(learnt, reply) => {
                self.commit(std::mem::take(plan)).await;
                // Whoever asked may have gone.
                let _ = reply.send(self.learn(&learnt).await);
            }
            Job::Flush(done) => {
                self.commit(std::mem::take(plan)).await;
                self.retry().await;
                let _ = done.send(self.held.is_empty());
            }
            Job::HandOver(reply) => {
                self.commit(std::mem::take(plan)).await;
                self.retry().await;
                let turns = self.let_go().await;
                // Whoever asked may have gone; then it takes the store back.
                let _ = reply.send(turns);
            }
            Job::TakeBack(turns) => {
                if self.heir.take().is_some() {
                    self.store.reclaim().await;
                }
                for turn in turns {
                    self.plan_turn(turn, plan).await;
                }
            }
        }
    }

    async fn let_go(&mut self) -> Option<mpsc::UnboundedReceiver<Turn>> {
        if !self.store.release().await {
            return None;
        }
        // No more turns wait in it than there are live requests.
        let (heir, turns) = mpsc::unbounded_channel();
        self.heir = Some(heir);
        Some(turns)
    }

    async fn plan_turn(&mut self, turn: Turn, plan: &mut Plan) {
        if let Some(heir) = &self.heir {
            if let Err(returned) = heir.send(turn) {
                self.hold(vec![returned.0]);
            }
            return;
        }
        match self.kept(&turn, plan).await {
            Ok(records) if records.is_empty() => {}
            Ok(records) => {
                if self.feed.settings.borrow().is_some() {
                    plan.changes.push(Change::Extract(Pending {
                        scope: turn.scope.clone(),
                        records: records.iter().map(|record| record.id).collect(),
                        due: turn.now,
                        failures: 0,
                    }));
                }
                records.into_iter().for_each(|record| plan.put(record));
                plan.turns.push(turn);
            }
            Err(error) => {
                tracing::error!(%error, "turn not saved yet");
                self.hold(vec![turn]);
            }
        }
    }

    /// The record, or the one that says the very same already in its conversation, brought up to date.
    async fn created(&self, new: Record, plan: &mut Plan) -> Result<Record, StoreError> {
        let entry = self.scopes.get(&new.scope).await?;
        let same = plan.same(&entry, &new);
        let same = same.filter(|old| old.conversation == new.conversation);
        Ok(match same {
            Some(old) => self.updated(old, new),
            None => new,
        })
    }

    async fn commit(&mut self, plan: Plan) {
        let mut result = Ok(());
        if !plan.changes.is_empty() {
            match self.store.apply(plan.changes.clone()).await {
                Ok(changed) => self.committed(plan.changes, &changed).await,
                Err(error) => {
                    tracing::error!(
                        %error, refused = plan.replies.len(), turns_held = plan.turns.len(),
                        "memory not saved"
                    );
                    self.counters.save_failed(plan.replies.len() as u64);
                    // A sync that failed may have let some of it through.
                    for change in &plan.changes {
                        self.scopes.outdate(change.scope());
                    }
                    self.hold(plan.turns);
                    result = Err(error);
                }
            }
        }
        for reply in plan.replies {
            reply(result.clone());
        }
    }

    /// Tells all who need to know of changes that are on disk.
    async fn committed(&self, changes: Vec<Change>, changed: &[Changed]) {
        let mut wanting = Vec::new();
        let mut queued = false;
        let mut of_scope: HashMap<Scope, Option<Vec<Record>>> = HashMap::new();
        for change in changes {
            let records = of_scope
                .entry(change.scope().clone())
                .or_insert_with(|| Some(Vec::new()));
            match change {
                Change::Put(record) => {
                    if self.fresh.is_some() {
                        wanting.push(record.clone());
                    }
                    if let Some(records) = records {
                        records.push(record);
                    }
                }
                Change::Remove { .. } => *records = None,
                Change::Extract(_) => queued = true,
            }
        }
        for changed in changed {
            let records = of_scope.remove(&changed.scope).flatten();
            self.counters.saved(records.as_ref().map_or(0, Vec::len));
            self.scopes.changed(changed, records).await;
        }
        // Last, so that a scope's index knows the records before their vectors.
        if let Some(fresh) = &self.fresh {
            fresh.saved(wanting.iter());
        }
        if queued {
            self.feed.queued.notify_one();
        }
    }

    async fn learn(&self, learnt: &Learnt) -> Result<(), StoreError> {
        let found = learnt.changes(&*self.store, &self.scopes).await?;
        let done = self
            .store
            .finish(&learnt.claimed, found.changes.clone())
            .await
            // A sync that failed may have let some of it through.
            .inspect_err(|_| self.scopes.outdate(&learnt.claimed.scope))?;
        let Some(changed) = done else {
            self.counters.extracted(Extracted::Gone);
            return Ok(());
        };
        found.count(&self.counters);
        self.counters.fact(Fact::Refused, learnt.verdict.refused);
        self.committed(found.changes, &changed).await;
        self.counters.extracted(Extracted::Done);
        Ok(())
    }
}
