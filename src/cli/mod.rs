//! Commands beside the one that serves.

pub mod explain;
pub mod init;
pub mod memory;
pub mod usage;

use std::io::{self, Write};

use crate::error::Fault;

/// A text on one line, as a terminal may be shown it: what would steer that is written out, since anybody may
/// have said it.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            let steers = c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            match steers {
                true => line.extend(c.escape_unicode()),
                false => line.push(c),
            }
        }
    }
    line
}

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
