//! What of an answer the client sees.

use bytes::Bytes;

use super::Reader;
use crate::dialect::answer::{Answer, Wanted};
use crate::dialect::calls::{Edit, Leg, Owners};
use crate::error::ApiError;
use crate::wire::frame::Event;

/// Stands between an upstream and the client, over all legs of an answer.
#[derive(Debug)]
pub struct Editor {
    reader: Reader,
}

impl Editor {
    pub fn new(_owners: Owners, wanted: Wanted, _seed: String) -> Self {
        Self {
            reader: Reader::new(wanted),
        }
    }

    pub fn passes(&self, _raw: &[u8]) -> bool {
        true
    }

    pub fn read(&mut self, data: &[u8]) {
        self.reader.event(data);
    }

    pub fn event(&mut self, data: &Bytes) -> Edit {
        self.reader.event(data);
        Edit::Pass
    }

    pub fn whole(&mut self, body: &Bytes) -> Edit {
        self.reader.whole(body);
        Edit::Pass
    }

    pub fn end_leg(&mut self) -> Leg {
        Leg::Complete
    }

    pub fn finish(&mut self) -> Vec<Event> {
        Vec::new()
    }

    pub fn error_event(&self, error: &ApiError) -> Event {
        Event::named("error", super::error(error, ""))
    }

    pub fn give_up(&mut self) {
        self.reader.give_up();
    }

    pub fn into_answer(self) -> Answer {
        self.reader.finish()
    }
}
