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
//! | `about` | `format` | the oldest format that a program must know |
//!
//! Ids are version 7, so each table is in the order of creation within its prefix.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;
use redb::{
    Database, ReadableDatabase, ReadableTable, Table, TableDefinition, TableHandle,
    WriteTransaction,
};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::queue::{DUE, PENDING, Queue};
use super::read::Alarm;
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
const ABOUT: Definition = TableDefinition::new("about");
const TABLES: [Definition; 8] = [
    RECORDS,
    IDS,
    CONVERSATIONS,
    SCOPES,
    VECTORS,
    PENDING,
    DUE,
    ABOUT,
];

/// What a program must know to use the file. It rises with what one that does not know it would
/// spoil, and not with tables that may be left alone. A file that does not say has the first.
pub const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";

/// Whose a redb file is.
pub enum Kind {
    Ours,
    /// Of a format that is not known here.
    Newer(u32),
    Other,
}

/// Makes the tables that are missing, unless the file is another's.
pub fn prepare(database: &Database) -> Result<Kind, redb::Error> {
    let transaction = database.begin_read()?;
    let names = transaction.list_tables()?.map(|it| it.name().to_owned());
    let names: Vec<String> = names.collect();
    if !names.is_empty() && !names.iter().any(|name| name == RECORDS.name()) {
        return Ok(Kind::Other);
    }
    if names.iter().any(|name| name == ABOUT.name()) {
        let format = transaction.open_table(ABOUT)?.get(FORMAT_KEY)?;
        let format = format.and_then(|value| value.value().try_into().ok().map(u32::from_be_bytes));
        if let Some(newer) = format.filter(|format| *format > FORMAT) {
            return Ok(Kind::Newer(newer));
        }
    }
    // A store that has its tables is opened without a write of ours.
    if TABLES
        .iter()
        .all(|table| names.iter().any(|name| name == table.name()))
    {
        return Ok(Kind::Ours);
    }
    let transaction = database.begin_write()?;
    for table in TABLES {
        transaction.open_table(table)?;
    }
    let format = FORMAT.to_be_bytes();
    transaction
        .open_table(ABOUT)?
        .insert(FORMAT_KEY, format.as_slice())?;
    transaction.commit()?;
    Ok(Kind::Ours)
}

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

/// Reads a scope's head; one that is not there is all zero, one that is corrupt is `None`.
pub fn head(
    scopes: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Head>, redb::Error> {
    Ok(match scopes.get(key)? {
        None => Some(Head::default()),
        Some(value) => Head::decode(key, value.value()),
    })
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
    alarm: Alarm<'t>,
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
            heads: BTreeMap::new(),
            alarm,
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
        // Before the record is there: where the head is corrupt, records are counted.
        self.head(&record.scope)?;
        let value = record.encode(&key);
        let old = self.records.insert(key.as_slice(), value.as_slice())?;
        if old.is_some() {
            return Ok(());
        }
        drop(old);
        self.head(&record.scope)?.records += 1;
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
        if let Some(conversation) = removed.and_then(|it| it.conversation) {
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
