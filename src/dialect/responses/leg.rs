//! One leg of an answer: whose its items are, and what of them would have to be told again.

use bytes::Bytes;
use serde_json::Value;

/// Bytes of a leg's items that are kept; of a longer one no call can be run.
const KEPT: usize = 8 * 1024 * 1024;

/// What becomes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client sees it under this index.
    Shown(u64),
    /// A call of the gateway's.
    Held,
}

/// A leg so far.
#[derive(Debug, Default)]
pub struct Leg {
    /// The items that are done, by their index in the leg.
    items: Vec<(u64, Bytes)>,
    bytes: usize,
    fates: Vec<(u64, Fate)>,
    pub usage: Value,
    /// Whether all was said, where its end was held back or edited.
    pub is_completed: Option<bool>,
}

impl Leg {
    /// Keeps an item as the upstream said it.
    pub fn keep(&mut self, index: u64, item: Bytes) {
        self.bytes += item.len();
        if self.is_whole() {
            self.items.push((index, item));
        }
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.bytes <= KEPT
    }

    /// Notes what becomes of an item.
    pub fn judge(&mut self, index: u64, fate: Fate) {
        self.fates.push((index, fate));
    }

    /// What becomes of an item that has begun.
    pub fn fate(&self, index: u64) -> Option<Fate> {
        let mut fates = self.fates.iter().rev();
        fates
            .find(|(known, _)| *known == index)
            .map(|(_, fate)| *fate)
    }

    /// Whether a call of the gateway's is among its items.
    pub fn has_held(&self) -> bool {
        self.fates.iter().any(|(_, fate)| *fate == Fate::Held)
    }

    /// Its items, in order.
    pub fn items(&self) -> Vec<Bytes> {
        let mut items = self.items.clone();
        items.sort_by_key(|(index, _)| *index);
        items.into_iter().map(|(_, item)| item).collect()
    }
}
