//! What looks like half an edit, and why a file has no contents that count.
//!
//! A file of a running gateway is written in place by some, copied by others, and read in the
//! middle of both. Much of what is half there is valid, and says something else than was meant:
//! the first half of a configuration has no keys. So what could be a file in the making is none.

use std::io;
use std::path::Path;

use bytes::Bytes;

use super::Writers;
use super::plain::Found;
use crate::error::Fault;

/// What some editors put in front of UTF-8.
const MARK: &[u8] = "\u{feff}".as_bytes();

/// Why a file is no edit, as what is in force of it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Torn {
    #[error("was there, and is gone")]
    Gone,
    #[error("is empty, and was not")]
    Emptied,
    #[error("holds comments alone, and held more")]
    OnlyComments,
    #[error("is what is in force, cut off after {0} bytes")]
    CutOff(usize),
    #[error("is still being written")]
    BeingWritten,
}

impl Torn {
    fn mend(self) -> &'static str {
        match self {
            Self::Gone => "put it back, or restart to go on without it",
            Self::Emptied | Self::OnlyComments => "write it anew, or restart where this is meant",
            Self::CutOff(_) => {
                "write the whole file; where its end was taken out on purpose, change something \
                 before it too, a comment is enough"
            }
            Self::BeingWritten => {
                "it is read when whoever has it open for writing closes it; save it again where \
                 nobody does"
            }
        }
    }
}

/// Why there are no contents that count.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    #[error("cannot be read: {0}")]
    Io(io::Error),
    #[error("is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    #[error("is {0}, not a plain file")]
    Special(&'static str),
    #[error("is not UTF-8 from byte {valid} on")]
    NotText { valid: usize, line: usize },
    #[error(transparent)]
    Torn(#[from] Torn),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Unread {
    /// Whether there is no such file, nor was one.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// As a fault of that file.
    pub fn fault(self, path: &Path) -> Fault {
        let (what, mend) = match &self {
            Self::Io(error) => match error.kind() {
                io::ErrorKind::NotFound => (
                    "there is no such file".to_owned(),
                    "check the path; a relative one starts at the working directory",
                ),
                io::ErrorKind::IsADirectory => {
                    ("is a directory".to_owned(), "name a file inside of it")
                }
                io::ErrorKind::PermissionDenied => (
                    "may not be read".to_owned(),
                    "give the user that runs yychat the right to read it",
                ),
                _ => (self.to_string(), "check the file"),
            },
            Self::TooLarge(_) => (self.to_string(), "check that the path names the right file"),
            Self::Special(_) => (self.to_string(), "put a file in its place"),
            Self::NotText { .. } => (self.to_string(), "save it as UTF-8"),
            Self::Torn(torn) => (torn.to_string(), torn.mend()),
        };
        let fault = Fault::new(path, what, mend);
        match self {
            Self::NotText { line, .. } => fault.at_line(line),
            _ => fault,
        }
    }
}

/// Whether what was found looks torn, `good` being what is in force of it.
pub fn judge(path: &Path, found: &Found, good: Option<&Bytes>, writers: &Writers) -> Option<Torn> {
    let now = match (found, good) {
        (Found::Contents { bytes, .. }, _) => bytes,
        (Found::Unreadable(io::ErrorKind::NotFound, _), Some(_)) => return Some(Torn::Gone),
        _ => return None,
    };
    if good == Some(now) {
        return None;
    }
    if let Some(good) = good {
        if is_blank(now) && !is_blank(good) {
            return Some(Torn::Emptied);
        }
        if is_toml(path) && says_nothing(now) && !says_nothing(good) {
            return Some(Torn::OnlyComments);
        }
        if is_cut_off(now, good) {
            return Some(Torn::CutOff(now.len()));
        }
    }
    writers.are_at(path).then_some(Torn::BeingWritten)
}

fn is_toml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "toml")
}

fn is_blank(text: &[u8]) -> bool {
    text.trim_ascii().is_empty()
}

/// Whether the one is the other as far as it goes, by its bytes or, since editors differ on what ends
/// a line and a file, by its lines.
fn is_cut_off(now: &[u8], good: &[u8]) -> bool {
    if let Some(rest) = good.strip_prefix(now) {
        return !is_blank(rest);
    }
    let mut rest = lines(good);
    let end = now.trim_ascii_end();
    let is_same = lines(end).all(|line| rest.next() == Some(line));
    is_same && rest.any(|line| !is_blank(line))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_prefix(MARK).unwrap_or(text);
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
}

/// Whether TOML has no key in it.
fn says_nothing(text: &[u8]) -> bool {
    let mut lines = lines(text).map(<[u8]>::trim_ascii_start);
    lines.all(|line| line.is_empty() || line.starts_with(b"#"))
}
