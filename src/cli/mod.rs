//! Commands beside the one that serves.

pub mod explain;
pub mod init;
pub mod memory;
pub mod usage;

use std::io::{self, Write};

use crate::error::Fault;

/// Writes to standard output. Whoever closes it early has what he wants.
///
/// # Errors
///
/// What else keeps the text from being written, a full disk for one.
pub fn print(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let what = format!("cannot be written: {error}");
            Err(Fault::new(
                "standard output",
                what,
                "look where it leads to",
            ))
        }
        _ => Ok(()),
    }
}
