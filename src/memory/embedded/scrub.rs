//! Writing the file anew without what was erased from it, and destroying what was set aside.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};

use super::failure::Failure;
use super::file::{self, FILE};

/// Entries that are copied in one transaction.
const PART: usize = 4096;

/// Name of the new file until it takes the old one's place.
const NEW: &str = "memory.redb.new";

/// The files of a folder that were set aside as damaged.
pub fn set_aside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_aside = name
            .to_string_lossy()
            .starts_with(&format!("{FILE}.corrupt-"));
        if is_aside && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A file that is empty, for what is kept.
pub fn begin(folder: &Path) -> io::Result<File> {
    let path = folder.join(NEW);
    // An earlier try may have been broken off.
    if path.exists() {
        destroy(&path)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

/// Copies every table, as it is.
pub fn copy(old: &Database, new: &Database) -> Result<(), redb::Error> {
    let reading = old.begin_read()?;
    for table in reading.list_tables()? {
        let name = table.name().to_owned();
        let definition = TableDefinition::<&[u8], &[u8]>::new(&name);
        let from = reading.open_table(definition)?;
        let mut entries = from.range::<&[u8]>(..)?.peekable();
        // One that is empty is one, too.
        loop {
            let writing = new.begin_write()?;
            let mut to = writing.open_table(definition)?;
            for entry in entries.by_ref().take(PART) {
                let (key, value) = entry?;
                to.insert(key.value(), value.value())?;
            }
            drop(to);
            writing.commit()?;
            if entries.peek().is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// Puts the new file in the old one's place, and destroys what that held once `close` has closed
/// it.
pub fn replace(folder: &Path, close: impl FnOnce()) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let old = OpenOptions::new().write(true).open(&path)?;
    std::fs::rename(folder.join(NEW), &path)?;
    file::sync_folder(folder)?;
    close();
    Ok(overwrite(old)?)
}

/// Overwrites a file and removes it.
pub fn destroy(path: &Path) -> io::Result<()> {
    overwrite(OpenOptions::new().write(true).open(path)?)?;
    std::fs::remove_file(path)?;
    file::sync_folder(path.parent().unwrap_or(path))
}

/// Overwrites a file with zeros, as far as its file system and disk write in place.
fn overwrite(mut file: File) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut left = file.metadata()?.len();
    while left > 0 {
        let part = left.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    file.sync_all()
}
