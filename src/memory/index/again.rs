//! A second look: the words of what was found best are looked for too, as an answer is often told in
//! words that its question does not have and another record has.

use super::{Analyzer, Clock, Document, Index, Query, Scored, Term, TermMap, Times};

/// How many documents of the first look are taken at their word.
const DOCS: usize = 2;
/// Terms of theirs at most.
const TERMS: usize = 10;
/// What the best of these terms weighs beside one of the question.
const WEIGHT: f32 = 0.2;

impl Index {
    /// The best `limit` documents, and the query with what the second look looked for and the times
    /// that it names by this clock; `document` gives a document as it was taken up. With similarities
    /// they are ranked by meaning too.
    pub fn rank<'a>(
        &self,
        query: &Query,
        (similarities, clock): (Option<&[Option<f32>]>, &Clock),
        document: impl Fn(u32) -> Document<'a>,
        limit: usize,
    ) -> (Query, Vec<Scored>) {
        let mut query = Query {
            times: self.times(&query.named, clock),
            again: self.near(query, &document),
            ..query.clone()
        };
        let mut words = self.words(&query);
        let best = self.best_by(&query, &words, DOCS);
        let (terms, days) = self.told_by(&query, &best, |doc| (document(doc), clock));
        self.count_in(&mut words, self.by_rarity(terms.iter()));
        self.count_times(&mut words, &days);
        query.again.extend(terms);
        query.times.extend(days);
        let best = match similarities {
            Some(similarities) => self.best_with(&query, &words, similarities, limit),
            None => self.best_by(&query, &words, limit),
        };
        (query, best)
    }

    /// Whether what so many documents have leads to others: what stands in one leads nowhere, and what
    /// stands in most leads everywhere.
    fn leads_on(&self, found: usize) -> bool {
        found > 1 && 2 * found <= self.docs.len()
    }

    /// What these documents have that tells them from others and others share, with its weights: terms,
    /// and their days, as what was told of a day belongs together.
    fn told_by<'a>(
        &self,
        query: &Query,
        best: &[Scored],
        document: impl Fn(u32) -> (Document<'a>, &'a Clock),
    ) -> (Vec<(Term, f32)>, Vec<Times>) {
        let mut told: TermMap<f32> = TermMap::default();
        let mut days: Vec<Times> = Vec::new();
        let most = best.first().map_or(1.0, Scored::score);
        for scored in best {
            let (document, clock) = document(scored.doc);
            let terms = terms(&document);
            let part = scored.score() / most / (terms.len() as f32 + 1.0).sqrt();
            for term in terms {
                let found = self.postings.of(term).len();
                if self.leads_on(found) {
                    *told.entry(term).or_default() += part * self.rarity(found);
                }
            }
            let mut day = Times::new(clock.day_of(document.at), 1.0);
            let found = self.during(&day).count();
            if self.leads_on(found) {
                day.weight = part * self.rarity(found);
                match days.iter_mut().find(|other| other.has(document.at)) {
                    Some(other) => other.weight += day.weight,
                    None => days.push(day),
                }
            }
        }
        for (term, _) in &query.terms {
            told.remove(term);
        }
        let mut told: Vec<(Term, f32)> = told.into_iter().collect();
        told.sort_unstable_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
        told.truncate(TERMS);
        let least = if told.len() < TERMS {
            0.0
        } else {
            told[TERMS - 1].1
        };
        days.retain(|day| day.weight > least);
        let weights = told.iter().map(|(_, weight)| *weight);
        let most = weights
            .chain(days.iter().map(|day| day.weight))
            .fold(0.0, f32::max);
        for (_, weight) in &mut told {
            *weight *= WEIGHT / most;
        }
        for day in &mut days {
            day.weight *= WEIGHT / most;
        }
        (told, days)
    }
}

/// The terms of a document, each once.
fn terms(document: &Document<'_>) -> Vec<Term> {
    let mut analyzer = Analyzer::default();
    let mut found = Vec::new();
    if let Some(speaker) = document.speaker {
        analyzer.analyze(speaker, &mut found);
    }
    analyzer.analyze(document.text, &mut found);
    analyzer.terms().to_vec()
}
