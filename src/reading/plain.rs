//! Plain files and folders, as they are found. Nothing else is ever opened: a pipe would hold its
//! reader up, a device may do anything.

use std::fs::{self, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::Counts;
use super::torn::Unread;
use crate::shipped;

/// What is at a path.
#[derive(Clone)]
pub enum Found {
    Contents { digest: [u8; 32], bytes: Bytes },
    TooLarge(usize),
    Special(&'static str),
    Unreadable(io::ErrorKind, String),
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contents { digest: a, .. }, Self::Contents { digest: b, .. }) => a == b,
            (Self::TooLarge(a), Self::TooLarge(b)) => a == b,
            (Self::Special(a), Self::Special(b)) => a == b,
            (Self::Unreadable(_, a), Self::Unreadable(_, b)) => a == b,
            _ => false,
        }
    }
}

impl Found {
    pub fn contents(self) -> Result<Bytes, Unread> {
        match self {
            Self::Contents { bytes, .. } => Ok(bytes),
            Self::TooLarge(most) => Err(Unread::TooLarge(most)),
            Self::Special(kind) => Err(Unread::Special(kind)),
            Self::Unreadable(kind, what) => Err(Unread::Io(io::Error::new(kind, what))),
        }
    }

    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Contents { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Lets go of contents that are only large, not text.
    pub fn forget_above(&mut self, most: usize) {
        if let Self::Contents { bytes, .. } = self
            && bytes.len() > most
        {
            *bytes = Bytes::new();
        }
    }
}

/// Reads a plain file of `most` bytes at most.
pub fn look(path: &Path, most: usize) -> Found {
    if let Some(text) = shipped::text(path) {
        return Found::Contents {
            digest: Sha256::digest(text).into(),
            bytes: Bytes::from_static(text.as_bytes()),
        };
    }
    let read = || -> io::Result<Found> {
        if let Some(kind) = special(fs::metadata(path)?.file_type()) {
            return Ok(Found::Special(kind));
        }
        // It may have become a pipe meanwhile, which must not hold this up.
        let without_waiting = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(without_waiting)
            .open(path)?;
        if let Some(kind) = special(file.metadata()?.file_type()) {
            return Ok(Found::Special(kind));
        }
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        Ok(match bytes.len() > most {
            true => Found::TooLarge(most),
            false => Found::Contents {
                digest: Sha256::digest(&bytes).into(),
                bytes: bytes.into(),
            },
        })
    };
    read().unwrap_or_else(|error| Found::Unreadable(error.kind(), error.to_string()))
}

/// The entries of a folder that count or are among `before`, sorted.
pub fn list(folder: &Path, counts: Counts, before: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    if let Some(entries) = shipped::entries(folder) {
        return Ok(entries);
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Editors' files, and Kubernetes' `..data`.
        let name = path.file_name().unwrap_or_default();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && (counts(&path) || before.contains(&path)) {
            entries.push(path);
        }
    }
    entries.sort();
    Ok(entries)
}

/// Whether there is something at `path` that is neither a file nor a folder, or leads to such.
pub fn is_special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| special(found.file_type()).is_some())
}

fn special(kind: FileType) -> Option<&'static str> {
    if kind.is_fifo() {
        Some("a pipe")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else {
        None
    }
}
