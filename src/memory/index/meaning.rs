//! What a document's meaning counts beside its words.

use super::{Index, Query, Scored, best};

/// Part of its meaning that a turn lends to the turns next to it, and to the next but one: more than
/// of its words, since what a turn means is said by those around it too.
const MEANT: [f32; 2] = [0.7, 0.35];
/// What a standard deviation of meaning counts beside words, for each root of what the question's
/// terms weigh. Words of a longer question score more, by chance as well, and that grows with the
/// root of their number.
const MEANING: f32 = 0.6;

impl Index {
    /// Same by words and meaning, given as how near each document's vector is to the query's, where
    /// it has one. A document without one counts as of usual meaning.
    pub fn rank_with(
        &self,
        query: &Query,
        similarities: &[Option<f32>],
        limit: usize,
    ) -> Vec<Scored> {
        let own = self.own(query);
        let weight: f32 = self.weighed(query).map(|(_, weight, idf)| weight * idf).sum();
        let counts = MEANING * weight.max(1.0).sqrt();
        let meaning = self.meaning(similarities);
        let scored = (0..self.docs.len() as u32).map(|doc| Scored {
            meaning: counts * meaning[doc as usize],
            ..self.scored(doc, |doc| own[doc as usize])
        });
        best(scored, limit)
    }

    /// How near each document's meaning is with its neighbours', in standard deviations over all,
    /// since models differ in how far their similarities spread.
    fn meaning(&self, similarities: &[Option<f32>]) -> Vec<f32> {
        let (usual, _) = spread(similarities.iter().flatten().copied());
        let own = |doc: u32| {
            let similarity = similarities.get(doc as usize).copied().flatten();
            similarity.map_or(0.0, |similarity| similarity - usual)
        };
        let [near, far] = MEANT;
        let mut meaning: Vec<f32> = (0..self.docs.len() as u32)
            .map(|doc| {
                let lent = self.around(doc).into_iter().zip([near, far, near, far]);
                own(doc) + lent.map(|(other, part)| part * own(other)).sum::<f32>()
            })
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
