//! How a persona's prompt is put together: escaped once when it is loaded, joined by reference for
//! each request.

use super::book::{Hit, Slot};
use super::macros::{DEFAULT_USER, Piece, plain};
use crate::dialect::Fragment;
use crate::wire::Escaped;

/// What stands between two sections.
const SEPARATOR: &str = "\n\n";

/// A part of a prompt as a loader describes it.
pub(super) enum Block {
    /// Text of the persona.
    Section(Vec<Piece>),
    /// Where the book's entries for that slot go.
    Slot(Slot),
}

/// A prompt in blocks with a blank line between them, every text escaped.
#[derive(Debug)]
pub(super) struct Layout {
    blocks: Vec<Compiled>,
    names_user: bool,
    /// The whole for the default user and with nothing of the book, in as few fragments as it takes.
    standing: Vec<Fragment>,
    separator: Fragment,
}

#[derive(Debug)]
enum Compiled {
    Section(Vec<Part>),
    Slot(Slot),
}

/// A [`Piece`], escaped.
#[derive(Debug)]
pub(super) enum Part {
    Fixed(Fragment),
    User,
}

impl Layout {
    pub(super) fn new(blocks: Vec<Block>) -> Self {
        let sections = blocks.iter().filter_map(|block| match block {
            Block::Section(pieces) => Some(pieces.as_slice()),
            Block::Slot(_) => None,
        });
        let whole = join(sections);
        Self {
            names_user: whole.contains(&Piece::User),
            standing: merge(&whole),
            separator: Fragment::Text(Escaped::new(SEPARATOR)),
            blocks: blocks
                .into_iter()
                .map(|block| match block {
                    Block::Section(pieces) => Compiled::Section(compile(&pieces, Fragment::Text)),
                    Block::Slot(slot) => Compiled::Slot(slot),
                })
                .collect(),
        }
    }

    pub(super) fn assemble(&self, user_name: Option<&str>, hits: &[Hit<'_>]) -> Vec<Fragment> {
        if hits.is_empty() && (user_name.is_none() || !self.names_user) {
            return self.standing.clone();
        }
        let user = Fragment::Text(Escaped::new(user_name.unwrap_or(DEFAULT_USER)));
        let mut fragments = Vec::new();
        let mut section = |parts: &[Part]| {
            if !fragments.is_empty() {
                fragments.push(self.separator.clone());
            }
            fragments.extend(parts.iter().map(|part| match part {
                Part::Fixed(fragment) => fragment.clone(),
                Part::User => user.clone(),
            }));
        };
        for block in &self.blocks {
            match block {
                Compiled::Section(parts) => section(parts),
                Compiled::Slot(slot) => hits
                    .iter()
                    .filter(|hit| hit.slot == *slot)
                    .for_each(|hit| section(&hit.entry.parts)),
            }
        }
        fragments
    }
}

/// What stands after the conversation: the book's entries for that place, then the card's own.
#[derive(Debug, Default)]
pub(super) struct PostHistory {
    pieces: Vec<Piece>,
    /// For the default user and with nothing of the book.
    standing: Option<Escaped>,
}

impl PostHistory {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        let standing = (!pieces.is_empty()).then(|| Escaped::new(&plain(&pieces, DEFAULT_USER)));
        Self { pieces, standing }
    }

    /// It must be one text, so the rare one that a request changes is escaped anew.
    pub(super) fn assemble(&self, user_name: Option<&str>, hits: &[Hit<'_>]) -> Option<Escaped> {
        let entries: Vec<&[Piece]> = hits
            .iter()
            .filter(|hit| hit.slot == Slot::PostHistory)
            .map(|hit| hit.entry.pieces.as_slice())
            .collect();
        let names_user = user_name.is_some() && self.pieces.contains(&Piece::User);
        if entries.is_empty() && !names_user {
            return self.standing.clone();
        }
        let own = self.standing.is_some().then_some(self.pieces.as_slice());
        let whole = join(entries.into_iter().chain(own));
        Some(Escaped::new(&plain(
            &whole,
            user_name.unwrap_or(DEFAULT_USER),
        )))
    }
}

/// Each piece escaped, its text as the kind of fragment that `kind` makes.
pub(super) fn compile(pieces: &[Piece], kind: fn(Escaped) -> Fragment) -> Vec<Part> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Part::Fixed(kind(Escaped::new(text))),
            Piece::User => Part::User,
            Piece::Original => Part::Fixed(Fragment::Original),
        })
        .collect()
}

/// Sections as one, a blank line between two.
fn join<'a>(sections: impl Iterator<Item = &'a [Piece]>) -> Vec<Piece> {
    let mut whole = Vec::new();
    for section in sections {
        if !whole.is_empty() {
            whole.push(Piece::Text(SEPARATOR.to_owned()));
        }
        whole.extend_from_slice(section);
    }
    whole
}

/// Fragments for the default user, neighbouring texts as one.
fn merge(pieces: &[Piece]) -> Vec<Fragment> {
    let mut fragments = Vec::new();
    for run in pieces.chunk_by(|a, b| *a != Piece::Original && *b != Piece::Original) {
        fragments.push(match run {
            [Piece::Original] => Fragment::Original,
            _ => Fragment::Text(Escaped::new(&plain(run, DEFAULT_USER))),
        });
    }
    fragments
}
