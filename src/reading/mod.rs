//! One reading of all the files that a generation is made from.
//!
//! Whoever loads a part of a generation reads through a [`Reading`], which sees to what no part
//! could alone: only plain files are opened, each is read once, and one that looks torn against
//! what is in force (emptied, cut off, gone, still being written) is not taken for an edit. What
//! was read is then the [`Record`] that says what to watch, and whether anything has changed.

mod plain;
mod syntax;
#[cfg(test)]
mod tests;
mod torn;
mod writers;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

pub use plain::is_special;
pub use syntax::NoToml;
pub use torn::{Torn, Unread};
pub use writers::{Writers, names};

use plain::Found;

/// Bytes of a text file that people write by hand, at most: far more than any needs, and a bound
/// for a path that leads elsewhere.
pub const MAX_TEXT: usize = 1 << 20;

/// Which entries of a folder matter, hidden ones apart.
pub type Counts = fn(&Path) -> bool;

/// A reading under way. The default one has nothing in force to compare with.
#[derive(Debug, Default)]
pub struct Reading {
    before: Option<(Arc<Record>, Writers)>,
    seen: Mutex<Record>,
}

/// What was read, by the paths that it was asked for by.
#[derive(Default)]
pub struct Record {
    files: BTreeMap<PathBuf, File>,
    folders: BTreeMap<PathBuf, Folder>,
}

#[derive(Clone)]
struct File {
    most: usize,
    found: Found,
    torn: Option<Torn>,
    /// What is in force of it: what was found, unless that is torn.
    good: Option<Bytes>,
}

#[derive(Debug, Clone)]
struct Folder {
    counts: Counts,
    /// Sorted.
    entries: Result<Vec<PathBuf>, String>,
}

impl Reading {
    /// A reading that may take the place of what is in force.
    pub fn again(in_force: Arc<Record>, writers: Writers) -> Self {
        Self {
            before: Some((in_force, writers)),
            seen: Mutex::default(),
        }
    }

    /// The contents of a plain file.
    ///
    /// # Errors
    ///
    /// Says why there are none that count.
    pub fn read(&self, path: &Path, most: usize) -> Result<Bytes, Unread> {
        let file = self.look(path, most);
        match (file.torn, file.found) {
            (Some(torn), _) => Err(torn.into()),
            (None, found) => found.contents(),
        }
    }

    /// As [`Reading::read`], as text without the mark that some editors put in front of UTF-8.
    ///
    /// # Errors
    ///
    /// As there, or that it is not UTF-8.
    pub fn text(&self, path: &Path) -> Result<String, Unread> {
        let bytes = self.read(path, MAX_TEXT)?;
        let text = str::from_utf8(&bytes).map_err(|error| Unread::NotText {
            valid: error.valid_up_to(),
            line: line_at(&bytes, error.valid_up_to()),
        })?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
    }

    /// As [`Reading::text`], of a file that may be there or not, though not vanish.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn optional(&self, path: &Path) -> Result<Option<String>, Unread> {
        match self.text(path) {
            Err(unread) if unread.is_absence() => Ok(None),
            read => read.map(Some),
        }
    }

    /// The entries of a folder that count, sorted. What is in force of them stays among them while
    /// it is there at all: a file that became something else is not gone.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, or that it is empty and was not.
    pub fn list(&self, folder: &Path, counts: Counts) -> Result<Vec<PathBuf>, Unread> {
        let before = self.before.as_ref();
        let before = before.and_then(|(record, _)| record.folders.get(folder));
        let before = before.and_then(|before| before.entries.as_ref().ok());
        let listed = plain::list(folder, counts, before.map_or(&[], Vec::as_slice));
        let seen = Folder {
            counts,
            entries: listed.as_ref().map(Vec::clone).map_err(ToString::to_string),
        };
        self.seen.lock().folders.insert(folder.to_owned(), seen);
        let listed = listed?;
        match before {
            Some(before) if listed.is_empty() && !before.is_empty() => Err(Torn::Emptied.into()),
            _ => Ok(listed),
        }
    }

    /// Notes that what was read of a file is not in force, and what was stays.
    pub fn is_broken(&self, path: &Path) {
        let before = self.before.as_ref();
        let before = before.and_then(|(record, _)| record.files.get(path));
        if let (Some(file), Some(before)) = (self.seen.lock().files.get_mut(path), before) {
            file.good.clone_from(&before.good);
        }
    }

    /// Whether there is nothing at a path, nor was.
    pub fn is_absent(&self, path: &Path) -> bool {
        matches!(
            self.look(path, 0).found,
            Found::Unreadable(io::ErrorKind::NotFound, _)
        )
    }

    /// What was read. Of larger files, which are no text, only a digest stays.
    pub fn finish(self) -> Record {
        let mut record = self.seen.into_inner();
        for file in record.files.values_mut() {
            file.found.forget_above(MAX_TEXT);
            file.good = file.good.take().filter(|good| good.len() <= MAX_TEXT);
        }
        record
    }

    fn look(&self, path: &Path, most: usize) -> File {
        // Two that ask for one file are told the same.
        if let Some(file) = self.seen.lock().files.get(path) {
            return file.clone();
        }
        let found = plain::look(path, most);
        let mut file = File {
            most,
            torn: None,
            good: found.bytes().cloned(),
            found,
        };
        if let Some((record, writers)) = &self.before {
            let good = record
                .files
                .get(path)
                .and_then(|before| before.good.as_ref());
            file.torn = torn::judge(path, &file.found, good, writers);
            if file.torn.is_some() {
                file.good = good.cloned();
            }
        }
        let mut seen = self.seen.lock();
        seen.files.insert(path.to_owned(), file.clone());
        file
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some of the files are secrets.
        f.debug_list()
            .entries(self.files())
            .entries(self.folders())
            .finish()
    }
}

impl Record {
    /// Whether a reading would find the same again.
    pub fn is_current(&self, writers: &Writers) -> bool {
        let file = |(path, file): (&PathBuf, &File)| {
            let is_written = || writers.are_at(path);
            plain::look(path, file.most) == file.found
                && (file.torn != Some(Torn::BeingWritten) || is_written())
        };
        let folder = |(path, folder): (&PathBuf, &Folder)| {
            let before = folder.entries.as_deref().unwrap_or(&[]);
            let listed = plain::list(path, folder.counts, before);
            listed.map_err(|error| error.to_string()) == folder.entries
        };
        self.folders.iter().all(folder) && self.files.iter().all(file)
    }

    /// The files that were asked for, whether they are there or not.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The folders that were listed.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        self.folders.keys().map(PathBuf::as_path)
    }
}

/// The line, counted from 1, in which byte `offset` stands.
pub fn line_at(text: &[u8], offset: usize) -> usize {
    let before = &text[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
