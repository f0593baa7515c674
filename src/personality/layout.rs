//! How a persona's prompt is put together: escaped once when it is loaded, joined by reference for
//! each request.

use super::book::{Entry, Hit, Slot};
use super::clock::Clock;
use super::macros::{self, DEFAULT_USER, Piece, Values, plain};
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
    tells_time: bool,
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
    Now(Clock),
    /// Its name: what stands in it is of the book.
    Outlet(String),
}

/// What a request fills a prompt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) values: Values<'a>,
    pub(super) hits: &'a [Hit<'a>],
}

impl<'a> Filling<'a> {
    fn at(self, slot: Slot) -> impl Iterator<Item = &'a Entry> {
        let hits = self.hits.iter().filter(move |hit| hit.slot == slot);
        hits.map(|hit| hit.entry)
    }

    fn of_outlet(self, name: &str) -> impl Iterator<Item = &'a Entry> {
        self.at(Slot::Outlet)
            .filter(move |entry| entry.outlet == name)
    }
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
            tells_time: whole.iter().any(|piece| matches!(piece, Piece::Now(_))),
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

    pub(super) fn assemble(&self, filling: Filling<'_>) -> Vec<Fragment> {
        let other_user = self.names_user && filling.values.user != DEFAULT_USER;
        if filling.hits.is_empty() && !other_user && !self.tells_time {
            return self.standing.clone();
        }
        let mut fragments = Vec::new();
        let mut section = |parts: &[Part]| {
            let before = fragments.len();
            if before > 0 {
                fragments.push(self.separator.clone());
            }
            let filled = fragments.len();
            fill(parts, filling, &mut fragments);
            // Of a section that is an empty outlet nothing stays.
            if fragments.len() == filled {
                fragments.truncate(before);
            }
        };
        for block in &self.blocks {
            match block {
                Compiled::Section(parts) => section(parts),
                Compiled::Slot(slot) => {
                    filling.at(*slot).for_each(|entry| section(&entry.parts));
                }
            }
        }
        fragments
    }
}

fn fill(parts: &[Part], filling: Filling<'_>, out: &mut Vec<Fragment>) {
    for part in parts {
        match part {
            Part::Fixed(fragment) => out.push(fragment.clone()),
            Part::User => out.push(Fragment::Text(Escaped::new(filling.values.user))),
            Part::Now(clock) => {
                let told = clock.tell(filling.values.now);
                out.push(Fragment::Text(Escaped::new(&told)));
            }
            Part::Outlet(name) => {
                for (index, entry) in filling.of_outlet(name).enumerate() {
                    if index > 0 {
                        out.push(Fragment::Book(Escaped::new("\n")));
                    }
                    // An entry in an outlet opens no outlet: it might be its own.
                    let parts = entry.parts.iter();
                    let closed = parts.filter(|part| !matches!(part, Part::Outlet(_)));
                    closed.for_each(|part| fill(std::slice::from_ref(part), filling, out));
                }
            }
        }
    }
}

/// What stands after the conversation: the book's entries for that place, then the card's own.
#[derive(Debug, Default)]
pub(super) struct PostHistory {
    own: Vec<Vec<Piece>>,
    /// For the default user and with nothing of the book.
    standing: Option<Escaped>,
    tells_time: bool,
}

impl PostHistory {
    pub(super) fn new(mut own: Vec<Vec<Piece>>) -> Self {
        own.retain(|pieces| !pieces.is_empty());
        let whole = join(own.iter().map(Vec::as_slice));
        let standing = (!whole.is_empty()).then(|| Escaped::new(&macros::standing(&whole)));
        Self {
            standing,
            tells_time: whole.iter().any(|piece| matches!(piece, Piece::Now(_))),
            own,
        }
    }

    /// It must be one text, so the rare one that a request changes is escaped anew.
    pub(super) fn assemble(&self, filling: Filling<'_>) -> Option<Escaped> {
        let entries: Vec<&[Piece]> = filling
            .at(Slot::PostHistory)
            .map(|entry| entry.pieces.as_slice())
            .collect();
        let own = || self.own.iter().map(Vec::as_slice);
        let names = |piece: &Piece| match piece {
            Piece::User => filling.values.user != DEFAULT_USER,
            Piece::Outlet(name) => filling.of_outlet(name).next().is_some(),
            _ => false,
        };
        if entries.is_empty() && !self.tells_time && !own().flatten().any(names) {
            return self.standing.clone();
        }
        let mut whole = Vec::new();
        for piece in join(entries.into_iter().chain(own())) {
            match piece {
                Piece::Outlet(name) => {
                    for (index, entry) in filling.of_outlet(&name).enumerate() {
                        if index > 0 {
                            whole.push(Piece::Text("\n".to_owned()));
                        }
                        whole.extend_from_slice(&entry.pieces);
                    }
                }
                piece => whole.push(piece),
            }
        }
        Some(Escaped::new(&plain(&whole, filling.values)))
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
            Piece::Now(clock) => Part::Now(clock.clone()),
            Piece::Outlet(name) => Part::Outlet(name.clone()),
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
            _ => Fragment::Text(Escaped::new(&macros::standing(run))),
        });
    }
    fragments
}
