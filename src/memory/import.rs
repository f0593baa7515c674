//! Import of lines of JSON, as export writes them and others may, a part at a time.

use std::collections::HashMap;
use std::io::{BufRead, Read};

use jiff::Timestamp;
use tokio::sync::oneshot;
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::Memory;
use super::export::{PART, RECORDS};
use super::line::Line;
use super::record::Record;
use super::scope::{Scope, valid_id};
use super::store::StoreError;
use super::writer::Job;

/// Bytes of a line at most. The largest record has less, with every letter of it escaped.
const LONGEST: usize = 8 << 20;

/// Bytes at most of what is said of a line.
const QUOTED: usize = 300;

/// Why an import stopped. `line` counts from 1; lines before it are stored, which are `stored`
/// records.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("line {line}: {what}")]
    Line {
        line: usize,
        what: String,
        stored: u64,
    },
    #[error("{error}")]
    Store {
        error: StoreError,
        line: usize,
        stored: u64,
    },
    #[error("reading line {line}: {error}")]
    Io {
        error: std::io::Error,
        line: usize,
        stored: u64,
    },
}

/// What an import has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Records that are stored.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// How lines are imported.
pub struct Import<'a> {
    /// Of lines that name none.
    pub tenant: &'a str,
    /// The first line that counts, from 1.
    pub from_line: usize,
    /// Of lines that have no time, in Unix milliseconds.
    pub now: i64,
    /// Told after each part.
    pub told: &'a mut (dyn FnMut(Imported) + Send),
}

impl Memory {
    /// Reads lines of JSON and stores them as they are, in parts that are each synced. What was
    /// done.
    ///
    /// # Errors
    ///
    /// Names the first line that is not stored.
    pub async fn import(
        &self,
        lines: &mut (dyn BufRead + Send),
        mut how: Import<'_>,
    ) -> Result<Imported, ImportError> {
        let mut done = Imported::default();
        let mut part = Part::new(&how);
        let mut buffer = Vec::new();
        for line in 1.. {
            let skipped = line < how.from_line;
            let wrong = match next_line(lines, &mut buffer, skipped) {
                Ok(0) => break,
                Ok(read) => {
                    done.bytes += read;
                    let added = part.add(&buffer, line);
                    added.err().map(Wrong::Line).filter(|_| !skipped)
                }
                Err(error) => Some(Wrong::Io(error)),
            };
            if wrong.is_some() || part.is_full() {
                self.put_part(&mut part, (&mut done, &mut how)).await?;
            }
            let stored = done.records;
            match wrong {
                None => {}
                Some(Wrong::Line(what)) => return Err(ImportError::Line { line, what, stored }),
                Some(Wrong::Io(error)) => {
                    return Err(ImportError::Io {
                        error,
                        line,
                        stored,
                    });
                }
            }
        }
        self.put_part(&mut part, (&mut done, &mut how)).await?;
        Ok(done)
    }

    async fn put_part(
        &self,
        part: &mut Part,
        (done, how): (&mut Imported, &mut Import<'_>),
    ) -> Result<(), ImportError> {
        let mut records = std::mem::take(&mut part.records);
        let named = std::mem::take(&mut part.named);
        part.bytes = 0;
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        let stored = async {
            self.tell_apart(&mut records, &named).await?;
            self.put(records).await
        };
        if let Err(error) = stored.await {
            let (line, stored) = (part.first_line, done.records);
            return Err(ImportError::Store {
                error,
                line,
                stored,
            });
        }
        done.records += count;
        (how.told)(*done);
        Ok(())
    }

    /// Stores records as they are.
    pub(super) async fn put(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let gone = || StoreError::Unavailable("memory has stopped".into());
        let (reply, answer) = oneshot::channel();
        match self.jobs.send(Job::Import(records, reply)).await {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(gone())),
            Err(_) => Err(gone()),
        }
    }

    /// Gives records whose ids others of their tenant have ids of their own, each time the same:
    /// lines that are copied from one user to another name both. `named` are those whose ids are
    /// the lines'.
    async fn tell_apart(&self, records: &mut [Record], named: &[usize]) -> Result<(), StoreError> {
        let mut of_tenant: HashMap<String, Vec<Uuid>> = HashMap::new();
        for at in named {
            let record = &records[*at];
            let tenant = record.scope.tenant().to_owned();
            of_tenant.entry(tenant).or_default().push(record.id);
        }
        let mut holders: HashMap<(String, Uuid), Scope> = HashMap::new();
        for (tenant, ids) in of_tenant {
            let found = self.store.holders(&tenant, ids).await?;
            let found = found.into_iter();
            holders.extend(found.map(|(id, scope)| ((tenant.clone(), id), scope)));
        }
        for at in named {
            let record = &mut records[*at];
            let key = (record.scope.tenant().to_owned(), record.id);
            let holder = holders.entry(key).or_insert_with(|| record.scope.clone());
            if *holder != record.scope {
                record.id = of_its_own(record);
            }
        }
        Ok(())
    }
}

/// Reads a line, of one that no record has only so much that this can be told; how many bytes.
/// One that is skipped is read to its end, so that the next is the next.
fn next_line(
    lines: &mut (dyn BufRead + Send),
    buffer: &mut Vec<u8>,
    skipped: bool,
) -> std::io::Result<u64> {
    buffer.clear();
    let most = LONGEST as u64 + 1;
    let read = (&mut *lines).take(most).read_until(b'\n', buffer)? as u64;
    let is_cut = read == most && !buffer.ends_with(b"\n");
    let rest = match is_cut && skipped {
        true => lines.skip_until(b'\n')? as u64,
        false => 0,
    };
    Ok(read + rest)
}

/// Another id of the same time.
fn of_its_own(record: &Record) -> Uuid {
    let mut id = record.id.into_bytes();
    let other = xxh3_64(&[&id[..], &record.scope.key()[..]].concat());
    id[8..].copy_from_slice(&other.to_be_bytes());
    uuid::Builder::from_bytes(id)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// What keeps a line from being stored.
enum Wrong {
    Line(String),
    Io(std::io::Error),
}

/// Records that are to be stored together.
struct Part {
    tenant: String,
    now: i64,
    records: Vec<Record>,
    /// Which of them have the id that their line names.
    named: Vec<usize>,
    bytes: usize,
    /// That of the first of them.
    first_line: usize,
    /// Lines before this one are looked at for their times alone.
    from_line: usize,
    /// The time of the last line that had one, and how many lines in a row have it.
    moment: (i64, u16),
}

impl Part {
    fn new(how: &Import<'_>) -> Self {
        Self {
            tenant: how.tenant.to_owned(),
            now: how.now,
            records: Vec::new(),
            named: Vec::new(),
            bytes: 0,
            first_line: 1,
            from_line: how.from_line,
            moment: (i64::MIN, 0),
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= PART || self.records.len() >= RECORDS
    }

    /// Reads a line; an empty one is none.
    fn add(&mut self, line: &[u8], number: usize) -> Result<(), String> {
        // Files that were put together have a mark at the beginning of each.
        let line = line.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(line);
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let parsed = read(line)?;
        let (has_id, created_at) = (parsed.id.is_some(), parsed.created_at);
        let tenant = parsed.tenant.as_deref().unwrap_or(&self.tenant);
        valid_id("tenant", tenant.as_bytes()).map_err(|error| error.message)?;
        let record = parsed.into_record(&self.tenant, self.now);
        let mut record = record.map_err(|error| error.message)?;
        if let Some(at) = created_at.filter(|_| !has_id) {
            record.id = self.lasting_id(&record, at);
        }
        if number < self.from_line {
            return Ok(());
        }
        if self.records.is_empty() {
            self.first_line = number;
        }
        self.bytes += record.weight();
        if has_id {
            self.named.push(self.records.len());
        }
        self.records.push(record);
        Ok(())
    }

    /// The same for the same line of the same file, so that importing it again changes nothing.
    /// Those of one moment stay in their order.
    fn lasting_id(&mut self, record: &Record, at: Timestamp) -> Uuid {
        let at = at.as_millisecond();
        let count = match self.moment {
            (last, count) if last == at => count.saturating_add(1),
            _ => 0,
        };
        self.moment = (at, count);
        let mut hash = Xxh3::new();
        for part in [
            &record.scope.key()[..],
            record
                .conversation
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            record.role.as_bytes(),
            record.text.as_bytes(),
        ] {
            hash.update(&part.len().to_le_bytes());
            hash.update(part);
        }
        let mut rest = [0; 10];
        rest[..2].copy_from_slice(&count.min(0x0FFF).to_be_bytes());
        rest[2..].copy_from_slice(&hash.digest().to_be_bytes());
        let at = u64::try_from(at).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(at, &rest).into_uuid()
    }
}

fn read(line: &[u8]) -> Result<Line, String> {
    if line.len() > LONGEST {
        return Err(format!(
            "it has more than {LONGEST} bytes, which no record has"
        ));
    }
    let marks: [&[u8]; 4] = [&[0xFF, 0xFE], &[0xFE, 0xFF], b"{\0", b"\0{"];
    if marks.iter().any(|mark| line.starts_with(mark)) {
        let mend = "write it as UTF-8: iconv -f UTF-16 -t UTF-8";
        return Err(format!("the file is in UTF-16: {mend}"));
    }
    if line.starts_with(b"[") {
        let mend = "write one object a line, as jq -c '.[]' does";
        return Err(format!("it begins a list: {mend}"));
    }
    serde_json::from_slice(line).map_err(|error| {
        let what = error.to_string();
        // Every line is serde_json's first.
        let what = what.split(" at line 1 column").next().unwrap_or_default();
        // It quotes what it found, however long that is.
        let what = &what[..what.floor_char_boundary(QUOTED)];
        match error.is_eof() {
            true => {
                let mend = "write one object a line, as jq -c . does";
                format!("the object does not end on its line: {mend}")
            }
            false => format!("{what}, at column {}", error.column()),
        }
    })
}
