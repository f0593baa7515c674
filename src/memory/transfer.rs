//! Export and import as lines of JSON, without loss.

use std::io::{BufRead, Write};

use tokio::sync::oneshot;

use super::Memory;
use super::record::{Line, Record};
use super::store::{Position, Selection, StoreError};
use super::writer::Job;

/// Records that are read or written at once.
const CHUNK: usize = 1000;

/// Why an import stopped. What came before the line it names is stored.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("line {line}: {what}")]
    Line { line: usize, what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading or writing the lines: {0}")]
    Io(#[from] std::io::Error),
}

impl Memory {
    /// Every record of every tenant, in parts; for [`Memory::export`] and tools.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn scan(
        &self,
        after: Option<Position>,
    ) -> Result<(Vec<Record>, Option<Position>), StoreError> {
        self.store.scan(after, CHUNK).await
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
    ) -> Result<u64, ImportError> {
        let mut count = 0;
        let mut put = |records: &[Record]| -> Result<(), ImportError> {
            for record in records {
                serde_json::to_writer(&mut *out, &Line::from(record))
                    .map_err(std::io::Error::from)?;
                out.write_all(b"\n")?;
            }
            count += records.len() as u64;
            Ok(())
        };
        self.each(of, &mut put).await?;
        Ok(count)
    }

    /// Hands out every record, a part at a time: all, or a tenant's selection.
    pub(super) async fn each(
        &self,
        of: Option<(&str, &Selection)>,
        visit: &mut (dyn FnMut(&[Record]) -> Result<(), ImportError> + Send),
    ) -> Result<(), ImportError> {
        if let Some((tenant, selection)) = of {
            let mut before = None;
            loop {
                let page = self.store.list(tenant, selection, before, CHUNK).await?;
                visit(&page.records)?;
                before = page.records.last().map(|r| r.id);
                if !page.more {
                    return Ok(());
                }
            }
        }
        let mut after = None;
        loop {
            let (records, next) = self.scan(after).await?;
            visit(&records)?;
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads lines of JSON and stores them as they are, in chunks that are each synced. `tenant`
    /// holds for lines that name none; `now` is in Unix milliseconds. How many.
    ///
    /// # Errors
    ///
    /// Names the first line that cannot be read.
    pub async fn import(
        &self,
        lines: &mut (dyn BufRead + Send),
        tenant: &str,
        now: i64,
    ) -> Result<u64, ImportError> {
        let mut count = 0;
        let mut chunk = Vec::new();
        for (at, line) in lines.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let bad = |what: String| ImportError::Line { line: at + 1, what };
            let parsed: Line = serde_json::from_str(&line).map_err(|e| bad(e.to_string()))?;
            let record = parsed
                .into_record(tenant, now)
                .map_err(|e| bad(e.message))?;
            chunk.push(record);
            count += 1;
            if chunk.len() == CHUNK {
                self.put_all(std::mem::take(&mut chunk)).await?;
            }
        }
        self.put_all(chunk).await?;
        Ok(count)
    }

    async fn put_all(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let gone = || StoreError::Unavailable("memory has stopped".into());
        let (reply, answer) = oneshot::channel();
        self.jobs
            .send(Job::Import(records, reply))
            .await
            .map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}
