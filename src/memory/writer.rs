//! The one writer: a bounded queue, whose jobs are gathered into change sets that share a sync.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::cache::Scopes;
use super::record::{MAX_TEXT_BYTES, Reason, Record, Source};
use super::scope::Scope;
use super::similar::{Shingles, fingerprint};
use super::stats::Counters;
use super::store::{Change, MemoryStore, Selection, StoreError};
use crate::config::model::Save;

/// Jobs that one change set takes at most.
const BATCH: usize = 1024;

/// Letters, digits or ideographs below which a text is not worth a record.
const SHORTEST: usize = 4;

/// A finished exchange.
#[derive(Debug, Clone)]
pub struct Turn {
    pub scope: Scope,
    pub conversation: Option<String>,
    /// The last user message's text.
    pub user_text: String,
    /// The complete answer's text; empty when it was cut or failed.
    pub assistant_text: String,
    pub request_id: String,
    pub generation: u64,
    /// What was injected into the request.
    pub recalled: Vec<Arc<Record>>,
    /// Unix milliseconds.
    pub now: i64,
}

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
    /// Answers once everything before it is on disk.
    Flush(oneshot::Sender<()>),
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
    pub save: Save,
}

type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A change set in the making.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// Where in `changes` a scope says what: role, then fingerprint.
    said: HashMap<(Scope, Arc<str>, u64), usize>,
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

    fn reply<T: Send + 'static>(&mut self, reply: Reply<T>, value: T) {
        self.replies.push(Box::new(move |result| {
            // Whoever asked may have gone.
            let _ = reply.send(result.map(|()| value));
        }));
    }
}

impl Writer {
    /// Works until every sender of `jobs` is gone.
    pub async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(BATCH);
        while jobs.recv_many(&mut batch, BATCH).await > 0 {
            let mut plan = Plan::default();
            for job in batch.drain(..) {
                self.plan(job, &mut plan).await;
            }
            self.commit(plan).await;
        }
    }

    async fn plan(&self, job: Job, plan: &mut Plan) {
        match job {
            Job::Turn(turn) => self.plan_turn(*turn, plan).await,
            Job::Create(record, reply) => match self.merged(*record, false, plan).await {
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
            Job::Flush(done) => {
                self.commit(std::mem::take(plan)).await;
                let _ = done.send(());
            }
        }
    }

    async fn plan_turn(&self, turn: Turn, plan: &mut Plan) {
        let sides = [
            ("user", &turn.user_text, Save::User, 0),
            ("assistant", &turn.assistant_text, Save::Assistant, 1),
        ];
        for (role, text, side, later) in sides {
            if self.save != Save::Both && self.save != side || is_short(text) {
                continue;
            }
            if role == "assistant" && repeats(text, &turn.recalled) {
                self.counters.repeated();
                continue;
            }
            let text = cut(text).to_owned();
            // One millisecond apart, so that the answer stands behind its question.
            let mut record = Record::new(&turn.scope, role, text, Source::Chat, turn.now + later);
            if let Some(conversation) = &turn.conversation {
                record.conversation = Some(conversation.as_str().into());
            }
            record.request_id = Some(turn.request_id.clone());
            record.generation = turn.generation;
            match self.merged(record, true, plan).await {
                Ok(record) => plan.put(record),
                Err(error) => {
                    self.counters.save_failed(1);
                    tracing::error!(%error, "turn not saved");
                }
            }
        }
    }

    /// The record, or the old one that it says again, brought up to date. `near` takes nearly the
    /// same for the same.
    async fn merged(&self, new: Record, near: bool, plan: &mut Plan) -> Result<Record, StoreError> {
        let said = (new.scope.clone(), new.role.clone(), fingerprint(&new.text));
        if let Some(at) = plan.said.get(&said)
            && let Change::Put(old) = &plan.changes[*at]
            && (near || old.conversation == new.conversation)
        {
            return Ok(self.updated(old.clone(), new));
        }
        let entry = self.scopes.get(&new.scope).await?;
        let old = entry
            .read()
            .duplicate_of(&new.role, &new.text, near)
            .cloned();
        Ok(match old {
            Some(old) if near || old.conversation == new.conversation => {
                self.updated(Record::clone(&old), new)
            }
            _ => new,
        })
    }

    fn updated(&self, mut old: Record, new: Record) -> Record {
        self.counters.merged();
        if fingerprint(&old.text) != fingerprint(&new.text) {
            old.replace_text(new.text, Reason::NearDuplicate, new.updated_at);
        }
        old.updated_at = old.updated_at.max(new.updated_at);
        old.request_id = new.request_id.or(old.request_id);
        old.generation = new.generation.max(old.generation);
        old
    }

    async fn commit(&self, plan: Plan) {
        let mut result = Ok(());
        if !plan.changes.is_empty() {
            match self.store.apply(plan.changes.clone()).await {
                Ok(changed) => {
                    let mut of_scope: HashMap<Scope, Option<Vec<Record>>> = HashMap::new();
                    for change in plan.changes {
                        let records = of_scope
                            .entry(change.scope().clone())
                            .or_insert_with(|| Some(Vec::new()));
                        match (change, records) {
                            (Change::Put(record), Some(records)) => records.push(record),
                            (Change::Put(_), None) => {}
                            (Change::Remove { .. }, records) => *records = None,
                        }
                    }
                    for changed in &changed {
                        let records = of_scope.remove(&changed.scope).flatten();
                        self.counters.saved(records.as_ref().map_or(0, Vec::len));
                        self.scopes.changed(changed, records).await;
                    }
                }
                Err(error) => {
                    self.counters.save_failed(plan.changes.len() as u64);
                    tracing::error!(%error, changes = plan.changes.len(), "memory not saved");
                    result = Err(error);
                }
            }
        }
        for reply in plan.replies {
            reply(result.clone());
        }
    }
}

fn is_short(text: &str) -> bool {
    let mut weight = 0;
    for c in text.chars().filter(|c| c.is_alphanumeric()) {
        weight += if super::index::is_ideographic(c) {
            2
        } else {
            1
        };
        if weight >= SHORTEST {
            return false;
        }
    }
    true
}

/// Whether an answer only says again what was recalled for it.
fn repeats(answer: &str, recalled: &[Arc<Record>]) -> bool {
    if recalled.is_empty() {
        return false;
    }
    let known: Vec<_> = recalled.iter().map(|r| Shingles::of(&r.text)).collect();
    Shingles::of(answer).repeats(&known)
}

/// As much of the text as a record holds.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}
