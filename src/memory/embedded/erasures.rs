//! What was erased, and when, for as long as something that began before it may still come.

use redb::{ReadableTable, ReadableTableMetadata, Table, WriteTransaction};
use xxhash_rust::xxh3::xxh3_64;

use super::read::Alarm;
use super::tables::Definition;
use crate::memory::erasure::{Erasure, Erasures, KEPT};
use crate::memory::store::Selection;

pub const ERASURES: Definition = Definition::new("erasures");
pub const ERASED: Definition = Definition::new("erased");

const TIME: usize = size_of::<u64>();

/// The two tables, in a write transaction. The keys of `erased` stand in the order of time.
pub struct Kept<'t> {
    erasures: Table<'t, &'static [u8], &'static [u8]>,
    erased: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Kept<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            erasures: transaction.open_table(ERASURES)?,
            erased: transaction.open_table(ERASED)?,
        })
    }

    /// Notes an erasure at `now`, in Unix microseconds, and drops what need not be known longer.
    pub fn note(
        &mut self,
        tenant: &str,
        selection: &Selection,
        now: i64,
    ) -> Result<(), redb::Error> {
        // Strings and numbers in memory always have a postcard form.
        let key = postcard::to_stdvec(&(tenant, selection)).unwrap_or_default();
        let old = self
            .erasures
            .insert(key.as_slice(), value(&key, now).as_slice())?;
        let old = old.and_then(|value| time(&key, value.value()));
        if let Some(old) = old {
            self.erased.remove(timed(old, &key).as_slice())?;
        }
        self.erased
            .insert(timed(now, &key).as_slice(), b"".as_slice())?;
        let end = timed(now.saturating_sub(KEPT), &[]);
        while let Some(key) = first_before(&self.erased, &end)? {
            self.erased.remove(key.as_slice())?;
            self.erasures.remove(key.get(TIME..).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Those of `since` and later, in Unix microseconds; `now` is the present.
    pub fn newer(&self, since: i64, now: i64, alarm: Alarm<'_>) -> Result<Erasures, redb::Error> {
        let mut erasures = Erasures::new(now, 0);
        if self.erased.is_empty()? {
            return Ok(erasures);
        }
        for entry in self.erased.range(timed(since, &[]).as_slice()..)? {
            let (key, _) = entry?;
            let (_, key) = key.value().split_at_checked(TIME).unwrap_or_default();
            let at = match self.erasures.get(key)? {
                Some(value) => time(key, value.value()),
                None => None,
            };
            match (at, postcard::from_bytes::<(String, Selection)>(key)) {
                (Some(at), Ok((tenant, of))) => erasures.add(tenant, Erasure { of, at }),
                _ => alarm("erasure"),
            }
        }
        Ok(erasures)
    }
}

fn first_before(
    erased: &impl ReadableTable<&'static [u8], &'static [u8]>,
    end: &[u8],
) -> Result<Option<Vec<u8>>, redb::Error> {
    match erased.range(..end)?.next() {
        Some(entry) => Ok(Some(entry?.0.value().to_vec())),
        None => Ok(None),
    }
}

/// A key of `erased`.
fn timed(at: i64, key: &[u8]) -> Vec<u8> {
    let at = u64::try_from(at).unwrap_or(0);
    [&at.to_be_bytes()[..], key].concat()
}

fn value(key: &[u8], at: i64) -> Vec<u8> {
    let at = at.to_be_bytes();
    [sum(key, &at), at].concat()
}

fn time(key: &[u8], value: &[u8]) -> Option<i64> {
    let (expected, at) = value.split_first_chunk::<8>()?;
    let at: [u8; 8] = at.try_into().ok()?;
    (*expected == sum(key, &at)).then(|| i64::from_be_bytes(at))
}

fn sum(key: &[u8], content: &[u8]) -> [u8; 8] {
    (xxh3_64(content) ^ xxh3_64(key).rotate_left(32)).to_be_bytes()
}
