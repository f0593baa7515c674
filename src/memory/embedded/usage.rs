//! The ledger of usage in the embedded store: a table of its own, in the order of days.
//!
//! | table | key | value |
//! |---|---|---|
//! | `usage` | day; tenant, key, model | checksum, five counts |

use redb::{Database, ReadableDatabase, ReadableTable, TableError, WriteTransaction};
use xxhash_rust::xxh3::xxh3_64;

use super::tables::Definition;
use crate::memory::usage::{Day, Row, Used};

const USAGE: Definition = Definition::new("usage");
const NUMBERS: usize = 5;

/// Adds to what is there.
pub fn add(transaction: &WriteTransaction, rows: &[Row]) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(USAGE)?;
    for row in rows {
        let key = key(row);
        let mut used = row.used;
        if let Some(value) = table.get(key.as_slice())?
            && let Some(known) = decode(&key, value.value())
        {
            used.add(known);
        }
        table.insert(key.as_slice(), encode(&key, used).as_slice())?;
    }
    Ok(())
}

/// What was used in these days, of one tenant or of all. A row that fails its checksum is raised.
pub fn read(
    database: &Database,
    tenant: Option<&str>,
    (from, to): (Day, Day),
    alarm: &dyn Fn(&'static str),
) -> Result<Vec<Row>, redb::Error> {
    let table = match database.begin_read()?.open_table(USAGE) {
        // Nothing was used yet.
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut rows = Vec::new();
    let bounds = (from.to_string(), to.next().to_string());
    for entry in table.range(bounds.0.as_bytes()..bounds.1.as_bytes())? {
        let (key, value) = entry?;
        match row(key.value(), value.value()) {
            Some(row) if tenant.is_none_or(|tenant| row.tenant == tenant) => rows.push(row),
            Some(_) => {}
            None => alarm("usage"),
        }
    }
    Ok(rows)
}

fn key(row: &Row) -> Vec<u8> {
    let mut key = row.day.to_string().into_bytes();
    let names = (&row.tenant, &row.key, &row.model);
    // Texts in memory always serialize.
    key.extend(postcard::to_stdvec(&names).unwrap_or_default());
    key
}

fn row(key: &[u8], value: &[u8]) -> Option<Row> {
    const DAY: usize = "2026-11-28".len();
    let used = decode(key, value)?;
    let (day, names) = key.split_at_checked(DAY)?;
    let (tenant, name, model) = postcard::from_bytes(names).ok()?;
    Some(Row {
        tenant,
        key: name,
        model,
        day: std::str::from_utf8(day).ok()?.parse().ok()?,
        used,
    })
}

fn encode(key: &[u8], used: Used) -> Vec<u8> {
    let content = used.numbers().map(u64::to_be_bytes).concat();
    let mut value = sum(key, &content).to_vec();
    value.extend(content);
    value
}

fn decode(key: &[u8], value: &[u8]) -> Option<Used> {
    let (expected, content) = value.split_first_chunk::<8>()?;
    let mut numbers = [0; NUMBERS];
    let (read, rest) = content.as_chunks::<8>();
    if *expected != sum(key, content) || read.len() != NUMBERS || !rest.is_empty() {
        return None;
    }
    for (number, bytes) in numbers.iter_mut().zip(read) {
        *number = u64::from_be_bytes(*bytes);
    }
    Some(Used::from_numbers(numbers))
}

fn sum(key: &[u8], content: &[u8]) -> [u8; 8] {
    (xxh3_64(content) ^ xxh3_64(key).rotate_left(32)).to_be_bytes()
}
