//! A second look: the words of what was found best are looked for too, as an answer is often told in
//! words that its question does not have and another record has.

use super::{Analyzer, Document, Index, Query, Scored, Term, TermMap, dates};

/// How many documents of the first look are taken at their word.
const DOCS: usize = 2;
/// Terms of theirs at most.
const TERMS: usize = 10;
/// What the best of these terms weighs beside one of the question.
const WEIGHT: f32 = 0.2;

impl Index {
    /// The best `limit` documents, and the query with what the second look looked for; `document`
    /// gives a document as it was taken up. With `similarities` they are ranked by meaning too.
    pub fn rank<'a>(
        &self,
        query: &Query,
        similarities: Option<&[Option<f32>]>,
        document: impl Fn(u32) -> Document<'a>,
        limit: usize,
    ) -> (Query, Vec<Scored>) {
        let mut words = self.words(query);
        let mut again = self.near(query);
        self.count_in(&mut words, self.by_rarity(again.iter()));
        let best = self.best_by(query, &words, DOCS);
        let told = self.told_by(query, &best, document);
        self.count_in(&mut words, self.by_rarity(told.iter()));
        again.extend(told);
        let query = Query {
            again,
            ..query.clone()
        };
        let best = match similarities {
            Some(similarities) => self.best_with(&query, &words, similarities, limit),
            None => self.best_by(&query, &words, limit),
        };
        (query, best)
    }

    /// What these documents have that tells them from others and others share, with its weights.
    fn told_by<'a>(
        &self,
        query: &Query,
        best: &[Scored],
        document: impl Fn(u32) -> Document<'a>,
    ) -> Vec<(Term, f32)> {
        let mut told: TermMap<f32> = TermMap::default();
        let most = best.first().map_or(1.0, Scored::score);
        for scored in best {
            let terms = terms(&document(scored.doc));
            let part = scored.score() / most / (terms.len() as f32).sqrt();
            for term in terms {
                let found = self.postings.of(term).len();
                // What stands nowhere else leads nowhere.
                if found > 1 {
                    *told.entry(term).or_default() += part * self.rarity(found);
                }
            }
        }
        for (term, _) in &query.terms {
            told.remove(term);
        }
        let mut told: Vec<(Term, f32)> = told.into_iter().collect();
        told.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        told.truncate(TERMS);
        let most = told.first().map_or(1.0, |(_, weight)| *weight);
        for (_, weight) in &mut told {
            *weight *= WEIGHT / most;
        }
        told
    }
}

/// The terms of a document, each once, and that of its day: what was told that day belongs together.
fn terms(document: &Document<'_>) -> Vec<Term> {
    let mut analyzer = Analyzer::default();
    let mut found = Vec::new();
    if let Some(speaker) = document.speaker {
        analyzer.analyze(speaker, &mut found);
    }
    analyzer.analyze(document.text, &mut found);
    let mut terms = analyzer.terms().to_vec();
    terms.push(dates::record_terms(document.at)[0]);
    terms
}
