//! Reading a copy of an answer.

use crate::dialect::answer::{Answer, Wanted};

/// Gathers an [`Answer`] from the events of a stream, or from a whole body.
#[derive(Debug)]
pub struct Reader {
    answer: Answer,
}

impl Reader {
    pub fn new(_wanted: Wanted) -> Self {
        Self {
            answer: Answer::default(),
        }
    }

    pub fn event(&mut self, _data: &[u8]) {}

    pub fn whole(&mut self, _body: &[u8]) {}

    pub fn give_up(&mut self) {
        self.answer.unreadable = true;
    }

    pub fn answer(&self) -> &Answer {
        &self.answer
    }

    pub fn finish(self) -> Answer {
        self.answer
    }
}
