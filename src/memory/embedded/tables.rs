//! The tables and what is done with them inside one transaction.
//!
//! | table | key | value |
//! |---|---|---|
//! | `records` | scope, id | checksum, content |
//! | `ids` | tenant, id | the scope's holder |
//! | `conversations` | tenant, conversation, id | the scope's holder |
//! | `scopes` | scope | checksum, version, number of records |
//! | `vectors` | scope, id | checksum, space, hash of the text, 8 bits a dimension |
//! | `pending` | scope, id of the first record | checksum, when due, failures, records |
//! | `due` | when due, key of `pending` | |
//! | `erasures` | tenant, what was erased | checksum, when |
//! | `erased` | when, key of `erasures` | |
//! | `about` | `format` | the oldest format that a program must know |
//!
//! Ids are version 7, so each table is in the order of creation within its prefix.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;
use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::erasures::Kept;
use super::head::{Head, head};
use super::queue::Queue;
use super::read::Alarm;
use crate::memory::embedding::vector::Vector;
use crate::memory::erasure::Erasures;
use crate::memory::record::{Record, conversation_key};
use crate::memory::scope::{Holder, Scope, tenant_key};
use crate::memory::store::{Change, Changed, Fate, Selection};

pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub const RECORDS: Definition = TableDefinition::new("records");
pub const IDS: Definition = TableDefinition::new("ids");
pub const CONVERSATIONS: Definition = TableDefinition::new("conversations");
pub const SCOPES: Definition = TableDefinition::new("scopes");
pub const VECTORS: Definition = TableDefinition::new("vectors");
const ID_BYTES: usize = 16;

/// The keys that begin with `prefix`.
pub fn within(prefix: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return (Bound::Included(prefix.to_vec()), Bound::Excluded(end));
        }
    }
    (Bound::Included(prefix.to_vec()), Bound::Unbounded)
}

/// The id behind a key, and what stands before it.
pub fn split_key(key: &[u8]) -> Option<(&[u8], Uuid)> {
    let (prefix, id) = key.split_last_chunk::<ID_BYTES>()?;
    Some((prefix, Uuid::from_bytes(*id)))
}

/// Where the keys of a selection stand.
pub enum Listed {
    Records(Vec<u8>),
    Ids(Vec<u8>),
    Conversations(Vec<u8>, Option<Holder>),
}

impl Listed {
    pub fn of(tenant: &str, selection: &Selection) -> Self {
        match selection {
            Selection::All => Self::Ids(tenant_key(tenant)),
            Selection::Scope(scope) => Self::Records(scope.key()),
            Selection::Conversation { id, user } => Self::Conversations(
                conversation_key(tenant, id),
                user.as_deref().map(|user| Holder::User(user.into())),
            ),
        }
    }
}

/// The tables of a write transaction.
pub struct Tables<'t> {
    records: Table<'t, &'static [u8], &'static [u8]>,
    ids: Table<'t, &'static [u8], &'static [u8]>,
    conversations: Table<'t, &'static [u8], &'static [u8]>,
    scopes: Table<'t, &'static [u8], &'static [u8]>,
    vectors: Table<'t, &'static [u8], &'static [u8]>,
    pub queue: Queue<'t>,
    pub erasures: Kept<'t>,
    /// Heads of the scopes that this transaction changes.
    heads: BTreeMap<Vec<u8>, (Scope, Head)>,
    pub alarm: Alarm<'t>,
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction, alarm: Alarm<'t>) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            ids: transaction.open_table(IDS)?,
            conversations: transaction.open_table(CONVERSATIONS)?,
            scopes: transaction.open_table(SCOPES)?,
            vectors: transaction.open_table(VECTORS)?,
            queue: Queue::open(transaction)?,
            erasures: Kept::open(transaction)?,
            heads: BTreeMap::new(),
            alarm,
        })
    }

    /// Carries out a change, unless an erasure concerns it.
    pub fn change(&mut self, change: &Change, erasures: &Erasures) -> Result<Fate, redb::Error> {
        let (change, begun) = change.begun();
        if begun.is_some_and(|begun| erasures.concern(change.scope(), begun)) {
            return Ok(Fate::Erased);
        }
        match change {
            Change::Put(record) => self.put(record)?,
            Change::Update { record, otherwise } => {
                if self.has_all(&record.scope, &[record.id])? {
                    self.put(record)?;
                } else if let Some(record) = otherwise {
                    self.put(record)?;
                    return Ok(Fate::Otherwise);
                } else {
                    return Ok(Fate::Gone);
                }
            }
            Change::Remove { scope, id } => drop(self.remove(scope, *id)?),
            Change::Extract(pending) => self.queue.put(pending)?,
            Change::Begun(_, change) => return self.change(change, erasures),
        }
        Ok(Fate::Done)
    }

    fn put(&mut self, record: &Record) -> Result<(), redb::Error> {
        let key = record.key();
        // Before the record is there: where the head is corrupt, records are counted.
        self.head(&record.scope)?;
        let value = record.encode(&key);
        let old = self.records.insert(key.as_slice(), value.as_slice())?;
        let old = old.map(|old| Record::decode(&record.scope, &key, old.value()));
        if let Some(old) = old {
            return self.moved(old, record);
        }
        self.head(&record.scope)?.records += 1;
        let mut holder = Vec::new();
        record.scope.holder().append_to(&mut holder);
        let id = record.id.as_bytes();
        let tenant = record.scope.tenant();
        self.ids
            .insert(joined(tenant_key(tenant), id).as_slice(), holder.as_slice())?;
        self.list(record, &holder)
    }

    /// Lists a record with the conversation that it is in.
    fn list(&mut self, record: &Record, holder: &[u8]) -> Result<(), redb::Error> {
        if let Some(conversation) = &record.conversation {
            let key = conversation_key(record.scope.tenant(), conversation);
            let key = joined(key, record.id.as_bytes());
            self.conversations.insert(key.as_slice(), holder)?;
        }
        Ok(())
    }

    /// Lists a record where it is now, in place of where the `old` one was, if that can say.
    fn moved(&mut self, old: Option<Record>, record: &Record) -> Result<(), redb::Error> {
        let tenant = record.scope.tenant();
        match old {
            Some(old) if old.conversation == record.conversation => return Ok(()),
            Some(old) => {
                if let Some(conversation) = old.conversation {
                    let key = conversation_key(tenant, &conversation);
                    let key = joined(key, record.id.as_bytes());
                    self.conversations.remove(key.as_slice())?;
                }
            }
            None => self.unlist(tenant, record.id)?,
        }
        let mut holder = Vec::new();
        record.scope.holder().append_to(&mut holder);
        self.list(record, &holder)
    }

    /// Whether it was there.
    pub fn remove(&mut self, scope: &Scope, id: Uuid) -> Result<bool, redb::Error> {
        let key = joined(scope.key(), id.as_bytes());
        if self.records.get(key.as_slice())?.is_none() {
            return Ok(false);
        }
        let head = self.head(scope)?;
        head.records = head.records.saturating_sub(1);
        let removed = self.records.remove(key.as_slice())?;
        let removed = removed.and_then(|value| Record::decode(scope, &key, value.value()));
        self.vectors.remove(key.as_slice())?;
        self.queue.take(&key)?;
        let tenant = scope.tenant();
        let id_key = joined(tenant_key(tenant), id.as_bytes());
        self.ids.remove(id_key.as_slice())?;
        match removed {
            Some(removed) => {
                if let Some(conversation) = removed.conversation {
                    let key = joined(conversation_key(tenant, &conversation), id.as_bytes());
                    self.conversations.remove(key.as_slice())?;
                }
            }
            None => self.unlist(tenant, id)?,
        }
        Ok(true)
    }

    /// Removes a record from the conversation that it was in, which it cannot say any more.
    fn unlist(&mut self, tenant: &str, id: Uuid) -> Result<(), redb::Error> {
        let of_tenant = within(&tenant_key(tenant));
        let mut entries = self.conversations.range::<&[u8]>(as_range(&of_tenant))?;
        let found = entries.find_map(|entry| match entry {
            Ok((key, _)) => key
                .value()
                .ends_with(id.as_bytes())
                .then(|| Ok(key.value().to_vec())),
            Err(error) => Some(Err(error)),
        });
        drop(entries);
        if let Some(key) = found.transpose()? {
            self.conversations.remove(key.as_slice())?;
        }
        Ok(())
    }

    /// Whether every one of these records is there.
    pub fn has_all(&self, scope: &Scope, ids: &[Uuid]) -> Result<bool, redb::Error> {
        for id in ids {
            let key = joined(scope.key(), id.as_bytes());
            if self.records.get(key.as_slice())?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps the vector of a record that is there.
    pub fn put_vector(
        &mut self,
        scope: &Scope,
        id: Uuid,
        vector: &Vector,
    ) -> Result<(), redb::Error> {
        let key = joined(scope.key(), id.as_bytes());
        if self.records.get(key.as_slice())?.is_some() {
            let value = vector.encode(&key);
            self.vectors.insert(key.as_slice(), value.as_slice())?;
        }
        Ok(())
    }

    /// Removes what is selected; how many records that were.
    pub fn erase(&mut self, tenant: &str, selection: &Selection) -> Result<u64, redb::Error> {
        let mut removed = 0;
        for (scope, id) in self.selected(tenant, selection)? {
            removed += u64::from(self.remove(&scope, id)?);
        }
        Ok(removed)
    }

    /// What a selection names, as scope and id.
    fn selected(
        &self,
        tenant: &str,
        selection: &Selection,
    ) -> Result<Vec<(Scope, Uuid)>, redb::Error> {
        let mut found = Vec::new();
        match Listed::of(tenant, selection) {
            // By the records themselves: nothing that a lookup table lost is left.
            Listed::Records(prefix) | Listed::Ids(prefix) => {
                for entry in self.records.range::<&[u8]>(as_range(&within(&prefix)))? {
                    let (key, _) = entry?;
                    if let Some((scope, id)) = split_key(key.value())
                        && let Some(scope) = Scope::parse(scope)
                    {
                        found.push((scope, id));
                    }
                }
            }
            Listed::Conversations(prefix, holder) => collect(
                &self.conversations,
                tenant,
                &prefix,
                holder.as_ref(),
                &mut found,
            )?,
        }
        Ok(found)
    }

    /// Writes the heads of the scopes that were changed.
    pub fn finish(mut self) -> Result<Vec<Changed>, redb::Error> {
        let mut changed = Vec::with_capacity(self.heads.len());
        for (key, (scope, mut head)) in std::mem::take(&mut self.heads) {
            head.version += 1;
            self.scopes
                .insert(key.as_slice(), head.encode(&key).as_slice())?;
            changed.push(Changed {
                scope,
                version: head.version,
            });
        }
        Ok(changed)
    }

    fn head(&mut self, scope: &Scope) -> Result<&mut Head, redb::Error> {
        let key = scope.key();
        let stored = match self.heads.contains_key(&key) {
            true => None,
            false => Some(match head(&self.scopes, &key)? {
                Some(head) => head,
                None => self.counted(&key)?,
            }),
        };
        let (_, head) = self
            .heads
            .entry(key)
            .or_insert_with(|| (scope.clone(), stored.unwrap_or_default()));
        Ok(head)
    }

    /// A head in place of one that is corrupt: it harms no other scope, and its own no longer.
    fn counted(&self, key: &[u8]) -> Result<Head, redb::Error> {
        (self.alarm)("scope");
        let mut records = 0;
        for entry in self.records.range::<&[u8]>(as_range(&within(key)))? {
            entry?;
            records += 1;
        }
        // No index that is in memory may take its next version for the one after its own.
        let version = Timestamp::now().as_millisecond();
        Ok(Head {
            version: u64::try_from(version).unwrap_or_default(),
            records,
        })
    }
}

fn collect(
    table: &Table<'_, &'static [u8], &'static [u8]>,
    tenant: &str,
    prefix: &[u8],
    only: Option<&Holder>,
    found: &mut Vec<(Scope, Uuid)>,
) -> Result<(), redb::Error> {
    for entry in table.range::<&[u8]>(as_range(&within(prefix)))? {
        let (key, value) = entry?;
        if let Some(holder) = Holder::parse(value.value())
            && only.is_none_or(|only| *only == holder)
            && let Some((_, id)) = split_key(key.value())
        {
            found.push((Scope::new(tenant.into(), holder), id));
        }
    }
    Ok(())
}

/// Borrows the bounds of a range.
pub fn as_range(range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (
        range.0.as_ref().map(Vec::as_slice),
        range.1.as_ref().map(Vec::as_slice),
    )
}

/// `key` with an id behind it.
pub fn joined(mut key: Vec<u8>, id: &[u8; ID_BYTES]) -> Vec<u8> {
    key.extend_from_slice(id);
    key
}
