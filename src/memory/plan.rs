//! A set of changes in the making, which share a sync.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::erasure::Begun;
use super::kept::Turn;
use super::queue::Place;
use super::record::Record;
use super::scope::Scope;
use super::similar::fingerprint;
use super::store::{Change, Fate, StoreError};

/// What comes of a write that somebody waits for.
pub type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Told what became of one change.
pub type Told = (usize, Box<dyn FnOnce(Result<Fate, StoreError>) + Send>);

/// A turn that is not on disk yet, and the room that it takes.
pub struct Held {
    pub turn: Turn,
    pub place: Arc<Place>,
}

/// A change set in the making.
#[derive(Default)]
pub struct Plan {
    pub changes: Vec<Change>,
    /// From where on in `changes` each belongs to what began so; nothing before the first.
    begun: Vec<(usize, Option<Begun>)>,
    /// Where in `changes` a scope says what: role, then fingerprint.
    said: HashMap<(Scope, Arc<str>, u64), usize>,
    /// Where in `changes` a record is changed last.
    last: HashMap<Uuid, usize>,
    /// Whose records are among the changes.
    pub turns: Vec<Held>,
    /// The room of all that the changes come from.
    pub places: Vec<Arc<Place>>,
    /// Each is told how its change went.
    replies: Vec<Told>,
}

impl Plan {
    /// Puts a record; where it was there before, and is gone by then, the other one.
    pub fn put(&mut self, record: Record, otherwise: Option<Record>) {
        self.note(&record);
        self.changes.push(match otherwise {
            None => Change::Put(record),
            otherwise => Change::Update { record, otherwise },
        });
    }

    /// Puts a record in place of the one with its id, if that is still there by then.
    pub fn update(&mut self, record: Record) {
        self.note(&record);
        let otherwise = None;
        self.changes.push(Change::Update { record, otherwise });
    }

    /// Notes what the next change puts.
    fn note(&mut self, record: &Record) {
        let (scope, role) = (record.scope.clone(), record.role.clone());
        let said = (scope, role, fingerprint(&record.text));
        self.said.insert(said, self.changes.len());
        self.last.insert(record.id, self.changes.len());
    }

    pub fn remove(&mut self, scope: Scope, id: Uuid) {
        self.last.insert(id, self.changes.len());
        self.changes.push(Change::Remove { scope, id });
    }

    /// What is planned of a record: that it be so, or that it be none; `None` where nothing is.
    pub fn planned(&self, id: Uuid) -> Option<Option<&Record>> {
        let last = self.changes.get(*self.last.get(&id)?)?;
        Some(put_by(last))
    }

    /// The planned record that says the very same as `new`, whose text has this fingerprint.
    pub fn said(&self, new: &Record, print: u64) -> Option<&Record> {
        let said = (new.scope.clone(), new.role.clone(), print);
        let planned = put_by(self.changes.get(*self.said.get(&said)?)?)?;
        // It may have been changed again since.
        let now = self.planned(planned.id)?;
        now.filter(|now| fingerprint(&now.text) == print)
    }

    /// Has what comes next belong to what began so.
    pub fn begin(&mut self, begun: Option<Begun>) {
        self.begun.push((self.changes.len(), begun));
    }

    /// Has the answer be what the last change came to.
    pub fn reply<T: Send + 'static>(
        &mut self,
        reply: Reply<T>,
        value: impl FnOnce(Fate) -> T + Send + 'static,
    ) {
        let told = move |result: Result<Fate, StoreError>| {
            // Whoever asked may have gone.
            let _ = reply.send(result.map(value));
        };
        let last = self.changes.len().saturating_sub(1);
        self.replies.push((last, Box::new(told)));
    }

    /// Answers all who waited.
    pub fn answer(replies: Vec<Told>, result: &Result<Vec<Fate>, StoreError>) {
        for (at, told) in replies {
            let fate = |fates: &Vec<Fate>| fates.get(at).copied().unwrap_or(Fate::Done);
            told(result.as_ref().map(fate).map_err(Clone::clone));
        }
    }

    /// Takes out those who wait.
    pub fn replies(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.replies)
    }

    /// Tells whoever waits for room how writing it went.
    pub fn wrote(&self, well: bool) {
        let of_turns = self.turns.first().map(|held| &held.place);
        if let Some(place) = self.places.first().or(of_turns) {
            place.wrote(well);
        }
    }

    /// The changes as the store takes them.
    pub fn for_store(&self) -> Vec<Change> {
        let mut begun = self.begun.iter().peekable();
        let mut since = None;
        let each = self.changes.iter().enumerate().map(|(at, change)| {
            while let Some((_, next)) = begun.next_if(|(from, _)| *from <= at) {
                since = next.clone();
            }
            match &since {
                Some(begun) => Change::Begun(begun.clone(), Box::new(change.clone())),
                None => change.clone(),
            }
        });
        each.collect()
    }
}

/// The record that a change puts.
fn put_by(change: &Change) -> Option<&Record> {
    match change {
        Change::Put(record) | Change::Update { record, .. } => Some(record),
        _ => None,
    }
}
