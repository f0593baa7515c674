//! Recall: what a scope remembers of a question, by the deadline.

use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::Memory;
use super::cache::Entry;
use super::embedding::vector::Vector;
use super::question::CacheKey;
use super::ranking::{Ranking, Unwanted};
use super::recall::{Outcome, Recall, RecallQuery, Recalled};
use super::scope::Scope;
use super::store::StoreError;

/// Part of the deadline, as its divisor, that is kept for ranking when the query's embedding is
/// waited for.
const RESERVED: u32 = 5;

/// Records from which on a scope is ranked away from whoever asks, whose thread serves others too.
pub(super) const LARGE: usize = 16_384;

/// Part of the deadline, as its divisor, after which a scope whose index is still being made is
/// answered from what was said last.
const PATIENCE: u32 = 2;

/// Part of the deadline, as its divisor, for which a question waits for what was told a moment before it.
const SETTLES: u32 = 2;

/// Records of that at most.
const LATELY: usize = 1000;

impl Memory {
    /// Finds what the scope remembers of the query. It answers by the deadline, whatever the
    /// store does.
    pub async fn recall(&self, scope: &Scope, query: &RecallQuery) -> Recall {
        let nothing = |outcome| Recall {
            outcome,
            cached: false,
            records: Vec::new(),
        };
        let recall = match timeout(query.deadline, self.find(scope, query)).await {
            Err(_) => nothing(Outcome::Timeout),
            Ok(Err(error)) => {
                tracing::warn!(%error, "recall failed");
                nothing(Outcome::Error)
            }
            Ok(Ok((records, cached))) => Recall {
                outcome: if records.is_empty() {
                    Outcome::Miss
                } else {
                    Outcome::Hit
                },
                cached,
                records,
            },
        };
        self.counters.recalled(recall.outcome);
        if matches!(recall.outcome, Outcome::Hit | Outcome::Miss) {
            self.counters.cache(recall.cached);
        }
        recall
    }

    async fn find(
        &self,
        scope: &Scope,
        query: &RecallQuery,
    ) -> Result<(Vec<Recalled>, bool), StoreError> {
        let start = Instant::now();
        let settled = self.jobs.settle(scope, &query.already_sent);
        // What has not come by then is not recalled; the rest is.
        let _ = timeout(query.deadline / SETTLES, settled).await;
        let (entry, is_whole) = self.entry(scope, query).await?;
        let question = &*query.question;
        let vector = match &self.embeddings {
            Some(embeddings) => {
                let within =
                    (query.deadline - query.deadline / RESERVED).saturating_sub(start.elapsed());
                embeddings.query(scope.tenant(), question, within).await
            }
            None => None,
        };
        let conversation = query.conversation.as_deref();
        let mut withdrawn = self.tries.replaced(scope, conversation, &query.history);
        // What the client goes on from it sends itself; another try of it is none.
        let went_on = self.tries.went_on(scope, conversation, &query.history);
        withdrawn.extend(went_on.into_iter().flat_map(|turn| turn.made));
        let unwanted = Unwanted {
            already_sent: &query.already_sent,
            withdrawn: &withdrawn,
            conversation,
        };
        let answer = |ranking: &Ranking| entry.read().answer(ranking, query.limit, &unwanted);
        let rank = || self.ranked(&entry, query, vector.clone());
        let Some(rankings) = self.rankings.as_ref().filter(|_| is_whole) else {
            let ranking = rank().await?;
            return Ok((answer(&ranking), false));
        };
        let key = CacheKey::new(scope, question, &query.clock);
        let found = rankings
            .entry(key.clone())
            .or_try_insert_with(rank())
            .await
            .map_err(|e: Arc<StoreError>| (*e).clone())?;
        if found.is_fresh() {
            return Ok((answer(found.value()), false));
        }
        let old = found.into_value();
        let refreshed = entry.read().refresh(&old, vector.as_deref(), query.limit);
        let cached = refreshed.is_some();
        let ranking = match refreshed {
            Some(ranking) => ranking,
            None => rank().await?,
        };
        if !Arc::ptr_eq(&old, &ranking) {
            rankings.insert(key, ranking.clone()).await;
        }
        Ok((answer(&ranking), cached))
    }

    /// The scope's index, and whether all of the scope is in it: while that of a large scope is being
    /// made, a question is answered from what was said last.
    async fn entry(
        &self,
        scope: &Scope,
        query: &RecallQuery,
    ) -> Result<(Arc<Entry>, bool), StoreError> {
        let whole = self.scopes.get(scope);
        tokio::pin!(whole);
        if let Ok(entry) = timeout(query.deadline / PATIENCE, &mut whole).await {
            return Ok((entry?, true));
        }
        tokio::select! {
            biased;
            entry = &mut whole => Ok((entry?, true)),
            entry = self.scopes.lately(scope, LATELY) => Ok((entry?, false)),
        }
    }

    /// Ranks; a large scope in the background, where it holds up nobody else, one ranking of it at a
    /// time.
    async fn ranked(
        &self,
        entry: &Arc<Entry>,
        query: &RecallQuery,
        vector: Option<Arc<Vector>>,
    ) -> Result<Arc<Ranking>, StoreError> {
        let (question, clock, limit) = (query.question.clone(), query.clock.clone(), query.limit);
        let is_large = entry.read().records().len() >= LARGE;
        let of = entry.clone();
        let rank = move || {
            let asked = (question.analysed(), &clock);
            Arc::new(of.read().rank(asked, vector.as_deref(), limit))
        };
        match is_large {
            true => self.scopes.aside(entry, rank).await,
            false => Ok(rank()),
        }
    }
}
