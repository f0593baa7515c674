//! What is written, each in one transaction of few statements, whatever the number of changes.
//!
//! A transaction first locks the rows of its scopes in the order of their names, so that two never
//! wait for each other, and what it reads of a scope holds until its end.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use deadpool_postgres::{Client, Transaction};
use uuid::Uuid;

use super::erasures;
use super::failure::Failure;
use super::link::{CHANNEL, Link};
use super::queue;
use super::read::query;
use super::row::{self, Columns, Name};
use crate::memory::embedding::vector::Vector;
use crate::memory::erasure::Erasures;
use crate::memory::record::Record;
use crate::memory::scope::Scope;
use crate::memory::store::{Applied, Change, Changed, Fate, Pending};

/// A scope that is locked, and what a transaction makes of it.
struct Touched {
    scope: Scope,
    /// After the changes, if there are any.
    version: i64,
    /// By how much its number of records changes.
    records: i64,
    changed: bool,
}

/// The scopes that a transaction has locked.
#[derive(Default)]
pub struct Locked {
    ids: HashMap<Scope, i64>,
    scopes: BTreeMap<i64, Touched>,
}

impl Locked {
    pub fn id(&self, scope: &Scope) -> Option<i64> {
        self.ids.get(scope).copied()
    }

    /// The numbers of all.
    pub fn ids(&self) -> Vec<i64> {
        self.scopes.keys().copied().collect()
    }

    /// Leaves alone those in which nothing has changed.
    pub fn keep_changed(&mut self) {
        self.scopes.retain(|_, scope| scope.changed);
    }

    pub fn insert(&mut self, id: i64, scope: Scope, version: i64) {
        self.ids.insert(scope.clone(), id);
        let touched = Touched {
            scope,
            version,
            records: 0,
            changed: false,
        };
        self.scopes.insert(id, touched);
    }

    pub fn change(&mut self, id: i64, records: i64) {
        if let Some(scope) = self.scopes.get_mut(&id) {
            scope.records += records;
            scope.changed = true;
        }
    }
}

pub async fn apply(
    client: &mut Client,
    link: &Link,
    changes: &[Change],
) -> Result<Applied, Failure> {
    if changes.is_empty() {
        return Ok(Applied::default());
    }
    let transaction = client.transaction().await?;
    let erasures = erasures::newer(&transaction, link, changes).await?;
    let names = changes.iter().map(|it| Name::of(it.scope())).collect();
    let locked = lock(&transaction, names).await?;
    let applied = carry_out(&transaction, link, (locked, changes, &erasures)).await?;
    transaction.commit().await?;
    Ok(applied)
}

/// What a set of changes leaves of each record and exchange: the last of several.
#[derive(Default)]
struct Last<'c> {
    records: BTreeMap<(i64, Uuid), Option<&'c Record>>,
    exchanges: BTreeMap<(i64, Uuid), &'c Pending>,
}

impl<'c> Last<'c> {
    /// Adds a change of a scope; `there` are records that are to be updated, and are there.
    fn add(&mut self, scope: i64, change: &'c Change, there: &HashSet<(i64, Uuid)>) -> Fate {
        match change {
            Change::Put(record) => drop(self.records.insert((scope, record.id), Some(record))),
            Change::Update { record, otherwise } => {
                let key = (scope, record.id);
                let is_there = match self.records.get(&key) {
                    Some(last) => last.is_some(),
                    None => there.contains(&key),
                };
                match (is_there, otherwise) {
                    (true, _) => drop(self.records.insert(key, Some(record))),
                    (false, Some(other)) => {
                        self.records.insert((scope, other.id), Some(other));
                        return Fate::Otherwise;
                    }
                    (false, None) => return Fate::Gone,
                }
            }
            Change::Remove { id, .. } => {
                self.records.insert((scope, *id), None);
                self.exchanges.remove(&(scope, *id));
            }
            Change::Extract(pending) => {
                self.exchanges.insert((scope, pending.id()), pending);
            }
            Change::Begun(_, change) => return self.add(scope, change, there),
        }
        Fate::Done
    }
}

/// Makes changes of scopes that are locked.
pub async fn carry_out(
    transaction: &Transaction<'_>,
    link: &Link,
    (mut locked, changes, erasures): (Locked, &[Change], &Erasures),
) -> Result<Applied, Failure> {
    let there = updated(transaction, &locked, changes).await?;
    let mut last = Last::default();
    let mut fates = Vec::with_capacity(changes.len());
    for change in changes {
        let (change, begun) = change.begun();
        let scope = change.scope();
        let erased = begun.is_some_and(|begun| erasures.concern(scope, begun));
        fates.push(match locked.id(scope) {
            _ if erased => Fate::Erased,
            Some(scope) => last.add(scope, change, &there),
            None => Fate::Done,
        });
    }
    put(transaction, &last.records, &mut locked).await?;
    remove(transaction, &last.records, &mut locked).await?;
    queue::put(transaction, &last.exchanges).await?;
    let changed = finish(transaction, link, locked).await?;
    Ok(Applied { changed, fates })
}

/// The records that are to be updated and are there.
async fn updated(
    transaction: &Transaction<'_>,
    locked: &Locked,
    changes: &[Change],
) -> Result<HashSet<(i64, Uuid)>, Failure> {
    let wanted = changes.iter().filter_map(|change| match change.begun().0 {
        Change::Update { record, .. } => Some((locked.id(&record.scope)?, record.id)),
        _ => None,
    });
    let (scopes, ids): (Vec<i64>, Vec<Uuid>) = wanted.unzip();
    let mut there = HashSet::new();
    if !ids.is_empty() {
        let sql = "SELECT r.scope, r.id FROM yychat.records r
            JOIN unnest($1::bigint[], $2::uuid[]) AS given (scope, id)
                ON given.scope = r.scope AND given.id = r.id";
        for row in query(transaction, sql, &[&scopes, &ids]).await? {
            there.insert((row.try_get("scope")?, row.try_get("id")?));
        }
    }
    Ok(there)
}

/// Locks scopes, and makes those that are new.
pub async fn lock(transaction: &Transaction<'_>, names: BTreeSet<Name>) -> Result<Locked, Failure> {
    let (tenants, kinds, holders) = columns(&names);
    let sql = "INSERT INTO yychat.scopes AS s (tenant, kind, holder)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS given (tenant, kind, holder)
        ORDER BY tenant COLLATE \"C\", kind COLLATE \"C\", holder COLLATE \"C\"
        ON CONFLICT (tenant, kind, holder) DO UPDATE SET version = s.version + 1
        RETURNING id, tenant, kind, holder, version";
    let mut locked = Locked::default();
    for row in query(transaction, sql, &[&tenants, &kinds, &holders]).await? {
        locked.insert(
            row.try_get("id")?,
            row::scope(&row)?,
            row.try_get("version")?,
        );
    }
    Ok(locked)
}

fn columns(names: &BTreeSet<Name>) -> (Vec<&str>, Vec<&str>, Vec<&str>) {
    (
        names.iter().map(|name| name.tenant.as_str()).collect(),
        names.iter().map(|name| name.kind).collect(),
        names.iter().map(|name| name.holder.as_str()).collect(),
    )
}

async fn put(
    transaction: &Transaction<'_>,
    last: &BTreeMap<(i64, Uuid), Option<&Record>>,
    locked: &mut Locked,
) -> Result<(), Failure> {
    let mut given = Columns::default();
    for ((scope, _), record) in last {
        if let Some(record) = record {
            given.push(*scope, record);
            locked.change(*scope, 0);
        }
    }
    if given.id.is_empty() {
        return Ok(());
    }
    let rows = query(
        transaction,
        PUT,
        &[
            &given.scope,
            &given.id,
            &given.tenant,
            &given.conversation,
            &given.role,
            &given.text,
            &given.created_at,
            &given.updated_at,
            &given.source,
            &given.request_id,
            &given.generation,
            &given.history,
            &given.derived_from,
            &given.checksum,
        ],
    )
    .await?;
    for row in &rows {
        locked.change(row.try_get("scope")?, row.try_get("added")?);
    }
    Ok(())
}

/// Answers with how many of each scope's are new: all parts of the statement see the tables as
/// they were before it.
const PUT: &str = "
    WITH given AS (
        SELECT * FROM unnest(
            $1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[],
            $7::bigint[], $8::bigint[], $9::text[], $10::text[], $11::bigint[], $12::text[],
            $13::text[], $14::bigint[]
        ) AS given (
            scope, id, tenant, conversation, role, text, created_at, updated_at, source,
            request_id, generation, history, derived_from, checksum
        )
    ), known AS (
        SELECT r.scope, r.id FROM yychat.records r
        JOIN given ON given.scope = r.scope AND given.id = r.id
    ), put AS (
        INSERT INTO yychat.records (
            scope, id, tenant, conversation, role, text, created_at, updated_at, source,
            request_id, generation, history, derived_from, checksum
        )
        SELECT
            scope, id, tenant, conversation, role, text, created_at, updated_at, source,
            request_id, generation, history, derived_from::uuid[], checksum
        FROM given
        ON CONFLICT (scope, id) DO UPDATE SET
            conversation = excluded.conversation, role = excluded.role, text = excluded.text,
            created_at = excluded.created_at, updated_at = excluded.updated_at,
            source = excluded.source, request_id = excluded.request_id,
            generation = excluded.generation, history = excluded.history,
            derived_from = excluded.derived_from, checksum = excluded.checksum
    )
    SELECT given.scope, count(*) AS added FROM given
    LEFT JOIN known ON known.scope = given.scope AND known.id = given.id
    WHERE known.id IS NULL
    GROUP BY given.scope";

async fn remove(
    transaction: &Transaction<'_>,
    last: &BTreeMap<(i64, Uuid), Option<&Record>>,
    locked: &mut Locked,
) -> Result<(), Failure> {
    let removed = last.iter().filter(|(_, record)| record.is_none());
    let (of, ids): (Vec<i64>, Vec<Uuid>) = removed.map(|((scope, id), _)| (*scope, *id)).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    let sql = "WITH gone AS (
            DELETE FROM yychat.records r
            USING unnest($1::bigint[], $2::uuid[]) AS given (scope, id)
            WHERE r.scope = given.scope AND r.id = given.id
            RETURNING r.scope, r.id
        ), unqueued AS (
            DELETE FROM yychat.pending p USING gone WHERE p.scope = gone.scope AND p.id = gone.id
        )
        SELECT scope FROM gone";
    for row in query(transaction, sql, &[&of, &ids]).await? {
        locked.change(row.try_get("scope")?, -1);
    }
    Ok(())
}

/// Writes counts and versions, and tells other gateways.
pub async fn finish(
    transaction: &Transaction<'_>,
    link: &Link,
    locked: Locked,
) -> Result<Vec<Changed>, Failure> {
    let ids: Vec<i64> = locked.scopes.keys().copied().collect();
    let mut records = Vec::with_capacity(ids.len());
    let mut versions = Vec::with_capacity(ids.len());
    let mut news = Vec::new();
    let mut changed = Vec::new();
    for it in locked.scopes.into_values() {
        records.push(it.records);
        // Where nothing was there to be removed, nothing has changed.
        versions.push(it.version - i64::from(!it.changed));
        if it.changed {
            news.push(link.news(&it.scope));
            changed.push(Changed {
                scope: it.scope,
                version: it.version.cast_unsigned(),
            });
        }
    }
    let sql = "WITH finished AS (
            UPDATE yychat.scopes s SET records = s.records + given.records, version = given.version
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS given (id, records, version)
            WHERE s.id = given.id
        )
        SELECT pg_notify($4, news) FROM unnest($5::text[]) AS given (news)";
    query(
        transaction,
        sql,
        &[&ids, &records, &versions, &CHANNEL, &news],
    )
    .await?;
    Ok(changed)
}

pub async fn put_vectors(
    client: &mut Client,
    link: &Link,
    vectors: &[(Scope, Uuid, Vector)],
) -> Result<(), Failure> {
    let transaction = client.transaction().await?;
    let names: BTreeSet<Name> = vectors.iter().map(|(scope, ..)| Name::of(scope)).collect();
    let (tenants, kinds, holders) = columns(&names);
    let sql = "SELECT s.id, s.tenant, s.kind, s.holder FROM yychat.scopes s
        JOIN unnest($1::text[], $2::text[], $3::text[]) AS given (tenant, kind, holder)
        USING (tenant, kind, holder)
        ORDER BY s.tenant, s.kind, s.holder FOR UPDATE OF s";
    let mut ids = HashMap::new();
    for row in query(&transaction, sql, &[&tenants, &kinds, &holders]).await? {
        ids.insert(row::scope(&row)?, row.try_get::<_, i64>("id")?);
    }
    let mut last = BTreeMap::new();
    for (scope, id, vector) in vectors {
        if let Some(found) = ids.get(scope) {
            last.insert((*found, *id), vector.encode(&row::key(scope, *id)));
        }
    }
    let (of, each): (Vec<i64>, Vec<Uuid>) = last.keys().copied().unzip();
    let values: Vec<Vec<u8>> = last.into_values().collect();
    let news: Vec<String> = ids.keys().map(|scope| link.news(scope)).collect();
    // Other gateways' indexes know the records, and not yet what they mean.
    let sql = "WITH put AS (
            INSERT INTO yychat.vectors (scope, id, vector)
            SELECT given.* FROM unnest($1::bigint[], $2::uuid[], $3::bytea[])
                AS given (scope, id, vector)
            JOIN yychat.records r ON r.scope = given.scope AND r.id = given.id
            ON CONFLICT (scope, id) DO UPDATE SET vector = excluded.vector
        )
        SELECT pg_notify($4, news) FROM unnest($5::text[]) AS given (news)";
    query(&transaction, sql, &[&of, &each, &values, &CHANNEL, &news]).await?;
    transaction.commit().await?;
    Ok(())
}
