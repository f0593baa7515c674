//! What redb's errors and panics mean to the store.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why redb could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("another process has it open")]
    InUse,
    #[error("{0}")]
    Io(String),
    #[error("{0}")]
    Corrupt(String),
}

impl From<redb::Error> for Failure {
    fn from(error: redb::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, UnexpectedEof};
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse,
            redb::Error::Io(ref e) if !matches!(e.kind(), InvalidData | UnexpectedEof) => {
                Self::Io(error.to_string())
            }
            // The error before this one has closed the file until it is opened again.
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Io(error.to_string()),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// redb may panic on a file that was altered under it; whoever holds its locks then is done with.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    // Nothing of ours is left half done: a transaction that panics is never committed, and the
    // database is dropped and its file set aside.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(Failure::from),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Corrupt(text.unwrap_or("panic").to_owned()))
        }
    }
}
