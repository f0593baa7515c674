//! What a file says of itself: whose it is, and what a program must know to use it.

use redb::{Database, ReadableDatabase, TableDefinition, TableHandle};

use super::erasures::{ERASED, ERASURES};
use super::queue::{DUE, PENDING};
use super::tables::{CONVERSATIONS, Definition, IDS, RECORDS, SCOPES, VECTORS};

const ABOUT: Definition = TableDefinition::new("about");
const TABLES: [Definition; 10] = [
    RECORDS,
    IDS,
    CONVERSATIONS,
    SCOPES,
    VECTORS,
    PENDING,
    DUE,
    ERASURES,
    ERASED,
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
