//! The tables, and how they come to be: one step after another, each in a file of its own.

use tokio_postgres::Client;

use super::failure::Failure;
use crate::error::Fault;

/// What leads from each version to the next; never changed once released.
const STEPS: [&str; 1] = [include_str!("schema_1.sql")];

/// Any number: gateways that start at once take turns by it.
const LOCK: i64 = 0x7979_6368_6174;

/// Brings the schema to the version that this program knows.
///
/// # Errors
///
/// One that is newer, or a database that cannot hold every text, is unfit.
pub async fn migrate(client: &mut Client) -> Result<(), Failure> {
    let encoding = client.query_one("SHOW server_encoding", &[]).await?;
    if encoding.get::<_, &str>(0) != "UTF8" {
        return Err(unfit(
            "the database of memory.url is not encoded in UTF-8",
            "create one with ENCODING 'UTF8', and name that",
        ));
    }
    if version(client).await? == known() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    // Another gateway may have done it while this one waited.
    let found = version(transaction.client()).await?;
    if found > known() {
        return Err(unfit(
            format!(
                "the database of memory.url has schema {found}, and this yychat knows {} at most",
                known()
            ),
            "run the yychat that made it, or a later one",
        ));
    }
    if found == 0 {
        begin(&transaction).await?;
    }
    for (step, number) in STEPS.iter().zip(1i32..).skip(found as usize) {
        transaction.batch_execute(step).await?;
        transaction
            .execute("UPDATE yychat.schema SET version = $1", &[&number])
            .await?;
    }
    transaction.commit().await?;
    tracing::info!(from = found, to = known(), "memory schema migrated");
    Ok(())
}

fn known() -> i32 {
    STEPS.len() as i32
}

fn unfit(what: impl Into<String>, mend: &str) -> Failure {
    Failure::Unfit(Fault::new("memory", what, mend))
}

/// 0 where there is none yet.
async fn version(client: &Client) -> Result<i32, Failure> {
    // A look-up by name would be remembered, and not see what another has made while this one
    // waited for the lock.
    let found = "SELECT EXISTS (
        SELECT FROM pg_tables WHERE schemaname = 'yychat' AND tablename = 'schema')";
    if !client.query_one(found, &[]).await?.get::<_, bool>(0) {
        return Ok(0);
    }
    let row = client
        .query_opt("SELECT version FROM yychat.schema", &[])
        .await?;
    Ok(row.map_or(0, |row| row.get(0)))
}

async fn begin(client: &tokio_postgres::Transaction<'_>) -> Result<(), Failure> {
    // IF NOT EXISTS asks for the right to create even where an administrator already has.
    let found = "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'yychat')";
    if !client.query_one(found, &[]).await?.get::<_, bool>(0) {
        client.batch_execute("CREATE SCHEMA yychat").await?;
    }
    client
        .batch_execute(
            "CREATE TABLE yychat.schema (version integer NOT NULL);
             INSERT INTO yychat.schema VALUES (0)",
        )
        .await?;
    Ok(())
}
