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
//!
//! Ids are version 7, so each table is in the order of creation within its prefix.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::queue::{DUE, PENDING, Queue};
use crate::memory::embedding::vector::Vector;
use crate::memory::record::{Record, conversation_key};
use crate::memory::scope::{Holder, Scope, tenant_key};
use crate::memory::store::{Change, Changed, Selection};

pub type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
pub const RECORDS: Definition = TableDefinition::new("records");
pub const IDS: Definition = TableDefinition::new("ids");
pub const CONVERSATIONS: Definition = TableDefinition::new("conversations");
pub const SCOPES: Definition = TableDefinition::new("scopes");
pub const VECTORS: Definition = TableDefinition::new("vectors");
pub const TABLES: [Definition; 7] = [RECORDS, IDS, CONVERSATIONS, SCOPES, VECTORS, PENDING, DUE];

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

/// A scope's version and number of records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    pub version: u64,
    pub records: u64,
}

impl Head {
    pub fn encode(self, key: &[u8]) -> Vec<u8> {
        let mut content = self.version.to_be_bytes().to_vec();
        content.extend_from_slice(&self.records.to_be_bytes());
        let mut value = head_sum(key, &content).to_vec();
        value.extend(content);
        value
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (sum, content) = value.split_first_chunk::<8>()?;
        let (version, records) = content.split_first_chunk::<8>()?;
        let records = records.try_into().ok()?;
        (*sum == head_sum(key, content)).then(|| Self {
            version: u64::from_be_bytes(*version),
            records: u64::from_be_bytes(records),
        })
    }
}

fn head_sum(key: &[u8], content: &[u8]) -> [u8; 8] {
    (xxh3_64(content) ^ xxh3_64(key).rotate_left(32)).to_be_bytes()
}

/// Reads a scope's head; one that is not there is all zero, one that is corrupt is an error.
pub fn head(
    scopes: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Head, redb::Error> {
    match scopes.get(key)? {
        None => Ok(Head::default()),
        Some(value) => Head::decode(key, value.value())
            .ok_or_else(|| redb::Error::Corrupted("a scope's head has a wrong checksum".into())),
    }
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
    /// Heads of the scopes that this transaction changes.
    heads: BTreeMap<Vec<u8>, (Scope, Head)>,
}

impl<'t> Tables<'t> {
    pub fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            ids: transaction.open_table(IDS)?,
            conversations: transaction.open_table(CONVERSATIONS)?,
            scopes: transaction.open_table(SCOPES)?,
            vectors: transaction.open_table(VECTORS)?,
            queue: Queue::open(transaction)?,
            heads: BTreeMap::new(),
        })
    }

    pub fn change(&mut self, change: &Change) -> Result<(), redb::Error> {
        match change {
            Change::Put(record) => self.put(record),
            Change::Remove { scope, id } => self.remove(scope, *id).map(|_| ()),
            Change::Extract(pending) => self.queue.put(pending),
        }
    }

    fn put(&mut self, record: &Record) -> Result<(), redb::Error> {
        let key = record.key();
        let new = self
            .records
            .insert(key.as_slice(), record.encode(&key).as_slice())?
            .is_none();
        let head = self.head(&record.scope)?;
        if !new {
            return Ok(());
        }
        head.records += 1;
        let mut holder = Vec::new();
        record.scope.holder().append_to(&mut holder);
        let id = record.id.as_bytes();
        let tenant = record.scope.tenant();
        self.ids
            .insert(joined(tenant_key(tenant), id).as_slice(), holder.as_slice())?;
        if let Some(conversation) = &record.conversation {
            let key = joined(conversation_key(tenant, conversation), id);
            self.conversations
                .insert(key.as_slice(), holder.as_slice())?;
        }
        Ok(())
    }

    /// Whether it was there.
    pub fn remove(&mut self, scope: &Scope, id: Uuid) -> Result<bool, redb::Error> {
        let key = joined(scope.key(), id.as_bytes());
        let Some(removed) = self
            .records
            .remove(key.as_slice())?
            .map(|value| Record::decode(scope, &key, value.value()))
        else {
            return Ok(false);
        };
        self.vectors.remove(key.as_slice())?;
        self.queue.take(&key)?;
        let head = self.head(scope)?;
        head.records = head.records.saturating_sub(1);
        let tenant = scope.tenant();
        let id_key = joined(tenant_key(tenant), id.as_bytes());
        self.ids.remove(id_key.as_slice())?;
        if let Some(conversation) = removed.and_then(|record| record.conversation) {
            let key = joined(conversation_key(tenant, &conversation), id.as_bytes());
            self.conversations.remove(key.as_slice())?;
        }
        Ok(true)
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

    /// What a selection names, as scope and id.
    pub fn selected(
        &self,
        tenant: &str,
        selection: &Selection,
    ) -> Result<Vec<(Scope, Uuid)>, redb::Error> {
        let mut found = Vec::new();
        match Listed::of(tenant, selection) {
            Listed::Records(prefix) => {
                for entry in self.records.range::<&[u8]>(as_range(&within(&prefix)))? {
                    let (key, _) = entry?;
                    if let Some((scope, id)) = split_key(key.value())
                        && let Some(scope) = Scope::parse(scope)
                    {
                        found.push((scope, id));
                    }
                }
            }
            Listed::Ids(prefix) => collect(&self.ids, tenant, &prefix, None, &mut found)?,
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
        if !self.heads.contains_key(&key) {
            let stored = head(&self.scopes, &key)?;
            self.heads.insert(key.clone(), (scope.clone(), stored));
        }
        match self.heads.get_mut(&key) {
            Some((_, head)) => Ok(head),
            None => Err(redb::Error::Corrupted("a scope has no head".into())),
        }
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
