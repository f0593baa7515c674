//! What a document's meaning counts beside its words.

use super::words::Words;
use super::{Index, Query, Scored, best};

/// What a standard deviation of meaning counts beside words, whose scores are of BM25. More helps
/// questions that only hint at a fact, and harms those that name a date or a turn beside it.
const MEANING: f32 = 2.0;
/// What a neighbour lends of its meaning, beside what it lends of its words.
const LENT: f32 = 0.5;

impl Index {
    /// The best `limit` documents by what their words count and by meaning: `similarities` says how
    /// near each document's vector is to the query's. Words count as they are, so that a question
    /// that shares rare words with a document is decided by them, one that only hints at it by
    /// meaning.
    pub(super) fn best_with(
        &self,
        query: &Query,
        words: &[Words],
        similarities: &[Option<f32>],
        limit: usize,
    ) -> Vec<Scored> {
        let words = (0..).zip(words);
        let scored = words.zip(self.meaning(similarities));
        let scored = scored.map(|((doc, words), meaning)| Scored {
            meaning: MEANING * meaning,
            ..self.scored(query, doc, *words)
        });
        best(scored, limit)
    }

    /// How near each document is to the query with its neighbours, since what a turn means is said by
    /// those around it too. It is told in standard deviations over all, as models differ in how far
    /// their similarities spread. A document without a vector counts as of usual meaning.
    fn meaning(&self, similarities: &[Option<f32>]) -> Vec<f32> {
        let (usual, _) = spread(similarities.iter().flatten().copied());
        let own = |doc: u32| {
            let similarity = similarities.get(doc as usize).copied().flatten();
            similarity.map_or(0.0, |similarity| similarity - usual)
        };
        let docs = 0..self.docs.len() as u32;
        let mut meaning: Vec<f32> = docs
            .map(|doc| own(doc) + LENT * self.lent(doc, own))
            .collect();
        let (usual, deviation) = spread(meaning.iter().copied());
        for value in &mut meaning {
            *value = (*value - usual) / deviation;
        }
        meaning
    }
}

/// Mean and standard deviation.
fn spread(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let count = values.clone().count().max(1) as f32;
    let mean = values.clone().sum::<f32>() / count;
    let variance = values.map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
    (mean, variance.sqrt().max(1e-6))
}
