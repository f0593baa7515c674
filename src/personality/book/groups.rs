//! Chance, and groups of which one entry is there.
//!
//! What is drawn is drawn from the conversation: the same request gives the same prompt, in a
//! preview and when it is tried again.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::scan::Hit;

/// An entry's part in a group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    name: String,
    /// It wins over those that do not say so.
    first: bool,
    weight: f64,
}

impl Group {
    /// The groups of a list with commas.
    pub(super) fn list(names: &str, first: bool, weight: f64) -> Vec<Self> {
        let names = names.split(',').map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(|name| Self {
                name: name.to_owned(),
                first,
                weight: weight.max(0.0),
            })
            .collect()
    }
}

/// Draws for one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(newest_message: &str, messages: usize) -> Self {
        Self(xxh3_64_with_seed(
            newest_message.as_bytes(),
            messages as u64,
        ))
    }

    /// A number from 0 up to 1, always the same for one thing.
    fn draw(self, thing: &str) -> f64 {
        let bits = xxh3_64_with_seed(thing.as_bytes(), self.0) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// Whether an entry is there that is there in so many of 100 cases.
    pub(super) fn favours(self, entry: usize, probability: u8) -> bool {
        probability >= 100 || self.draw(&entry.to_string()) * 100.0 < f64::from(probability)
    }
}

/// Leaves one entry of each group: of those that come first the one with the highest order, else
/// one by weight.
pub(super) fn one_of_each(hits: &mut Vec<Hit<'_>>, dice: Dice) {
    let mut groups: BTreeMap<&str, Vec<(usize, &Group)>> = BTreeMap::new();
    for (place, hit) in hits.iter().enumerate() {
        for group in &hit.entry.groups {
            groups.entry(&group.name).or_default().push((place, group));
        }
    }
    let mut lost = BTreeSet::new();
    for (name, mut members) in groups {
        members.retain(|(place, _)| !lost.contains(place));
        let winner = winner(name, &members, dice);
        lost.extend(
            members
                .iter()
                .map(|(place, _)| *place)
                .filter(|place| Some(*place) != winner),
        );
    }
    let mut place = 0;
    hits.retain(|_| {
        place += 1;
        !lost.contains(&(place - 1))
    });
}

fn winner(name: &str, members: &[(usize, &Group)], dice: Dice) -> Option<usize> {
    // Hits stand by their order.
    let first = members.iter().rev().find(|(_, group)| group.first);
    if let Some((place, _)) = first {
        return Some(*place);
    }
    let whole: f64 = members.iter().map(|(_, group)| group.weight).sum();
    let mut left = dice.draw(name) * whole;
    let drawn = members.iter().find(|(_, group)| {
        left -= group.weight;
        left < 0.0
    });
    drawn.or(members.first()).map(|(place, _)| *place)
}
