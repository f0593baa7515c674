//! What was worked out of texts lately. Clients send their whole history again with each turn, and
//! people ask the same again; neither is to be read word by word each time.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moka::sync::Cache;
use xxhash_rust::xxh3::Xxh3;

use super::block::{self, Block, Outlines, Room};
use super::question::Question;
use super::recall::Recalled;
use super::similar::fingerprint;
use crate::by_bytes::weighed;

/// Messages whose fingerprints are kept.
const MESSAGES: u64 = 1 << 16;
/// Bytes of questions that are kept, and of blocks.
const BYTES: u64 = 4 << 20;

/// Fingerprints of messages, questions and blocks, by the bytes that they are made of.
pub struct Known {
    /// Drawn at each start, so that nobody can choose texts that are taken for each other.
    seed: u64,
    fingerprints: Cache<u128, u64>,
    questions: Cache<u128, Arc<Question>>,
    blocks: Cache<u128, Arc<Block>>,
    outlines: Outlines,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            seed: RandomState::new().hash_one(0),
            fingerprints: Cache::new(MESSAGES),
            questions: weighed(BYTES, Question::weight),
            blocks: weighed(BYTES, Block::weight),
            outlines: Outlines::default(),
        }
    }
}

impl Known {
    /// Lets go of all texts.
    pub fn forget(&self) {
        self.questions.invalidate_all();
        self.blocks.invalidate_all();
        self.outlines.forget();
    }

    /// The fingerprint of the text that `raw` stands for, as
    /// [`RecallQuery::already_sent`](super::RecallQuery::already_sent) wants it; the same bytes stand
    /// for the same text.
    pub fn fingerprint<'a>(&self, raw: &[u8], text: impl FnOnce() -> Cow<'a, str>) -> u64 {
        let mut hash = Xxh3::with_seed(self.seed);
        hash.update(raw);
        let of = || fingerprint(&text());
        self.fingerprints.get_with(hash.digest128(), of)
    }

    /// The question that these messages ask, the last user's first; `read` reads their texts.
    pub fn question<'a>(
        &self,
        said: impl Iterator<Item = &'a [u8]>,
        read: impl FnOnce() -> Question,
    ) -> Arc<Question> {
        let mut hash = Xxh3::with_seed(self.seed);
        for raw in said {
            part(&mut hash, raw);
        }
        self.questions
            .get_with(hash.digest128(), || Arc::new(read()))
    }

    /// What [`block::render`] makes of these.
    pub fn block<'a>(
        &self,
        found: impl Iterator<Item = &'a Recalled> + Clone,
        question: &Question,
        room: &Room,
    ) -> Arc<Block> {
        let mut hash = Xxh3::with_seed(self.seed);
        part(&mut hash, question.text().as_bytes());
        hash.update(&question.print().to_le_bytes());
        hash.update(&room.bytes.to_le_bytes());
        part(&mut hash, room.zone_name().as_bytes());
        // A record that is there is not written to: another text is another object.
        for Recalled { record, .. } in found.clone() {
            let mut part = [0; 32];
            part[..16].copy_from_slice(record.id.as_bytes());
            part[16..24].copy_from_slice(&record.updated_at.to_le_bytes());
            part[24..].copy_from_slice(&(Arc::as_ptr(record).addr() as u64).to_le_bytes());
            hash.update(&part);
        }
        let render = || block::render(found, question, (room, &self.outlines)).into();
        self.blocks.get_with(hash.digest128(), render)
    }
}

/// Hashes one of several texts, so that the same bytes parted elsewhere are others.
fn part(hash: &mut Xxh3, text: &[u8]) {
    hash.update(&text.len().to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_what_would_be_worked_out() {
        let known = Known::default();
        for _ in 0..2 {
            let print = known.fingerprint(b"\"a\\u0020cat\"", || "a cat".into());
            assert_eq!(print, fingerprint("A  cat."));
        }
        let again = known.fingerprint(b"\"a\\u0020cat\"", || unreachable!("it is known"));
        assert_eq!(again, fingerprint("a cat"));
    }

    #[test]
    fn a_question_is_read_once_and_the_same_bytes_parted_elsewhere_are_another() {
        let known = Known::default();
        let ask = |parts: [&str; 2]| {
            let read = || Question::new(parts[0].to_owned(), vec![parts[1].to_owned()]);
            known.question(parts.iter().map(|part| part.as_bytes()), read)
        };
        let first = ask(["it", "a cat"]);
        assert_eq!(*first, Question::new("it".into(), vec!["a cat".into()]));
        assert!(Arc::ptr_eq(&first, &ask(["it", "a cat"])));
        assert_eq!(ask(["ita", " cat"]).context(), [" cat"]);
    }
}
