//! Export as lines of JSON, without loss, and a part at a time: there is never more than a part in
//! memory.

use std::io::Write;

use uuid::Uuid;

use super::Memory;
use super::line::Line;
use super::record::Record;
use super::store::{Position, Selection, StoreError};

/// Bytes of records that are read or written at once, about.
pub(super) const PART: usize = 1 << 20;

/// Records that are read or written at once, at most; and the first time, when nobody knows how
/// long they are.
pub(super) const RECORDS: usize = 1000;
const FIRST: usize = 32;

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("writing the lines: {0}")]
    Io(#[from] std::io::Error),
}

/// Where an export is.
pub struct Parts {
    /// Of a tenant, or of all.
    of: Option<(String, Selection)>,
    at: At,
    limit: usize,
}

enum At {
    Start,
    /// The newest come first.
    Before(Uuid),
    After(Position),
    End,
}

impl Memory {
    /// The records of a tenant's selection, or all, to be fetched with [`Memory::next_part`].
    pub fn parts(&self, of: Option<(&str, &Selection)>) -> Parts {
        Parts {
            of: of.map(|(tenant, selection)| (tenant.to_owned(), selection.clone())),
            at: At::Start,
            limit: FIRST,
        }
    }

    /// The next of them; `None` where there are no more.
    ///
    /// # Errors
    ///
    /// The store's. The same part may be asked for again.
    pub async fn next_part(&self, parts: &mut Parts) -> Result<Option<Vec<Record>>, StoreError> {
        let (records, at) = match (&parts.of, &parts.at) {
            (_, At::End) => return Ok(None),
            (Some((tenant, selection)), at) => {
                let before = match at {
                    At::Before(id) => Some(*id),
                    _ => None,
                };
                let part = self.store.part(tenant, selection, before, parts.limit);
                let (records, more) = part.await?;
                let last = records.last().filter(|_| more).map(|record| record.id);
                (records, last.map_or(At::End, At::Before))
            }
            (None, at) => {
                let after = match at {
                    At::After(position) => Some(position.clone()),
                    _ => None,
                };
                let (records, next) = self.store.scan(after, parts.limit).await?;
                (records, next.map_or(At::End, At::After))
            }
        };
        parts.at = at;
        let bytes: usize = records.iter().map(Record::weight).sum();
        if let Some(each) = bytes.checked_div(records.len()) {
            parts.limit = (PART / each.max(1)).clamp(1, RECORDS);
        }
        Ok(Some(records))
    }

    /// Writes records as lines of JSON: all, or a tenant's selection. How many.
    ///
    /// # Errors
    ///
    /// The store's, or the writer's.
    pub async fn export(
        &self,
        of: Option<(&str, &Selection)>,
        out: &mut (dyn Write + Send),
    ) -> Result<u64, ExportError> {
        let mut count = 0;
        let mut parts = self.parts(of);
        while let Some(records) = self.next_part(&mut parts).await? {
            out.write_all(&lines(&records))?;
            count += records.len() as u64;
        }
        Ok(count)
    }
}

/// Records as lines of JSON.
pub fn lines(records: &[Record]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        // Strings and numbers alone, into a `Vec`: there is nothing that could be refused.
        let _ = serde_json::to_writer(&mut lines, &Line::from(record));
        lines.push(b'\n');
    }
    lines
}
