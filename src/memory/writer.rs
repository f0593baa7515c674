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
use super::erasure::{Begun, Erased};
use super::extraction::Feed;
use super::extraction::learnt::Learnt;
use super::kept::Turn;
use super::plan::{Held, Plan, Reply};
use super::queue::{BYTES, Place, Queue, Waiting};
use super::record::{Reason, Record};
use super::scope::Scope;
use super::stats::{Counters, Extracted, Fact};
use super::store::{Applied, Change, Fate, MemoryStore, Pending, Selection, StoreError};
use super::tries::Tries;

/// Jobs that one change set takes at most.
const BATCH: usize = 1024;

/// Bytes of turns that are held at most while the store refuses writes; the oldest are given up
/// first. It leaves room in the queue.
const HELD: usize = BYTES / 2;

/// How long a store that refused a turn is left alone before the turn is tried again.
const RETRY: Duration = Duration::from_secs(1);

pub enum Job {
    Turn(Box<Turn>),
    /// Answers with the record, or with the one that says the very same already; `None` where its
    /// memory was erased meanwhile.
    Create(Box<Record>, Begun, Reply<Option<Record>>),
    /// Puts records as they are.
    Import(Vec<Record>, Reply<()>),
    /// Puts a record in place of the one with its id, if that is still there.
    Replace(Box<Record>, Reply<()>),
    /// Gives a record another text; `None` when there is no such record.
    Edit(Edit, Reply<Option<Record>>),
    Erase(String, Selection, Reply<Erased>),
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
    held: Vec<Held>,
    /// Told of records to be embedded.
    fresh: Option<Fresh>,
    /// Saves the turns while another process has the store.
    heir: Option<mpsc::UnboundedSender<Turn>>,
    /// Told of turns to be extracted.
    feed: Feed,
    pub tries: Tries,
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
    pub async fn run(mut self, mut jobs: Queue) {
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
                    for Waiting { job, place } in batch.drain(..) {
                        self.plan(job, place.into(), &mut plan).await;
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
    fn hold(&mut self, turns: Vec<Held>) {
        self.held.extend(turns);
        let mut bytes: usize = self.held.iter().map(|held| held.turn.weight()).sum();
        let mut excess = 0;
        while bytes > HELD {
            bytes -= self
                .held
                .get(excess)
                .map_or(bytes, |held| held.turn.weight());
            excess += 1;
        }
        if excess > 0 {
            self.held.drain(..excess);
            self.give_up(excess, "the store still refuses, and no more can be held");
        }
        self.counters.held(self.held.len());
    }

    fn give_up(&self, turns: usize, why: &str) {
        self.counters.save_failed(turns as u64);
        tracing::error!(turns, why, "turns given up");
    }

    async fn plan(&mut self, job: Job, place: Arc<Place>, plan: &mut Plan) {
        let of_turn = |turn| Held {
            turn,
            place: place.clone(),
        };
        match job {
            Job::Turn(turn) => self.plan_turn(of_turn(*turn), plan).await,
            Job::Create(new, begun, reply) => match self.created(&new, plan).await {
                Ok(same) => {
                    plan.begin(Some(begun));
                    let (record, otherwise) = match same {
                        Some(same) => (self.updated(same, &new), Some(*new)),
                        None => (*new, None),
                    };
                    plan.put(record.clone(), otherwise.clone());
                    plan.reply(reply, |fate| match fate {
                        Fate::Done => Some(record),
                        Fate::Otherwise => otherwise,
                        Fate::Gone | Fate::Erased => None,
                    });
                    plan.begin(None);
                }
                Err(e) => drop(reply.send(Err(e))),
            },
            Job::Import(records, reply) => {
                let puts = records.into_iter().map(Change::Put);
                plan.changes.extend(puts);
                plan.reply(reply, |_| ());
            }
            Job::Replace(record, reply) => {
                plan.update(*record);
                plan.reply(reply, |_| ());
            }
            Job::Remove(scope, id, reply) => {
                plan.remove(scope, id);
                plan.reply(reply, |_| ());
            }
            Job::Edit(edit, reply) => {
                // It reads what the changes before it write.
                self.commit(std::mem::take(plan)).await;
                match self.store.get(&edit.tenant, edit.id).await {
                    Ok(Some(mut record)) => {
                        record.replace_text(edit.text, Reason::Edited, edit.now);
                        plan.update(record.clone());
                        plan.reply(reply, |fate| (fate == Fate::Done).then_some(record));
                    }
                    Ok(None) => drop(reply.send(Ok(None))),
                    Err(e) => drop(reply.send(Err(e))),
                }
            }
            Job::Erase(tenant, selection, reply) => {
                self.commit(std::mem::take(plan)).await;
                let result = self.store.erase(&tenant, &selection).await;
                for changed in result.iter().flat_map(|erased| &erased.changed) {
                    self.scopes.changed(changed, None).await;
                }
                // Whoever asked may have gone.
                let _ = reply.send(result);
            }
            Job::Learn(learnt, reply) => {
                self.commit(std::mem::take(plan)).await;
                // Whoever asked may have gone.
                let _ = reply.send(self.learn(&learnt).await);
            }
            Job::Flush(done) => {
                self.commit(std::mem::take(plan)).await;
                self.retry().await;
                // Whoever waits for it finds that nothing waits any more.
                drop(place);
                let _ = done.send(self.held.is_empty());
                return;
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
                    self.plan_turn(of_turn(turn), plan).await;
                }
            }
        }
        plan.places.push(place);
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

    async fn plan_turn(&mut self, held: Held, plan: &mut Plan) {
        let Held { turn, place } = held;
        if let Some(heir) = &self.heir {
            if let Err(returned) = heir.send(turn) {
                let turn = returned.0;
                self.hold(vec![Held { turn, place }]);
            }
            return;
        }
        plan.begin(turn.begun());
        match self.kept(&turn, plan).await {
            Ok(kept) if kept.is_empty() => {}
            Ok(kept) => {
                if self.feed.settings.borrow().is_some() {
                    plan.changes.push(Change::Extract(Pending {
                        scope: turn.scope.clone(),
                        records: kept.iter().map(|(record, _)| record.id).collect(),
                        due: turn.now,
                        failures: 0,
                    }));
                }
                for (record, otherwise) in kept {
                    plan.put(record, otherwise);
                }
                plan.turns.push(Held { turn, place });
            }
            Err(error) => {
                tracing::error!(%error, "turn not saved yet");
                self.hold(vec![Held { turn, place }]);
            }
        }
        plan.begin(None);
    }

    /// The record that says the very same already in its conversation.
    async fn created(&self, new: &Record, plan: &mut Plan) -> Result<Option<Record>, StoreError> {
        let entry = self.scopes.get(&new.scope).await?;
        let same = plan.same(&entry, new);
        Ok(same.filter(|old| old.conversation == new.conversation))
    }

    async fn commit(&mut self, mut plan: Plan) {
        let replies = plan.replies();
        let mut result = Ok(Vec::new());
        if !plan.changes.is_empty() {
            match self.store.apply(plan.for_store()).await {
                Ok(applied) => {
                    plan.wrote(true);
                    self.committed(plan.changes, &applied).await;
                    result = Ok(applied.fates);
                }
                Err(error) => {
                    tracing::error!(
                        %error, refused = replies.len(), turns_held = plan.turns.len(),
                        "memory not saved"
                    );
                    self.counters.save_failed(replies.len() as u64);
                    // A sync that failed may have let some of it through.
                    for change in &plan.changes {
                        self.scopes.outdate(change.scope());
                    }
                    match error {
                        StoreError::Internal(_) => self.singly(plan.turns).await,
                        _ => {
                            plan.wrote(false);
                            self.hold(plan.turns);
                        }
                    }
                    result = Err(error);
                }
            }
        }
        Plan::answer(replies, &result);
    }

    /// Writes turns one by one, since there is one among them that the store fails at.
    async fn singly(&mut self, turns: Vec<Held>) {
        for held in turns {
            let mut plan = Plan::default();
            self.plan_turn(held, &mut plan).await;
            match self.store.apply(plan.for_store()).await {
                Ok(applied) => self.committed(plan.changes, &applied).await,
                Err(StoreError::Internal(why)) => self.give_up(plan.turns.len(), &why),
                Err(_) => self.hold(plan.turns),
            }
        }
    }

    /// Tells all who need to know of changes that are on disk.
    async fn committed(&self, changes: Vec<Change>, applied: &Applied) {
        let mut wanting = Vec::new();
        let mut queued = false;
        let mut of_scope: HashMap<Scope, Option<Vec<Record>>> = HashMap::new();
        for (change, fate) in changes.into_iter().zip(&applied.fates) {
            let records = of_scope
                .entry(change.scope().clone())
                .or_insert_with(|| Some(Vec::new()));
            let record = match (change, fate) {
                (_, Fate::Erased) => {
                    self.counters.erased();
                    continue;
                }
                (_, Fate::Gone) => continue,
                (Change::Put(record) | Change::Update { record, .. }, Fate::Done) => record,
                (Change::Update { otherwise, .. }, _) => {
                    let Some(record) = otherwise else { continue };
                    record
                }
                (Change::Extract(_), _) => {
                    queued = true;
                    continue;
                }
                (Change::Put(_) | Change::Remove { .. } | Change::Begun(..), _) => {
                    *records = None;
                    continue;
                }
            };
            if self.fresh.is_some() {
                wanting.push(record.clone());
            }
            if let Some(records) = records {
                records.push(record);
            }
        }
        for changed in &applied.changed {
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
        let Some(applied) = done else {
            self.counters.extracted(Extracted::Gone);
            return Ok(());
        };
        found.count(&self.counters);
        self.counters.fact(Fact::Refused, learnt.verdict.refused);
        self.committed(found.changes, &applied).await;
        self.counters.extracted(Extracted::Done);
        Ok(())
    }
}
