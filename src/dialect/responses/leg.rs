//! One leg of an answer: whose its items are, and what of them would have to be told again.
//!
//! Which item an event is of, its id says, else its index, else that it is the one that was begun
//! last: there are servers that leave either out, give all items one index, or one item several ids.

use bytes::Bytes;
use serde_json::Value;

use super::item::{Known, known};
use super::round::with_arguments;
use crate::dialect::calls::object;

/// Bytes of a leg's items that are kept; of a longer one no call can be run.
const KEPT: usize = 8 * 1024 * 1024;

/// What becomes of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The client sees it under this index.
    Shown(u64),
    /// A call of the gateway's.
    Held,
    /// A call whose name comes later: it is held for as long.
    Undecided,
}

/// A leg so far.
#[derive(Debug, Default)]
pub struct Leg {
    /// In the order in which they began.
    begun: Vec<Begun>,
    bytes: usize,
    pub usage: Value,
    /// Whether all was said, where its end was held back or edited.
    pub is_completed: Option<bool>,
}

/// An item that has begun.
#[derive(Debug)]
struct Begun {
    index: Option<u64>,
    id: String,
    fate: Fate,
    /// Whether it is done, …
    is_done: bool,
    /// … and what it is then, unless that is too much to keep.
    item: Option<Bytes>,
    /// The arguments of a call, as events of their own say them.
    arguments: String,
    /// Its events, while nobody knows whose it is.
    events: Vec<Bytes>,
}

impl Leg {
    /// Notes that an item begins, and what becomes of it. Gives its place.
    pub fn begin(&mut self, index: Option<u64>, id: &str, fate: Fate) -> usize {
        self.begun.push(Begun {
            index,
            id: id.to_owned(),
            fate,
            is_done: false,
            item: None,
            arguments: String::new(),
            events: Vec::new(),
        });
        self.begun.len() - 1
    }

    /// The place of the item that an event is of.
    pub fn place(&self, index: Option<u64>, id: &str) -> Option<usize> {
        let by = |is: &dyn Fn(&Begun) -> bool| self.begun.iter().rposition(is);
        let by_id = by(&|begun| !id.is_empty() && begun.id == id);
        by_id.or_else(|| match index {
            Some(_) => by(&|begun| begun.index == index),
            None => self.begun.len().checked_sub(1),
        })
    }

    /// The same of one that is not done.
    pub fn open_place(&self, index: Option<u64>, id: &str) -> Option<usize> {
        let place = self.place(index, id);
        place.filter(|place| !self.begun[*place].is_done)
    }

    pub fn fate(&self, place: usize) -> Fate {
        self.begun[place].fate
    }

    /// Holds an event of an item that nobody knows whose it is.
    pub fn hold(&mut self, place: usize, event: Bytes) {
        self.bytes += event.len();
        if self.is_whole() {
            self.begun[place].events.push(event);
        }
    }

    /// Decides what becomes of an item. Gives its events so far, where they were held.
    pub fn decide(&mut self, place: usize, fate: Fate) -> Vec<Bytes> {
        let begun = &mut self.begun[place];
        begun.fate = fate;
        std::mem::take(&mut begun.events)
    }

    /// The items that nobody knows whose they are, each with its id.
    pub fn undecided(&self) -> Vec<(usize, String)> {
        let begun = self.begun.iter().enumerate();
        let undecided = begun.filter(|(_, begun)| begun.fate == Fate::Undecided);
        undecided
            .map(|(at, begun)| (at, begun.id.clone()))
            .collect()
    }

    /// Adds to the arguments of a call, or says all of them.
    pub fn argue(&mut self, place: usize, arguments: &str, is_all: bool) {
        let known = &mut self.begun[place].arguments;
        if is_all {
            known.clear();
        }
        if known.len() + arguments.len() <= KEPT {
            known.push_str(arguments);
        }
    }

    /// Keeps an item as the upstream said it; its arguments as they came, where it has none itself.
    pub fn keep(&mut self, place: usize, item: Bytes) {
        let begun = &mut self.begun[place];
        begun.is_done = true;
        self.bytes += item.len();
        let known = known(&item).filter(|_| !begun.arguments.is_empty());
        let lacks = known.is_some_and(|known| object(&known.arguments).is_none());
        let item = match object(&begun.arguments).filter(|_| lacks) {
            Some(arguments) => with_arguments(&item, &arguments),
            None => item,
        };
        if self.bytes <= KEPT {
            begun.item = Some(item);
        }
    }

    /// The first call of the gateway's that is not done.
    pub fn open_call(&self) -> Option<usize> {
        let is_open = |begun: &Begun| begun.fate == Fate::Held && !begun.is_done;
        self.begun.iter().position(is_open)
    }

    /// Whether an item that is done is this one.
    pub fn has(&self, item: &Known) -> bool {
        let is_it = |id: &str, there: &str| !id.is_empty() && id == there;
        self.items().any(|there| {
            let there = known(there);
            there.is_some_and(|there| {
                is_it(&item.id, &there.id) || is_it(&item.call_id, &there.call_id)
            })
        })
    }

    /// Whether no item has begun.
    pub fn is_bare(&self) -> bool {
        self.begun.is_empty()
    }

    /// Whether all of it is there.
    pub fn is_whole(&self) -> bool {
        self.bytes <= KEPT
    }

    /// Whether a call of the gateway's is among its items, or may be.
    pub fn has_held(&self) -> bool {
        let is_held = |begun: &Begun| matches!(begun.fate, Fate::Held | Fate::Undecided);
        self.begun.iter().any(is_held)
    }

    /// Whether such a call was cut off.
    pub fn has_half(&self) -> bool {
        let held = self.begun.iter().filter(|begun| begun.fate == Fate::Held);
        let mut items = held.filter_map(|begun| known(begun.item.as_ref()?));
        items.any(|item| !matches!(item.status.as_str(), "" | "completed" | "in_progress"))
    }

    /// The items that are done, in order.
    pub fn items(&self) -> impl Iterator<Item = &Bytes> + Clone {
        self.begun.iter().filter_map(|begun| begun.item.as_ref())
    }
}
