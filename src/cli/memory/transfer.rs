//! `yychat memory export` and `import`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::Whose;
use crate::error::Fault;
use crate::memory::{ExportError, Import, ImportError, Imported, Memory};

/// Writes JSONL to a file or to standard output.
pub async fn export(memory: &Memory, whose: &Whose, output: Option<PathBuf>) -> Result<(), Fault> {
    let selection = whose.selection();
    let of = (!whose.is_everything()).then(|| (whose.tenant(), &selection));
    let written = match &output {
        Some(path) => {
            let file = File::create(path).map_err(|error| of_file(path, &error))?;
            let mut buffered = BufWriter::new(file);
            let written = memory.export(of, &mut buffered).await;
            // It may be all that is left one day.
            written.and_then(|count| {
                let file = buffered
                    .into_inner()
                    .map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
                Ok(count)
            })
        }
        None => {
            let mut buffered = BufWriter::new(io::stdout());
            let written = memory.export(of, &mut buffered).await;
            written.and_then(|count| Ok(buffered.flush().map(|()| count)?))
        }
    };
    match written {
        Ok(count) => eprintln!("{count} records exported"),
        // Whoever reads has seen enough.
        Err(ExportError::Io(error)) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(ExportError::Io(error)) => {
            let path = output.as_deref().unwrap_or(Path::new("standard output"));
            return Err(of_file(path, &error));
        }
        Err(error) => return Err(Fault::new("memory export", error.to_string(), "")),
    }
    Ok(())
}

/// What is imported.
pub struct From {
    pub file: Option<PathBuf>,
    pub tenant: String,
    pub line: usize,
}

/// Reads JSONL, and says on a terminal how far it is.
pub async fn import(memory: &Memory, from: From) -> Result<(), Fault> {
    let From { file, tenant, line } = from;
    let mut whole = None;
    let mut lines: Box<dyn BufRead + Send> = match &file {
        Some(path) => {
            let opened = File::open(path).map_err(|error| of_file(path, &error))?;
            whole = opened.metadata().ok().map(|metadata| metadata.len());
            Box::new(BufReader::new(opened))
        }
        None => Box::new(BufReader::new(io::stdin())),
    };
    let is_seen = io::stderr().is_terminal();
    let mut told = |done: Imported| {
        if is_seen {
            eprint!("\r{}\x1b[K", progress(done, whole));
        }
    };
    let how = Import {
        tenant: &tenant,
        from_line: line,
        now: jiff::Timestamp::now().as_millisecond(),
        told: &mut told,
    };
    let done = memory.import(&mut *lines, how).await;
    if is_seen {
        eprint!("\r\x1b[K");
    }
    let done = done.map_err(|error| {
        let origin = file.unwrap_or_else(|| "standard input".into());
        let (line, stored) = match &error {
            ImportError::Line { line, stored, .. }
            | ImportError::Store { line, stored, .. }
            | ImportError::Io { line, stored, .. } => (*line, *stored),
        };
        let mend = format!(
            "mend that and go on with --from-line {line}: the {stored} records before it are \
             stored. From the start again, lines with an id or a created_at replace themselves, \
             and others are stored a second time"
        );
        Fault::new(origin, error.to_string(), mend)
    })?;
    eprintln!("{} records imported", done.records);
    Ok(())
}

fn progress(done: Imported, whole: Option<u64>) -> String {
    let mebibytes = done.bytes >> 20;
    let share = whole.filter(|whole| *whole > 0).map(|whole| {
        let percent = (done.bytes.saturating_mul(100) / whole).min(100);
        format!(" of {} ({percent} %)", whole >> 20)
    });
    let share = share.unwrap_or_default();
    format!("{} records, {mebibytes}{share} MiB", done.records)
}

fn of_file(path: &Path, error: &io::Error) -> Fault {
    let mend = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room, or name another place",
        _ => "name a file that can be opened",
    };
    Fault::new(path, error.to_string(), mend)
}
