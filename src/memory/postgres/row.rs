//! Records as rows: plain columns that SQL can read, beside a checksum over all of them.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::error::Error;
use uuid::Uuid;

use crate::memory::embedding::vector::Vector;
use crate::memory::record::{Names, Record, Source};
use crate::memory::scope::{Holder, Scope};

/// Columns of a record, for a `SELECT` in which it is called `r`. They come first in it: a column is
/// found by its place, since by its name each value of each row would be looked for among all names.
pub const COLUMNS: &str = "r.id, r.conversation, r.role, r.text, r.created_at, r.updated_at, \
    r.source, r.request_id, r.generation, r.history, r.derived_from, r.checksum";

/// Text as PostgreSQL can hold it, which is any but NUL.
pub fn escape(text: &str) -> Cow<'_, str> {
    match text.contains(['\0', '\u{1A}']) {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace('\u{1A}', "\u{1A}1").replace('\0', "\u{1A}0")),
    }
}

/// What [`escape`] was given.
pub fn unescape(text: &str) -> Cow<'_, str> {
    match text.contains('\u{1A}') {
        false => Cow::Borrowed(text),
        true => Cow::Owned(text.replace("\u{1A}0", "\0").replace("\u{1A}1", "\u{1A}")),
    }
}

fn owned(text: &str) -> String {
    escape(text).into_owned()
}

/// A scope as the table of scopes names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub tenant: String,
    pub kind: &'static str,
    pub holder: String,
}

impl Name {
    pub fn of(scope: &Scope) -> Self {
        let (kind, holder) = match scope.holder() {
            Holder::User(id) => ("user", id),
            Holder::Conversation(id) => ("conversation", id),
        };
        Self {
            tenant: owned(scope.tenant()),
            kind,
            holder: owned(holder),
        }
    }
}

/// The scope that the columns `tenant`, `kind` and `holder` name.
pub fn scope(row: &Row) -> Result<Scope, Error> {
    let holder = holder(row.try_get("kind")?, row.try_get("holder")?);
    let tenant = unescape(row.try_get("tenant")?).as_ref().into();
    Ok(Scope::new(tenant, holder))
}

/// Whom the columns `kind` and `holder` name.
pub fn holder(kind: &str, holder: &str) -> Holder {
    let id = unescape(holder).as_ref().into();
    match kind {
        "user" => Holder::User(id),
        _ => Holder::Conversation(id),
    }
}

/// The record in a row; `None` if its checksum is not that of its columns.
pub fn record(row: &Row, scope: &Scope, names: &mut Names) -> Result<Option<Record>, Error> {
    let source = match row.try_get(6)? {
        "chat" => Source::Chat,
        "api" => Source::Api,
        "import" => Source::Import,
        "extraction" => Source::Extraction,
        _ => return Ok(None),
    };
    // An empty history is the rule, and not worth a parser.
    let history = match row.try_get(9)? {
        "[]" => Vec::new(),
        history => match serde_json::from_str(history) {
            Ok(history) => history,
            Err(_) => return Ok(None),
        },
    };
    let record = Record {
        id: row.try_get(0)?,
        scope: scope.clone(),
        conversation: row
            .try_get::<_, Option<&str>>(1)?
            .map(|id| names.shared(&unescape(id))),
        role: names.shared(&unescape(row.try_get(2)?)),
        text: unescape(row.try_get(3)?).into_owned(),
        created_at: row.try_get(4)?,
        updated_at: row.try_get(5)?,
        source,
        request_id: row
            .try_get::<_, Option<&str>>(7)?
            .map(|id| unescape(id).into_owned()),
        generation: row.try_get::<_, i64>(8)?.cast_unsigned(),
        history,
        derived_from: row.try_get(10)?,
    };
    let checksum: i64 = row.try_get(11)?;
    Ok((checksum == record_checksum(&record)).then_some(record))
}

fn record_checksum(record: &Record) -> i64 {
    i64::from_be_bytes(record.checksum(&record.key()))
}

/// The vector of the record of that id, in the column behind the record's.
pub fn vector(row: &Row, scope: &Scope, id: Uuid) -> Result<Option<Vector>, Error> {
    let value: Option<&[u8]> = row.try_get(12)?;
    Ok(value.and_then(|value| Vector::decode(&key(scope, id), value)))
}

/// What checksums of a record and of its vector cover beside their content.
pub fn key(scope: &Scope, id: Uuid) -> Vec<u8> {
    let mut key = scope.key();
    key.extend_from_slice(id.as_bytes());
    key
}

/// An array as PostgreSQL writes it: `unnest` would take arrays of arrays apart.
pub fn array(ids: &[Uuid]) -> String {
    let ids: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    format!("{{{}}}", ids.join(","))
}

/// Columns of records to be written, each an array for `unnest`.
#[derive(Default)]
pub struct Columns {
    pub scope: Vec<i64>,
    pub id: Vec<Uuid>,
    pub tenant: Vec<String>,
    pub conversation: Vec<Option<String>>,
    pub role: Vec<String>,
    pub text: Vec<String>,
    pub created_at: Vec<i64>,
    pub updated_at: Vec<i64>,
    pub source: Vec<&'static str>,
    pub request_id: Vec<Option<String>>,
    pub generation: Vec<i64>,
    pub history: Vec<String>,
    pub derived_from: Vec<String>,
    pub checksum: Vec<i64>,
}

impl Columns {
    pub fn push(&mut self, scope: i64, record: &Record) {
        self.scope.push(scope);
        self.id.push(record.id);
        self.tenant.push(owned(record.scope.tenant()));
        self.conversation
            .push(record.conversation.as_deref().map(owned));
        self.role.push(owned(&record.role));
        self.text.push(owned(&record.text));
        self.created_at.push(record.created_at);
        self.updated_at.push(record.updated_at);
        self.source.push(match record.source {
            Source::Chat => "chat",
            Source::Api => "api",
            Source::Import => "import",
            Source::Extraction => "extraction",
        });
        self.request_id
            .push(record.request_id.as_deref().map(owned));
        self.generation.push(record.generation.cast_signed());
        // Strings and numbers: serde_json cannot refuse them, and it escapes NUL itself.
        self.history
            .push(serde_json::to_string(&record.history).unwrap_or_else(|_| "[]".into()));
        self.derived_from.push(array(&record.derived_from));
        self.checksum.push(record_checksum(record));
    }
}
