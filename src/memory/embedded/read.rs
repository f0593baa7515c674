//! What is read of the tables, each in one read transaction.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableError};
use uuid::Uuid;

use super::head::{Head, head};
use super::tables::{
    CONVERSATIONS, Definition, IDS, Listed, RECORDS, SCOPES, VECTORS, as_range, joined, split_key,
    within,
};
use crate::memory::embedding::vector::Vector;
use crate::memory::record::{Names, Record, conversation_key};
use crate::memory::scope::{Holder, Scope, tenant_key};
use crate::memory::store::{Audit, Loaded, Page, Position, Selection};

type Opened = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Called for a record or a lookup entry that fails its check.
pub type Alarm<'a> = &'a dyn Fn(&'static str);

fn open(transaction: &ReadTransaction, table: Definition) -> Result<Opened, redb::Error> {
    match transaction.open_table(table) {
        // `open_database` makes all tables, so one that is missing was lost.
        Err(TableError::TableDoesNotExist(name)) => {
            Err(redb::Error::Corrupted(format!("table {name} is missing")))
        }
        other => Ok(other?),
    }
}

pub fn load(database: &Database, scope: &Scope, alarm: Alarm<'_>) -> Result<Loaded, redb::Error> {
    let transaction = database.begin_read()?;
    let key = scope.key();
    let head = head(&open(&transaction, SCOPES)?, &key)?;
    let Head { version, records } = head.unwrap_or_default();
    let told = usize::try_from(records).unwrap_or(0);
    let mut records = Vec::with_capacity(told.min(1 << 20));
    let mut names = Names::default();
    let mut vectors = Vec::new();
    if told > 0 || head.is_none() {
        let table = open(&transaction, RECORDS)?;
        for entry in table.range::<&[u8]>(as_range(&within(&key)))? {
            let (key, value) = entry?;
            let entry = (key.value(), value.value());
            match Record::decode_sharing(scope, entry, &mut names) {
                Some(record) => records.push(record),
                None => alarm("record"),
            }
        }
        let table = open(&transaction, VECTORS)?;
        for entry in table.range::<&[u8]>(as_range(&within(&key)))? {
            let (key, value) = entry?;
            // One that is corrupt is as good as none: it is made again.
            if let Some((_, id)) = split_key(key.value())
                && let Some(vector) = Vector::decode(key.value(), value.value())
            {
                vectors.push((id, vector));
            }
        }
    }
    // Its records are as good as before.
    if records.len() < told || head.is_none() {
        alarm("scope");
    }
    records.sort_by_key(|record: &Record| (record.created_at, record.id));
    Ok(Loaded {
        version,
        records,
        vectors,
    })
}

fn fetch(
    records: &Opened,
    scope: &Scope,
    id: Uuid,
    alarm: Alarm<'_>,
) -> Result<Option<Record>, redb::Error> {
    let key = joined(scope.key(), id.as_bytes());
    let Some(value) = records.get(key.as_slice())? else {
        return Ok(None);
    };
    let record = Record::decode(scope, &key, value.value());
    if record.is_none() {
        alarm("record");
    }
    Ok(record)
}

pub fn get(
    database: &Database,
    tenant: &str,
    id: Uuid,
    alarm: Alarm<'_>,
) -> Result<Option<Record>, redb::Error> {
    let transaction = database.begin_read()?;
    let key = joined(tenant_key(tenant), id.as_bytes());
    let Some(holder) = open(&transaction, IDS)?.get(key.as_slice())? else {
        return Ok(None);
    };
    let Some(holder) = Holder::parse(holder.value()) else {
        alarm("entry");
        return Ok(None);
    };
    let scope = Scope::new(tenant.into(), holder);
    fetch(&open(&transaction, RECORDS)?, &scope, id, alarm)
}

/// Which records of a list, and whether all are counted.
#[derive(Clone, Copy)]
pub struct Range {
    pub before: Option<Uuid>,
    pub limit: usize,
    pub counted: bool,
}

pub fn list(
    database: &Database,
    tenant: &str,
    selection: &Selection,
    listed: Range,
    alarm: Alarm<'_>,
) -> Result<Page, redb::Error> {
    let transaction = database.begin_read()?;
    let records = open(&transaction, RECORDS)?;
    let (table, prefix, only) = match Listed::of(tenant, selection) {
        Listed::Records(prefix) => (open(&transaction, RECORDS)?, prefix, None),
        Listed::Ids(prefix) => (open(&transaction, IDS)?, prefix, None),
        Listed::Conversations(prefix, only) => (open(&transaction, CONVERSATIONS)?, prefix, only),
    };
    let mut page = Page::default();
    if listed.counted {
        page.total = total(&transaction, &table, &prefix, (selection, only.as_ref()))?;
    }
    let mut range = within(&prefix);
    if let Some(before) = listed.before {
        range.1 = Bound::Excluded(joined(prefix, before.as_bytes()));
    }
    for entry in table.range::<&[u8]>(as_range(&range))?.rev() {
        let (key, value) = entry?;
        let Some((_, id)) = split_key(key.value()) else {
            alarm("entry");
            continue;
        };
        let record = if let Selection::Scope(scope) = selection {
            let record = Record::decode(scope, key.value(), value.value());
            if record.is_none() {
                alarm("record");
            }
            record
        } else {
            match Holder::parse(value.value()) {
                Some(holder) if only.as_ref().is_none_or(|only| *only == holder) => {
                    let scope = Scope::new(tenant.into(), holder);
                    fetch(&records, &scope, id, alarm)?
                }
                _ => None,
            }
        };
        let Some(record) = record else { continue };
        if page.records.len() == listed.limit {
            page.more = true;
            break;
        }
        page.records.push(record);
    }
    Ok(page)
}

/// A tenant's users, each with the number of its records.
pub fn users(
    database: &Database,
    tenant: &str,
    (after, limit): (Option<&str>, usize),
) -> Result<Vec<(String, u64)>, redb::Error> {
    let transaction = database.begin_read()?;
    let of_tenant = within(&tenant_key(tenant));
    // Keys stand in the order of the names' lengths, pages in that of the names.
    let mut users = BTreeMap::new();
    for entry in open(&transaction, SCOPES)?.range::<&[u8]>(as_range(&of_tenant))? {
        let (key, value) = entry?;
        let scope = Scope::parse(key.value());
        let head = Head::decode(key.value(), value.value());
        let user = scope.as_ref().and_then(Scope::user);
        let user = user.filter(|user| after.is_none_or(|after| &***user > after));
        if let (Some(user), Some(head @ Head { records: 1.., .. })) = (user, head) {
            users.insert(user.to_string(), head.records);
        }
        if users.len() > limit {
            users.pop_last();
        }
    }
    Ok(users.into_iter().collect())
}

fn total(
    transaction: &ReadTransaction,
    table: &Opened,
    prefix: &[u8],
    (selection, only): (&Selection, Option<&Holder>),
) -> Result<u64, redb::Error> {
    match selection {
        Selection::Scope(_) | Selection::All => {
            let scopes = open(transaction, SCOPES)?;
            let mut total = 0;
            for entry in scopes.range::<&[u8]>(as_range(&within(prefix)))? {
                let (key, value) = entry?;
                total += Head::decode(key.value(), value.value()).map_or(0, |head| head.records);
            }
            Ok(total)
        }
        Selection::Conversation { .. } => {
            let mut total = 0;
            for entry in table.range::<&[u8]>(as_range(&within(prefix)))? {
                let (_, value) = entry?;
                let counts =
                    only.is_none_or(|only| Holder::parse(value.value()).as_ref() == Some(only));
                total += u64::from(counts);
            }
            Ok(total)
        }
    }
}

pub fn scan(
    database: &Database,
    (after, limit): (Option<Position>, usize),
    alarm: Alarm<'_>,
) -> Result<(Vec<Record>, Option<Position>), redb::Error> {
    let transaction = database.begin_read()?;
    let start = after.map_or(Bound::Unbounded, |Position(key)| Bound::Excluded(key));
    let mut records = Vec::new();
    let mut last = None;
    for entry in
        open(&transaction, RECORDS)?.range::<&[u8]>(as_range(&(start, Bound::Unbounded)))?
    {
        let (key, value) = entry?;
        if records.len() == limit {
            return Ok((records, last));
        }
        match decode_any(key.value(), value.value()) {
            Some(record) => records.push(record),
            None => alarm("record"),
        }
        last = Some(Position(key.value().to_vec()));
    }
    Ok((records, None))
}

/// As [`scan`], the records alone that have no up-to-date vector of `space`.
pub fn unembedded(
    database: &Database,
    space: u64,
    (after, limit): (Option<Position>, usize),
    alarm: Alarm<'_>,
) -> Result<(Vec<Record>, Option<Position>), redb::Error> {
    let (mut records, next) = scan(database, (after, limit), alarm)?;
    let transaction = database.begin_read()?;
    let vectors = open(&transaction, VECTORS)?;
    let mut wanting = Vec::new();
    for record in records.drain(..) {
        let key = record.key();
        let embedded = vectors.get(key.as_slice())?.is_some_and(|value| {
            Vector::decode(&key, value.value())
                .is_some_and(|vector| vector.stands_for(space, &record))
        });
        if !embedded {
            wanting.push(record);
        }
    }
    Ok((wanting, next))
}

fn decode_any(key: &[u8], value: &[u8]) -> Option<Record> {
    let (scope, _) = split_key(key)?;
    Record::decode(&Scope::parse(scope)?, key, value)
}

pub fn count(database: &Database) -> Result<u64, redb::Error> {
    use redb::ReadableTableMetadata;
    Ok(open(&database.begin_read()?, RECORDS)?.len()?)
}

pub fn audit(database: &Database) -> Result<Audit, redb::Error> {
    let transaction = database.begin_read()?;
    let records = open(&transaction, RECORDS)?;
    let ids = open(&transaction, IDS)?;
    let conversations = open(&transaction, CONVERSATIONS)?;
    let scopes = open(&transaction, SCOPES)?;
    let mut audit = Audit::default();
    let mut last_tenant = None;
    for entry in scopes.range::<&[u8]>(..)? {
        let (key, value) = entry?;
        audit.scopes += 1;
        let (Some(scope), Some(head)) = (
            Scope::parse(key.value()),
            Head::decode(key.value(), value.value()),
        ) else {
            audit.miscounted += 1;
            continue;
        };
        if last_tenant.as_deref() != Some(scope.tenant()) {
            audit.tenants += 1;
            last_tenant = Some(scope.tenant().to_owned());
        }
        let mut found = 0;
        let mut texts = HashSet::new();
        for entry in records.range::<&[u8]>(as_range(&within(key.value())))? {
            let (key, value) = entry?;
            found += 1;
            let Some(record) = Record::decode(&scope, key.value(), value.value()) else {
                audit.corrupt += 1;
                continue;
            };
            audit.text_bytes += record.text.len() as u64;
            let said = (
                record.role.clone(),
                crate::memory::similar::fingerprint(&record.text),
            );
            audit.duplicates += u64::from(!texts.insert(said));
            let id = record.id.as_bytes();
            let listed = ids
                .get(joined(tenant_key(scope.tenant()), id).as_slice())?
                .is_some()
                && match &record.conversation {
                    None => true,
                    Some(conversation) => conversations
                        .get(joined(conversation_key(scope.tenant(), conversation), id).as_slice())?
                        .is_some(),
                };
            audit.orphans += u64::from(!listed);
        }
        audit.records += found;
        audit.miscounted += u64::from(found != head.records);
    }
    use redb::ReadableTableMetadata;
    audit.orphans += records.len()?.abs_diff(audit.records) + ids.len()?.abs_diff(records.len()?);
    Ok(audit)
}
