//! Reading on while the disk takes no writes.
//!
//! redb gives a file up after its first I/O error, and writes a little when it opens one that was
//! not closed in order. Here those writes stay in memory, so that what was committed before can
//! be read from a disk that is full or broken.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

/// A file that is only read, with what was written since above it.
#[derive(Debug)]
pub struct Frozen {
    file: FileBackend,
    file_len: u64,
    len: AtomicU64,
    /// The latest last.
    written: Mutex<Vec<(u64, Box<[u8]>)>>,
}

impl Frozen {
    pub fn new(file: File) -> Result<Self, DatabaseError> {
        let file_len = file.metadata()?.len();
        Ok(Self {
            file: FileBackend::new(file)?,
            file_len,
            len: AtomicU64::new(file_len),
            written: Mutex::default(),
        })
    }
}

impl StorageBackend for Frozen {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len.load(Ordering::Acquire))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let in_file = self.file_len.saturating_sub(offset).min(out.len() as u64) as usize;
        let (old, new) = out.split_at_mut(in_file);
        self.file.read(offset, old)?;
        new.fill(0);
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, data) in written.iter() {
            let start = offset.max(*at);
            let end = (offset + out.len() as u64).min(at + data.len() as u64);
            if start < end {
                let part = &data[(start - at) as usize..(end - at) as usize];
                out[(start - offset) as usize..(end - offset) as usize].copy_from_slice(part);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.len.store(len, Ordering::Release);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.push((offset, data.into()));
        Ok(())
    }
}
