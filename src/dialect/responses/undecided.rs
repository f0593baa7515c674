//! Calls whose names come late: with the item that is done, or with the whole response.

use bytes::Bytes;

use super::edit::{Editor, Seen};
use super::item::{known, list};
use super::leg::Fate;
use super::round::is_ours;
use crate::dialect::calls::Edit;
use crate::wire::frame::Event;

impl Editor {
    /// What becomes of an item that begins so.
    pub(super) fn fate(&mut self, seen: &Seen<'_>) -> Fate {
        match seen.item.and_then(|item| known(item.get().as_bytes())) {
            Some(item) if item.is_ours(&self.owners) => Fate::Held,
            Some(item) if !item.is_nameless() => self.next_place(seen.output_index),
            _ => Fate::Undecided,
        }
    }

    /// The events that were held and turned out to be the client's.
    pub fn released(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.released)
    }

    /// Decides whose an item is that is done.
    pub(super) fn decide(&mut self, seen: &Seen<'_>, place: usize) {
        let is_ours = seen
            .item
            .is_some_and(|item| is_ours(item.get().as_bytes(), &self.owners));
        self.decide_on(place, is_ours);
    }

    /// Decides whose the items are that were never done: those of the whole response tell.
    pub(super) fn decide_rest(&mut self, output: Option<&Bytes>) {
        let undecided = self.leg.undecided();
        if undecided.is_empty() {
            return;
        }
        let items = output.map(|output| list(output)).unwrap_or_default();
        for (place, id) in undecided {
            let mut items = items.iter().filter(|item| item.id == id);
            let is_ours = items.any(|item| item.is_ours(&self.owners));
            self.decide_on(place, is_ours);
        }
    }

    fn decide_on(&mut self, place: usize, is_ours: bool) {
        match (self.leg.fate(place), is_ours) {
            (Fate::Undecided | Fate::Shown(_), true) => {
                self.leg.decide(place, Fate::Held);
            }
            (Fate::Undecided, false) => {
                let fate = self.next_place(None);
                for held in self.leg.decide(place, fate) {
                    self.release(held, fate);
                }
            }
            _ => {}
        }
    }

    /// Where the client sees the next item: under the upstream's own index for as long as nothing is held.
    fn next_place(&mut self, index: Option<u64>) -> Fate {
        let own = index.filter(|_| self.past == 0 && !self.leg.has_held());
        let place = own.unwrap_or(self.begun);
        self.begun = self.begun.max(place + 1);
        Fate::Shown(place)
    }

    fn release(&mut self, held: Bytes, fate: Fate) {
        let (Ok(seen), Fate::Shown(place)) = (serde_json::from_slice::<Seen<'_>>(&held), fate)
        else {
            return;
        };
        let name = seen.r#type.clone();
        let data = match self.numbered(&held, &seen, Some(place)) {
            Edit::Replace(data) => data,
            Edit::Pass | Edit::Drop => held.clone(),
        };
        self.reader.event(&data);
        self.released.push(Event::named(name, data));
    }
}
