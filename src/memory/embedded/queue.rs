//! The queue of exchanges whose facts are still to be extracted.

use std::ops::Bound;

use redb::{Database, ReadableDatabase, ReadableTable, Table, WriteTransaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::tables::{Definition, as_range, joined, split_key, within};
use crate::memory::record::checksum;
use crate::memory::scope::Scope;
use crate::memory::store::{Backlog, Pending, SET_ASIDE};

pub const PENDING: Definition = Definition::new("pending");
pub const DUE: Definition = Definition::new("due");

/// The two tables of the queue, in a write transaction. The keys of `due` stand in the order in
/// which they are claimed.
pub struct Queue<'t> {
    pending: Table<'t, &'static [u8], &'static [u8]>,
    due: Table<'t, &'static [u8], &'static [u8]>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    due: i64,
    failures: u32,
    records: Vec<Uuid>,
}

impl<'t> Queue<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            pending: transaction.open_table(PENDING)?,
            due: transaction.open_table(DUE)?,
        })
    }

    pub fn put(&mut self, pending: &Pending) -> Result<(), redb::Error> {
        let key = key(pending);
        self.take(&key)?;
        let value = encode(&key, pending);
        self.pending.insert(key.as_slice(), value.as_slice())?;
        let due = due_key(pending.due, &key);
        self.due.insert(due.as_slice(), b"".as_slice())?;
        Ok(())
    }

    /// Takes out what stands under a key of `pending`, if anything does.
    pub fn take(&mut self, key: &[u8]) -> Result<Option<Pending>, redb::Error> {
        let Some(taken) = self
            .pending
            .remove(key)?
            .map(|value| decode(key, value.value()))
        else {
            return Ok(None);
        };
        if let Some(taken) = &taken {
            self.due.remove(due_key(taken.due, key).as_slice())?;
        }
        Ok(taken)
    }

    /// Takes out what was claimed; `false` where it is not as it was then.
    pub fn release(&mut self, claimed: &Pending) -> Result<bool, redb::Error> {
        let key = key(claimed);
        let held = match self.pending.get(key.as_slice())? {
            Some(value) => decode(&key, value.value()).as_ref() == Some(claimed),
            None => false,
        };
        if held {
            self.take(&key)?;
        }
        Ok(held)
    }

    pub fn claim(
        &mut self,
        now: i64,
        until: i64,
        alarm: &dyn Fn(&'static str),
    ) -> Result<Option<Pending>, redb::Error> {
        while let Some(due) = first_due(&self.due, now)? {
            // Behind the time stands the key in `pending`.
            let taken = self.take(due.get(size_of::<u64>()..).unwrap_or_default())?;
            // Gone already, unless its other half is missing or corrupt.
            if self.due.remove(due.as_slice())?.is_some() {
                alarm("queued exchange");
            }
            if let Some(taken) = taken {
                let claimed = Pending {
                    due: until,
                    ..taken
                };
                self.put(&claimed)?;
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }

    pub fn postpone(&mut self, claimed: &Pending, due: i64) -> Result<(), redb::Error> {
        if self.release(claimed)? {
            self.put(&Pending {
                due,
                failures: claimed.failures + 1,
                ..claimed.clone()
            })?;
        }
        Ok(())
    }
}

pub fn is_due(database: &Database, now: i64) -> Result<bool, redb::Error> {
    let due = database.begin_read()?.open_table(DUE)?;
    Ok(first_due(&due, now)?.is_some())
}

pub fn backlog(database: &Database) -> Result<Backlog, redb::Error> {
    use redb::ReadableTableMetadata;
    let due = database.begin_read()?.open_table(DUE)?;
    let aside = within(&due_key(SET_ASIDE, &[]));
    let mut set_aside = 0;
    for entry in due.range::<&[u8]>(as_range(&aside))? {
        entry?;
        set_aside += 1;
    }
    Ok(Backlog {
        waiting: due.len()?.saturating_sub(set_aside),
        set_aside,
    })
}

/// The key in `due` of what has been due longest.
fn first_due(
    due: &impl ReadableTable<&'static [u8], &'static [u8]>,
    now: i64,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let end = due_key(now.saturating_add(1), &[]);
    let range = (Bound::Unbounded, Bound::Excluded(end));
    match due.range::<&[u8]>(as_range(&range))?.next() {
        Some(entry) => Ok(Some(entry?.0.value().to_vec())),
        None => Ok(None),
    }
}

fn key(pending: &Pending) -> Vec<u8> {
    joined(pending.scope.key(), pending.id().as_bytes())
}

/// A time before 1970 is as due as 1970.
fn due_key(due: i64, key: &[u8]) -> Vec<u8> {
    let due = u64::try_from(due).unwrap_or(0);
    [&due.to_be_bytes()[..], key].concat()
}

fn encode(key: &[u8], pending: &Pending) -> Vec<u8> {
    let body = Body {
        due: pending.due,
        failures: pending.failures,
        records: pending.records.clone(),
    };
    // Writing into a `Vec` cannot fail, and every type in `Body` has a postcard form.
    let content = postcard::to_stdvec(&body).unwrap_or_default();
    [&checksum(key, &content)[..], &content].concat()
}

fn decode(key: &[u8], value: &[u8]) -> Option<Pending> {
    let (sum, content) = value.split_first_chunk::<8>()?;
    if *sum != checksum(key, content) {
        return None;
    }
    let body: Body = postcard::from_bytes(content).ok()?;
    let (scope, _) = split_key(key)?;
    Some(Pending {
        scope: Scope::parse(scope)?,
        records: body.records,
        due: body.due,
        failures: body.failures,
    })
}
