//! What stands between the store and the disk.

use std::fs::File;
use std::io;
use std::path::Path;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError};

use super::file;

/// How redb takes a file and how a folder is synced; tests put faults between.
pub struct Disk {
    pub open: Box<Open>,
    pub sync_folder: Box<SyncFolder>,
}

type Open = dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync;
type SyncFolder = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

impl Default for Disk {
    fn default() -> Self {
        Self {
            open: Box::new(|builder, file| builder.create_with_backend(FileBackend::new(file)?)),
            sync_folder: Box::new(file::sync_folder),
        }
    }
}
