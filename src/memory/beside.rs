//! What stands beside a record in its scope.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::Memory;
use super::record::{Reason, Record};
use super::similar::{Likeness, Shingles, fingerprint};
use super::store::StoreError;
use crate::error::ApiError;

/// Alike records that are told at most: the newest.
const LIKES: usize = 100;

/// What has to do with a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// Records that say nearly the same, or what this one says and more, or less: they share a place
    /// in a ranking. The newest first.
    pub likes: Vec<Uuid>,
    /// Texts that it took the place of, the oldest first.
    pub superseded: Vec<Superseded>,
    /// Records that took the place of these very words, the newest first.
    pub superseding: Vec<Uuid>,
}

/// A text that another took the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Superseded {
    pub text: String,
    pub at: Timestamp,
}

impl Beside {
    fn of(record: &Record, all: &[Arc<Record>]) -> Self {
        let mut beside = Self {
            superseded: superseded(record)
                .map(|(text, at)| Superseded {
                    text: text.to_owned(),
                    at: Timestamp::from_millisecond(at).unwrap_or_default(),
                })
                .collect(),
            ..Self::default()
        };
        let (shingles, print) = (Shingles::of(&record.text), fingerprint(&record.text));
        let others = all.iter().rev().filter(|other| other.id != record.id);
        for other in others {
            if beside.likes.len() < LIKES && is_like(&shingles, &Shingles::of(&other.text)) {
                beside.likes.push(other.id);
            }
            if superseded(other).any(|(text, _)| fingerprint(text) == print) {
                beside.superseding.push(other.id);
            }
        }
        beside
    }
}

fn is_like(one: &Shingles, other: &Shingles) -> bool {
    one.beside(other) != Likeness::Other || other.beside(one) != Likeness::Other
}

fn superseded(record: &Record) -> impl Iterator<Item = (&str, i64)> {
    let earlier = record.history.iter();
    let earlier = earlier.filter(|it| it.reason == Reason::Superseded);
    earlier.map(|it| (&*it.text, it.replaced_at))
}

impl Memory {
    /// What has to do with a record, of all that its scope has.
    ///
    /// # Errors
    ///
    /// 503 when the store refuses.
    pub async fn beside(&self, record: &Record) -> Result<Beside, ApiError> {
        let entry = self.read(self.scopes.get(&record.scope)).await?;
        let all = entry.read().records().to_vec();
        let record = record.clone();
        // A large scope takes its time.
        let found = tokio::task::spawn_blocking(move || Beside::of(&record, &all));
        let failed = |error: tokio::task::JoinError| StoreError::Internal(error.to_string());
        self.read(async { found.await.map_err(failed) }).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::scope::Scope;
    use super::*;

    #[test]
    fn likes_and_what_took_whose_place_are_told() {
        let scope = Scope::of("tenant", Some("ann"), None).unwrap();
        let said = |at: i64, text: &str| Record::new(&scope, "user", text.into(), Source::Chat, at);
        let eldest = "my eldest son likes to play chess with his uncle on sunday mornings in town";
        let record = said(1, eldest);
        let alike = said(2, &eldest.replace("eldest", "youngest"));
        let more = said(3, &format!("{eldest}, and in winter at home"));
        let mut later = said(4, "I meant my nephew, who is called Tom");
        later.history = vec![
            super::super::record::Revision {
                text: eldest.to_uppercase(),
                replaced_at: 5_000,
                reason: Reason::Superseded,
            },
            super::super::record::Revision {
                text: "mistyped".into(),
                replaced_at: 6_000,
                reason: Reason::Edited,
            },
        ];
        let other = said(
            5,
            "the weather in Leeds is as it was last year at this time",
        );
        let all = [&record, &alike, &more, &later, &other].map(|it| Arc::new(it.clone()));
        let expected = Beside {
            likes: vec![more.id, alike.id],
            superseded: Vec::new(),
            superseding: vec![later.id],
        };
        assert_eq!(Beside::of(&record, &all), expected);
        let superseded = Beside::of(&later, &all).superseded;
        assert_eq!(superseded.len(), 1);
        assert_eq!(superseded[0].at.to_string(), "1970-01-01T00:00:05Z");
        assert_eq!(Beside::of(&other, &all), Beside::default());
    }
}
