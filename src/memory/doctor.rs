//! What earlier versions stored and nobody said: errands of front ends, what templates put around
//! the user's words, a model's thinking.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::try_join_all;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Memory;
use super::extraction::ROLE;
use super::kept::is_short;
use super::record::{Record, Source};
use super::said::{answer_words, user_words};
use super::scope::Scope;
use super::store::StoreError;
use super::writer::Job;

/// Tells the rule by which a user's message is an errand of a front end.
pub type Auxiliary<'a> = &'a (dyn Fn(&str) -> Option<Arc<str>> + Sync);

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ill {
    /// An errand of a front end, by the rule of that name.
    Auxiliary(Arc<str>),
    /// What the model answered to one.
    Answer,
    /// What was extracted from such records alone.
    Fact,
    /// Others' words stand around the user's.
    Template,
    /// The model's thinking stands in its answer.
    Thinking,
}

/// A record that nobody said, or not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub record: Record,
    pub ill: Ill,
    /// The record with what was said alone; `None` where nothing was.
    pub said: Option<Record>,
}

/// Knows what is ill, once it has seen all records.
pub struct Doctor<'a> {
    auxiliary: Auxiliary<'a>,
    /// Requests that were errands.
    errands: HashSet<(Scope, String)>,
    ill: HashSet<Uuid>,
}

impl<'a> Doctor<'a> {
    pub fn new(auxiliary: Auxiliary<'a>) -> Self {
        Self {
            auxiliary,
            errands: HashSet::new(),
            ill: HashSet::new(),
        }
    }

    /// Looks at a record for what others have to do with it. All are to be seen twice before any
    /// is judged: an answer may come before its errand.
    pub fn see(&mut self, record: &Record) {
        if self.rule(record).is_some() {
            self.ill.insert(record.id);
            let request = record.request_id.clone();
            self.errands
                .extend(request.map(|request| (record.scope.clone(), request)));
        } else if self.answers_errand(record) {
            self.ill.insert(record.id);
        }
    }

    /// Says what is wrong with a record, if anything is.
    pub fn judge(&self, record: Record) -> Option<Finding> {
        let gone = |record, ill| {
            let said = None;
            Some(Finding { record, ill, said })
        };
        if let Some(rule) = self.rule(&record) {
            return gone(record, Ill::Auxiliary(rule));
        }
        if *record.role == *ROLE {
            let is_ill = |id: &Uuid| self.ill.contains(id);
            let from_ill =
                !record.derived_from.is_empty() && record.derived_from.iter().all(is_ill);
            return from_ill.then(|| gone(record, Ill::Fact)).flatten();
        }
        if self.answers_errand(&record) {
            return gone(record, Ill::Answer);
        }
        if !is_turn(&record) {
            return None;
        }
        let (words, ill) = match &*record.role {
            "assistant" => (answer_words(&record.text), Ill::Thinking),
            _ => (user_words(&record.text), Ill::Template),
        };
        if words.split_whitespace().eq(record.text.split_whitespace()) {
            return None;
        }
        let words = words.trim().to_owned();
        let mut said = Record {
            text: words,
            ..record.clone()
        };
        // What stands there is no better.
        said.history.clear();
        let said = (!is_short(&said.text)).then_some(said);
        Some(Finding { record, ill, said })
    }

    fn answers_errand(&self, record: &Record) -> bool {
        let request = record.request_id.clone();
        let request = request.filter(|_| is_turn(record));
        request.is_some_and(|request| self.errands.contains(&(record.scope.clone(), request)))
    }

    fn rule(&self, record: &Record) -> Option<Arc<str>> {
        let is_users = *record.role != *"assistant" && is_turn(record);
        is_users.then(|| (self.auxiliary)(&record.text)).flatten()
    }
}

/// Whether it was saved from a chat: what somebody stored himself he meant.
fn is_turn(record: &Record) -> bool {
    record.source == Source::Chat && *record.role != *ROLE
}

impl Memory {
    /// Leaves of each record what was said. One that is gone meanwhile stays so.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn cure(&self, findings: Vec<Finding>) -> Result<(), StoreError> {
        let jobs = findings.into_iter().map(|found| {
            let (reply, answer) = oneshot::channel();
            let job = match found.said {
                Some(said) => Job::Replace(Box::new(said), reply),
                None => Job::Remove(found.record.scope, found.record.id, reply),
            };
            async move {
                let gone = || StoreError::Unavailable("memory has stopped".into());
                self.jobs.send(job).await.map_err(|_| gone())?;
                answer.await.unwrap_or_else(|_| Err(gone()))
            }
        });
        try_join_all(jobs).await.map(drop)
    }
}
