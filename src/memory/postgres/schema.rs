//! The tables, and how they come to be: one step after another, each in a file of its own.

use tokio_postgres::Client;

use super::failure::Failure;
use crate::error::Fault;

/// What leads from each version to the next; never changed once released. A program that does not
/// know a version would spoil it, and keeps away.
const STEPS: [&str; 1] = [include_str!("schema_1.sql")];

/// What was added to the last version, one after another; never changed once released. A program
/// that does not know them goes on beside one that does: it leaves them alone.
const ADDITIONS: [&str; 2] = [
    include_str!("addition_1.sql"),
    include_str!("addition_2.sql"),
];

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
    let found = Version::of(client).await?;
    if found.is_whole() {
        return Ok(());
    }
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    // Another gateway may have done it while this one waited.
    let found = Version::of(transaction.client()).await?.released();
    if found.version > known() {
        return Err(unfit(
            format!(
                "the database of memory.url has schema {}, and this yychat knows {} at most",
                found.version,
                known()
            ),
            "run the yychat that made it, or a later one",
        ));
    }
    if found.version == 0 {
        begin(&transaction).await?;
    }
    transaction
        .batch_execute(
            "ALTER TABLE yychat.schema ADD COLUMN IF NOT EXISTS
                additions integer NOT NULL DEFAULT 0",
        )
        .await?;
    for step in STEPS.iter().skip(found.version as usize) {
        transaction.batch_execute(step).await?;
    }
    let added = match found.version == known() {
        true => found.additions.unwrap_or(0) as usize,
        false => 0,
    };
    for addition in ADDITIONS.iter().skip(added) {
        transaction.batch_execute(addition).await?;
    }
    let sql = "UPDATE yychat.schema SET version = $1, additions = $2";
    let additions = ADDITIONS.len().max(added) as i32;
    transaction.execute(sql, &[&known(), &additions]).await?;
    transaction.commit().await?;
    tracing::info!(from = ?found, "memory schema brought up to date");
    Ok(())
}

fn known() -> i32 {
    STEPS.len() as i32
}

fn unfit(what: impl Into<String>, mend: &str) -> Failure {
    Failure::Unfit(Fault::new("memory", what, mend))
}

/// What a database has of the schema.
#[derive(Debug, Clone, Copy, Default)]
struct Version {
    /// 0 where there is none yet.
    version: i32,
    /// `None` where it does not say.
    additions: Option<i32>,
}

impl Version {
    async fn of(client: &Client) -> Result<Self, Failure> {
        // A look-up by name would be remembered, and not see what another has made while this one
        // waited for the lock.
        let found = "SELECT EXISTS (
            SELECT FROM pg_tables WHERE schemaname = 'yychat' AND tablename = 'schema')";
        if !client.query_one(found, &[]).await?.get::<_, bool>(0) {
            return Ok(Self::default());
        }
        // The column is itself an addition.
        let sql = "SELECT version, (to_jsonb(s) ->> 'additions')::integer AS additions
            FROM yychat.schema s";
        let row = client.query_opt(sql, &[]).await?;
        Ok(row.map_or_else(Self::default, |row| Self {
            version: row.get("version"),
            additions: row.get("additions"),
        }))
    }

    fn is_whole(self) -> bool {
        self.version == known()
            && self
                .additions
                .is_some_and(|it| it as usize >= ADDITIONS.len())
    }

    /// What programs between two releases wrote as version 2 is the first one and what was added
    /// to it first.
    fn released(self) -> Self {
        match self {
            Self {
                version: 2,
                additions: None,
            } => Self {
                version: 1,
                additions: Some(1),
            },
            released => released,
        }
    }
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
