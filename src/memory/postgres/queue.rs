//! The queue of exchanges whose facts are still to be extracted, which all gateways work off.

use std::collections::{BTreeMap, BTreeSet};

use deadpool_postgres::{Client, Transaction};
use uuid::Uuid;

use super::failure::Failure;
use super::link::Link;
use super::read::query;
use super::row::{self, Name};
use super::write;
use crate::memory::erasure::Erasures;
use crate::memory::store::{Applied, Backlog, Change, Pending, SET_ASIDE};

/// Queues exchanges of scopes that are locked.
pub async fn put(
    transaction: &Transaction<'_>,
    exchanges: &BTreeMap<(i64, Uuid), &Pending>,
) -> Result<(), Failure> {
    if exchanges.is_empty() {
        return Ok(());
    }
    let (scopes, ids): (Vec<i64>, Vec<Uuid>) = exchanges.keys().copied().unzip();
    let records: Vec<String> = exchanges
        .values()
        .map(|it| row::array(&it.records))
        .collect();
    let due: Vec<i64> = exchanges.values().map(|it| it.due).collect();
    let failures = exchanges.values().map(|it| it.failures.cast_signed());
    let failures: Vec<i32> = failures.collect();
    let sql = "INSERT INTO yychat.pending (scope, id, records, due, failures)
        SELECT scope, id, records::uuid[], due, failures
        FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::integer[])
            AS given (scope, id, records, due, failures)
        ON CONFLICT (scope, id) DO UPDATE SET
            records = excluded.records, due = excluded.due, failures = excluded.failures";
    query(
        transaction,
        sql,
        &[&scopes, &ids, &records, &due, &failures],
    )
    .await?;
    Ok(())
}

pub async fn claim(client: &Client, now: i64, until: i64) -> Result<Option<Pending>, Failure> {
    let sql = "UPDATE yychat.pending p SET due = $2
        FROM yychat.scopes s
        WHERE s.id = p.scope AND (p.scope, p.id) = (
            SELECT scope, id FROM yychat.pending WHERE due <= $1
            ORDER BY due, scope, id LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        RETURNING s.tenant, s.kind, s.holder, p.records, p.due, p.failures";
    let rows = query(client, sql, &[&now, &until]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(Pending {
        scope: row::scope(row)?,
        records: row.try_get("records")?,
        due: row.try_get("due")?,
        failures: row.try_get::<_, i32>("failures")?.cast_unsigned(),
    }))
}

pub async fn finish(
    client: &mut Client,
    link: &Link,
    claimed: &Pending,
    changes: &[Change],
) -> Result<Option<Applied>, Failure> {
    let transaction = client.transaction().await?;
    let mut names: BTreeSet<Name> = changes.iter().map(|it| Name::of(it.scope())).collect();
    names.insert(Name::of(&claimed.scope));
    let locked = write::lock(&transaction, names).await?;
    let Some(scope) = locked.id(&claimed.scope) else {
        return Ok(None);
    };
    let sql = "DELETE FROM yychat.pending
        WHERE scope = $1 AND id = $2 AND records = $3 AND due = $4 AND failures = $5
        RETURNING scope";
    let failures = claimed.failures.cast_signed();
    let (id, records, due) = (claimed.id(), &claimed.records, &claimed.due);
    let held = query(&transaction, sql, &[&scope, &id, records, due, &failures]).await?;
    if held.is_empty() {
        transaction.rollback().await?;
        return Ok(None);
    }
    let sql = "SELECT id FROM yychat.records WHERE scope = $1 AND id = ANY ($2)";
    let there = query(&transaction, sql, &[&scope, records]).await?.len();
    let whole = there == records.iter().collect::<BTreeSet<_>>().len();
    let changes = if whole { changes } else { &[] };
    let erasures = Erasures::default();
    let applied = write::carry_out(&transaction, link, (locked, changes, &erasures)).await?;
    transaction.commit().await?;
    Ok(whole.then_some(applied))
}

pub async fn postpone(client: &Client, claimed: &Pending, due: i64) -> Result<(), Failure> {
    let sql = "UPDATE yychat.pending p SET due = $8, failures = p.failures + 1
        FROM yychat.scopes s
        WHERE s.id = p.scope AND s.tenant = $1 AND s.kind = $2 AND s.holder = $3
            AND p.id = $4 AND p.records = $5 AND p.due = $6 AND p.failures = $7";
    let name = Name::of(&claimed.scope);
    let (id, failures) = (claimed.id(), claimed.failures.cast_signed());
    query(
        client,
        sql,
        &[
            &name.tenant,
            &name.kind,
            &name.holder,
            &id,
            &claimed.records,
            &claimed.due,
            &failures,
            &due,
        ],
    )
    .await?;
    Ok(())
}

pub async fn backlog(client: &Client) -> Result<Backlog, Failure> {
    let sql = "SELECT count(*) FILTER (WHERE due < $1) AS waiting,
            count(*) FILTER (WHERE due = $1) AS set_aside
        FROM yychat.pending";
    let mut backlog = Backlog::default();
    for row in query(client, sql, &[&SET_ASIDE]).await? {
        backlog.waiting = row.try_get::<_, i64>("waiting")?.cast_unsigned();
        backlog.set_aside = row.try_get::<_, i64>("set_aside")?.cast_unsigned();
    }
    Ok(backlog)
}
