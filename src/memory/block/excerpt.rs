//! The part of a long text that answers a question.

use std::mem::replace;
use std::ops::Range;

use super::quote::{Style, escaped_len, is_fence, quote};
use crate::memory::index::{Matcher, TermReader};
use crate::memory::similar::fingerprint;

/// Bytes after which a piece ends at the next white space, if no sentence has.
const LONG: usize = 120;

/// Bytes of a text that are looked at for what answers.
const LOOKED_AT: usize = 64 * 1024;

/// A text as every question meets it, worked out once.
#[derive(Debug)]
pub struct Outline {
    pub style: Style,
    /// Bytes of all of it in a block, as JSON.
    pub whole: usize,
    /// Of the text.
    pub print: u64,
    pieces: Box<[Cut]>,
    /// What the pieces say, one behind the other.
    terms: Box<[u32]>,
}

/// A sentence, a line, or a part of one: where it ends, and its terms.
#[derive(Debug)]
struct Cut {
    end: usize,
    terms: usize,
    /// Bytes in a JSON string.
    cost: usize,
}

impl Outline {
    pub fn of(text: &str) -> Self {
        let style = Style::of(text);
        let mut reader = TermReader::default();
        let mut terms = Vec::new();
        let pieces = split(text, style).into_iter().map(|at| {
            if at.start < LOOKED_AT {
                reader.read(&text[at.clone()], &mut terms);
            }
            Cut {
                terms: terms.len(),
                // What a line's indentation adds.
                cost: escaped_len(&text[at.clone()]) + 2,
                end: at.end,
            }
        });
        let pieces = pieces.collect();
        let mut whole = String::with_capacity(text.len());
        tell(text, style, &(0..text.len()), &mut whole);
        Self {
            whole: escaped_len(&whole),
            print: fingerprint(text),
            style,
            pieces,
            terms: terms.into(),
        }
    }

    /// Bytes that it takes, about.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.pieces) + size_of_val(&*self.terms)
    }
}

/// A text in pieces, each with what it has of the question.
pub struct Pieces {
    pieces: Vec<Piece>,
    /// What each term of the question counts: less, the more pieces have it.
    weights: Vec<f32>,
}

struct Piece {
    at: Range<usize>,
    cost: usize,
    /// Terms of the question, as bits.
    has: u64,
}

impl Pieces {
    pub fn of(outline: &Outline, matcher: &Matcher) -> Self {
        let (mut start, mut terms) = (0, 0);
        let pieces = outline.pieces.iter().map(|cut| Piece {
            has: matcher.matches(&outline.terms[replace(&mut terms, cut.terms)..cut.terms]),
            cost: cut.cost,
            at: replace(&mut start, cut.end)..cut.end,
        });
        let pieces: Vec<Piece> = pieces.collect();
        let mut having = vec![0u32; matcher.weights().len()];
        for bit in pieces.iter().flat_map(|piece| bits(piece.has)) {
            having[bit] += 1;
        }
        let weights = matcher.weights().iter().zip(having);
        Self {
            weights: weights
                .map(|(weight, having)| weight / having.max(1) as f32)
                .collect(),
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

fn bits(mut of: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (of != 0).then(|| of.trailing_zeros() as usize)?;
        of &= of - 1;
        Some(bit)
    })
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

/// Appends this part of a text as a block tells it, with marks of what is left out.
pub fn tell(text: &str, style: Style, part: &Range<usize>, line: &mut String) {
    let is_code = |at| style == Style::Lines && in_code(text, at);
    let told = &text[part.clone()];
    if part.start > 0 {
        line.push('…');
    }
    if is_code(part.start) && !is_fence(told.trim_start()) {
        line.push_str("\n  ```\n  ");
    }
    quote(told, style, line);
    if is_code(part.end) {
        line.push_str("\n  ```");
    }
    if part.end < text.len() {
        line.push('…');
    }
    line.push('\n');
}

/// Whether a place stands within a block of code.
fn in_code(text: &str, at: usize) -> bool {
    text[..at].lines().filter(|line| is_fence(line)).count() % 2 == 1
}
