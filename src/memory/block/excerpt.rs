//! The part of a long text that answers a question.

use std::ops::Range;

use super::quote::{Style, escaped_len, is_fence};
use crate::memory::index::Matcher;

/// Bytes after which a piece ends at the next white space, if no sentence has.
const LONG: usize = 120;

/// Bytes of a text that are looked at for what answers.
const LOOKED_AT: usize = 64 * 1024;

/// A text in pieces, each with what it has of the question.
pub struct Pieces {
    pieces: Vec<Piece>,
    /// What each term of the question counts: less, the more pieces have it.
    weights: Vec<f32>,
}

/// A sentence, a line, or a part of one.
struct Piece {
    at: Range<usize>,
    /// Bytes in a JSON string.
    cost: usize,
    /// Terms of the question, as bits.
    has: u64,
}

impl Pieces {
    pub fn of(text: &str, style: Style, matcher: &mut Matcher) -> Self {
        let pieces = split(text, style).into_iter().map(|at| Piece {
            has: match at.start < LOOKED_AT {
                true => matcher.matches(&text[at.clone()]),
                false => 0,
            },
            // What a line's indentation adds.
            cost: escaped_len(&text[at.clone()]) + 2,
            at,
        });
        let pieces: Vec<Piece> = pieces.collect();
        let weight = |(bit, weight): (usize, &f32)| {
            let having = pieces
                .iter()
                .filter(|piece| piece.has >> bit & 1 == 1)
                .count();
            weight / having.max(1) as f32
        };
        Self {
            weights: matcher.weights().iter().enumerate().map(weight).collect(),
            pieces,
        }
    }

    /// The part that has most of the question, in at most `room` bytes of a JSON string; the
    /// beginning where no part has any of it.
    /// `text` is the one that it was made of.
    pub fn best(&self, text: &str, room: usize) -> Range<usize> {
        let Some(best) = self.run(room) else {
            // The piece with most of it has no room whole.
            let score = |piece: &Piece| bits(piece.has).map(|bit| self.weights[bit]).sum::<f32>();
            let most = self.pieces.iter().filter(|piece| piece.has != 0);
            let most = most.max_by(|one, other| score(one).total_cmp(&score(other)));
            return within(text, most.map_or(0, |piece| piece.at.start), room);
        };
        let cost = |run: &Range<usize>| -> usize {
            self.pieces[run.clone()]
                .iter()
                .map(|piece| piece.cost)
                .sum()
        };
        let (mut run, mut left) = (best.clone(), room.saturating_sub(cost(&best)));
        // What follows tells more than what leads up to it.
        loop {
            let after = self.pieces.get(run.end).filter(|it| it.cost <= left);
            let before = run.start.checked_sub(1).map(|at| &self.pieces[at]);
            let before = before.filter(|it| it.cost <= left);
            let grown = run.len() - best.len();
            match (after, before) {
                (Some(after), None) => (run.end, left) = (run.end + 1, left - after.cost),
                (Some(after), Some(_)) if grown % 3 != 2 => {
                    (run.end, left) = (run.end + 1, left - after.cost);
                }
                (_, Some(before)) => (run.start, left) = (run.start - 1, left - before.cost),
                (None, None) => break,
            }
        }
        self.pieces[run.start].at.start..self.pieces[run.end - 1].at.end
    }

    /// The run of pieces with most of the question that has room; the shortest such.
    fn run(&self, room: usize) -> Option<Range<usize>> {
        let mut best: Option<(f32, Range<usize>)> = None;
        let mut counts = vec![0u32; self.weights.len()];
        let (mut start, mut cost, mut score) = (0, 0, 0.0f32);
        for (end, piece) in self.pieces.iter().enumerate() {
            cost += piece.cost;
            for bit in bits(piece.has) {
                counts[bit] += 1;
                score += if counts[bit] == 1 {
                    self.weights[bit]
                } else {
                    0.0
                };
            }
            // Whatever has no room, or adds nothing at its beginning, goes.
            while start <= end && (cost > room || self.is_idle(start, &counts)) {
                let first = &self.pieces[start];
                for bit in bits(first.has) {
                    counts[bit] -= 1;
                    score -= if counts[bit] == 0 {
                        self.weights[bit]
                    } else {
                        0.0
                    };
                }
                cost -= first.cost;
                start += 1;
            }
            // Sums of parts that come and go do not quite end where they began.
            let is_better = best.as_ref().is_none_or(|(most, _)| score > most + 1e-4);
            if start <= end && score > 1e-4 && is_better {
                best = Some((score, start..end + 1));
            }
        }
        best.map(|(_, run)| run)
    }

    fn is_idle(&self, at: usize, counts: &[u32]) -> bool {
        bits(self.pieces[at].has).all(|bit| counts[bit] > 1)
    }
}

/// As much of a text from a place on as has room.
fn within(text: &str, from: usize, room: usize) -> Range<usize> {
    let mut left = room;
    for (at, c) in text[from..].char_indices() {
        let at = from + at;
        let cost = escaped_len(&text[at..at + c.len_utf8()]);
        if cost > left {
            // Not within a word, if there is white space near.
            let part = &text[from..at];
            let space = part.rfind(char::is_whitespace);
            let space = space.filter(|space| part.len() - space < 24);
            return from..from + space.unwrap_or(part.len());
        }
        left -= cost;
    }
    from..text.len()
}

fn bits(of: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |bit| of >> bit & 1 == 1)
}

/// Where the pieces stand: together they are all of the text.
fn split(text: &str, style: Style) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let next = chars.peek().map(|(_, next)| *next);
        let ends = match c {
            '\n' => true,
            '。' | '！' | '？' | '；' | '।' | '؟' => true,
            '.' | '!' | '?' | ';' if style == Style::Flowing => {
                next.is_some_and(char::is_whitespace)
            }
            c if end - start >= LONG && style == Style::Flowing => c.is_whitespace(),
            _ => false,
        };
        // Scripts without spaces, and lines without an end.
        if ends || end - start >= 2 * LONG {
            pieces.push(start..end);
            start = end;
        }
    }
    if start < text.len() {
        pieces.push(start..text.len());
    }
    pieces
}

/// Whether a place stands within a block of code.
pub fn in_code(text: &str, at: usize) -> bool {
    text[..at].lines().filter(|line| is_fence(line)).count() % 2 == 1
}
