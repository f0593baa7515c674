//! What was erased, and when. Whoever saves what began before waits for whoever erases, and then
//! sees the erasure.

use std::collections::BTreeSet;

use deadpool_postgres::{Client, Transaction};
use xxhash_rust::xxh3::xxh3_64;

use super::failure::Failure;
use super::link::Link;
use super::pool::TIMEOUT;
use super::read::{Selected, query};
use super::row::{self, Name, escape, holder, unescape};
use super::write::{self, Locked};
use crate::memory::erasure::{Erased, Erasure, Erasures, KEPT};
use crate::memory::scope::Scope;
use crate::memory::store::{Change, Changed, Selection};

/// Microseconds of the server's clock.
const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// The erasures that these changes have to mind. None can be added to them until the transaction
/// ends.
pub async fn newer(
    transaction: &Transaction<'_>,
    link: &Link,
    changes: &[Change],
) -> Result<Erasures, Failure> {
    let begun = changes.iter().filter_map(|it| Some((it, it.begun().1?)));
    let (mut tenants, mut since) = (BTreeSet::new(), None);
    for (change, begun) in begun {
        tenants.insert(change.scope().tenant());
        since = Some(since.unwrap_or(begun.at).min(begun.at));
    }
    let Some(since) = since else {
        return Ok(Erasures::default());
    };
    let locks: BTreeSet<i64> = tenants.iter().map(|tenant| lock(tenant)).collect();
    let locks: Vec<i64> = locks.into_iter().collect();
    let sql = "SELECT pg_advisory_xact_lock_shared(key) FROM unnest($1::bigint[]) AS given (key)";
    query(transaction, sql, &[&locks]).await?;
    // In a statement of its own, which sees what was committed while the locks were waited for.
    let ahead = link.clock_ahead();
    let since = since.saturating_add(ahead);
    let tenants: Vec<_> = tenants.into_iter().map(escape).collect();
    let tenants: Vec<&str> = tenants.iter().map(|tenant| &**tenant).collect();
    let sql = format!(
        "SELECT {NOW} AS now, e.* FROM (SELECT) AS one
         LEFT JOIN yychat.erasures e ON e.tenant = ANY ($1::text[]) AND e.at >= $2"
    );
    let rows = query(transaction, &sql, &[&tenants, &since]).await?;
    let mut erasures = Erasures::default();
    for (n, row) in rows.iter().enumerate() {
        if n == 0 {
            erasures = Erasures::new(row.try_get("now")?, ahead);
        }
        let Some(tenant) = row.try_get::<_, Option<&str>>("tenant")? else {
            continue;
        };
        let tenant = unescape(tenant).into_owned();
        let (kind, id): (&str, &str) = (row.try_get("kind")?, row.try_get("holder")?);
        let of = match unescape(row.try_get("conversation")?).as_ref() {
            "" if kind.is_empty() => Selection::All,
            "" => Selection::Scope(Scope::new(tenant.as_str().into(), holder(kind, id))),
            conversation => Selection::Conversation {
                id: conversation.to_owned(),
                user: (!kind.is_empty()).then(|| unescape(id).into_owned()),
            },
        };
        let at = row.try_get("at")?;
        erasures.add(tenant, Erasure { of, at });
    }
    Ok(erasures)
}

/// Removes what is selected, and notes that.
pub async fn erase(
    client: &mut Client,
    link: &Link,
    (tenant, selection): (&str, &Selection),
) -> Result<Erased, Failure> {
    let selected = Selected::new(tenant, selection);
    let transaction = client.transaction().await?;
    let sql = "SELECT pg_advisory_xact_lock($1)";
    query(&transaction, sql, &[&lock(tenant)]).await?;
    let locked = lock_selected(&transaction, &selected).await?;
    let at = note(&transaction, tenant, selection).await?;
    let (records, changed) = remove(&transaction, link, (&selected, locked)).await?;
    transaction.commit().await?;
    Ok(Erased {
        records,
        changed,
        at,
    })
}

/// Locks the scopes in which any of what is selected may be.
async fn lock_selected(
    transaction: &Transaction<'_>,
    selected: &Selected,
) -> Result<Locked, Failure> {
    let sql = format!(
        "SELECT s.id, s.tenant, s.kind, s.holder, s.version FROM yychat.scopes s WHERE {}
         ORDER BY s.tenant, s.kind, s.holder FOR UPDATE",
        selected.scopes
    );
    let mut locked = Locked::default();
    for row in query(transaction, &sql, &selected.parameters()).await? {
        let version: i64 = row.try_get("version")?;
        locked.insert(row.try_get("id")?, row::scope(&row)?, version + 1);
    }
    Ok(locked)
}

async fn note(
    transaction: &Transaction<'_>,
    tenant: &str,
    selection: &Selection,
) -> Result<i64, Failure> {
    let tenant = escape(tenant);
    let (kind, holder, conversation) = match selection {
        Selection::All => ("", String::new(), String::new()),
        Selection::Scope(scope) => {
            let name = Name::of(scope);
            (name.kind, name.holder, String::new())
        }
        Selection::Conversation { id, user } => {
            let kind = user.as_ref().map_or("", |_| "user");
            let user = user.as_deref().unwrap_or_default();
            (kind, escape(user).into_owned(), escape(id).into_owned())
        }
    };
    let sql = format!("DELETE FROM yychat.erasures WHERE at < {NOW} - $1");
    query(transaction, &sql, &[&KEPT]).await?;
    let sql = format!(
        "INSERT INTO yychat.erasures AS e (tenant, kind, holder, conversation, at)
         VALUES ($1, $2, $3, $4, {NOW})
         ON CONFLICT (tenant, kind, holder, conversation)
             DO UPDATE SET at = greatest(e.at, excluded.at)
         RETURNING at"
    );
    let statement = transaction.prepare_cached(&sql).await?;
    let row = transaction
        .query_one(&statement, &[&&*tenant, &kind, &holder, &conversation])
        .await?;
    Ok(row.try_get("at")?)
}

/// Removes records of scopes that are locked.
async fn remove(
    transaction: &Transaction<'_>,
    link: &Link,
    (selected, mut locked): (&Selected, Locked),
) -> Result<(u64, Vec<Changed>), Failure> {
    let mut parameters = selected.parameters();
    // A scope that is new since is not among those that are locked.
    let ids = locked.ids();
    parameters.push(&ids);
    let sql = format!(
        "WITH gone AS (
             DELETE FROM yychat.records r USING yychat.scopes s
             WHERE s.id = r.scope AND {} AND r.scope = ANY (${}::bigint[])
             RETURNING r.scope, r.id
         ), unqueued AS (
             DELETE FROM yychat.pending p USING gone WHERE p.scope = gone.scope AND p.id = gone.id
         )
         SELECT scope, count(*) AS removed FROM gone GROUP BY scope",
        selected.records,
        parameters.len()
    );
    let mut total = 0;
    for row in query(transaction, &sql, &parameters).await? {
        let removed: i64 = row.try_get("removed")?;
        total += removed.cast_unsigned();
        locked.change(row.try_get("scope")?, -removed);
    }
    locked.keep_changed();
    let changed = write::finish(transaction, link, locked).await?;
    Ok((total, changed))
}

/// Rewrites the tables, for deleted rows stay in theirs until then.
pub async fn scrub(client: &Client) -> Result<(), Failure> {
    let sql = "SELECT coalesce(bool_and(pg_has_role(tableowner, 'USAGE')), false) AS owned
        FROM pg_tables WHERE schemaname = 'yychat'";
    if !client
        .query_one(sql, &[])
        .await?
        .try_get::<_, bool>("owned")?
    {
        // The server would warn of it and go on.
        return Err(Failure::Unavailable(
            "the user of memory.url does not own the tables: have their owner run VACUUM FULL"
                .into(),
        ));
    }
    client.batch_execute("SET statement_timeout = 0").await?;
    for table in ["records", "pending", "vectors", "scopes"] {
        let vacuum = format!("VACUUM (FULL, ANALYZE) yychat.{table}");
        client.batch_execute(&vacuum).await?;
    }
    Ok(client.batch_execute(TIMEOUT).await?)
}

/// The lock of a tenant's erasures.
fn lock(tenant: &str) -> i64 {
    (xxh3_64(tenant.as_bytes()) ^ xxh3_64(b"yychat erasures")).cast_signed()
}
