//! A look at everything, as of one moment.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::{Client, Transaction};
use tokio_postgres::{IsolationLevel, Row};

use super::failure::Failure;
use super::read;
use super::row;
use crate::memory::record::Names;
use crate::memory::similar::fingerprint;
use crate::memory::store::Audit;

/// Rows that are looked at together.
const PART: usize = 1000;

pub async fn audit(client: &mut Client) -> Result<Audit, Failure> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let mut look = Look::default();
    let mut after = None;
    loop {
        let (rows, next) = read::rows(&transaction, (after, PART), ("", "")).await?;
        for row in &rows {
            look.at(row)?;
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    scopes(&transaction, look).await
}

/// What was seen so far.
#[derive(Default)]
struct Look {
    audit: Audit,
    /// Records of each scope.
    counts: HashMap<i64, i64>,
    scope: i64,
    /// What that scope says.
    said: HashSet<(String, u64)>,
}

impl Look {
    fn at(&mut self, row: &Row) -> Result<(), Failure> {
        let scope: i64 = row.try_get("scope")?;
        if scope != self.scope {
            self.scope = scope;
            self.said.clear();
        }
        *self.counts.entry(scope).or_default() += 1;
        self.audit.records += 1;
        let (listed, of): (&str, &str) = (row.try_get("of_tenant")?, row.try_get("tenant")?);
        self.audit.orphans += u64::from(listed != of);
        match row::record(row, &row::scope(row)?, &mut Names::default())? {
            None => self.audit.corrupt += 1,
            Some(record) => {
                self.audit.text_bytes += record.text.len() as u64;
                let said = (record.role.to_string(), fingerprint(&record.text));
                self.audit.duplicates += u64::from(!self.said.insert(said));
            }
        }
        Ok(())
    }
}

/// Adds what the table of scopes says of itself.
async fn scopes(transaction: &Transaction<'_>, look: Look) -> Result<Audit, Failure> {
    let mut audit = look.audit;
    let mut tenants = HashSet::new();
    // Version 0 is a scope that was only asked to remove what it never had.
    let sql = "SELECT id, tenant, records FROM yychat.scopes WHERE version > 0";
    for row in read::query(transaction, sql, &[]).await? {
        audit.scopes += 1;
        tenants.insert(row.try_get::<_, String>("tenant")?);
        let found = look.counts.get(&row.try_get("id")?).copied();
        let miscounted = found.unwrap_or(0) != row.try_get::<_, i64>("records")?;
        audit.miscounted += u64::from(miscounted);
    }
    audit.tenants = tenants.len() as u64;
    Ok(audit)
}
