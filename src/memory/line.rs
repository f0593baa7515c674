//! How a record is written as a line of JSON, and read from one.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use super::moment;
use super::record::{MAX_TEXT_BYTES, Record, Revision, Source};
use super::scope::{Scope, valid_id};
use crate::error::ApiError;

/// A record as a line of an export and as the API shows it. Importing a line that was exported
/// gives the same record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Line {
    /// Absent in an import: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Absent in an import: the importer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    #[serde(default)]
    pub user_id: Option<String>,
    #[serde(default)]
    pub conversation_id: Option<String>,
    #[serde(default = "user_role", deserialize_with = "role")]
    pub role: String,
    pub text: String,
    /// RFC 3339, and read as [`moment`] has it. Absent in an import: now.
    #[serde(
        default,
        deserialize_with = "moment::deserialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub created_at: Option<Timestamp>,
    #[serde(
        default,
        deserialize_with = "moment::deserialize",
        skip_serializing_if = "Option::is_none"
    )]
    pub updated_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub generation: u64,
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<Revision>,
    /// The records that a fact was extracted from.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub derived_from: Vec<Uuid>,
}

fn user_role() -> String {
    "user".into()
}

fn role<'de, D: Deserializer<'de>>(reader: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_else(user_role))
}

/// Programs that write every column write `null` where there is nothing.
fn or_default<'de, D, T>(reader: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

impl From<&Record> for Line {
    fn from(record: &Record) -> Self {
        Self {
            id: Some(record.id),
            tenant: Some(record.scope.tenant().into()),
            user_id: record.scope.user().map(|user| user.to_string()),
            conversation_id: record.conversation.as_deref().map(str::to_owned),
            role: record.role.to_string(),
            text: record.text.clone(),
            created_at: Timestamp::from_millisecond(record.created_at).ok(),
            updated_at: Timestamp::from_millisecond(record.updated_at).ok(),
            source: Some(record.source),
            request_id: record.request_id.clone(),
            generation: record.generation,
            history: record.history.clone(),
            derived_from: record.derived_from.clone(),
        }
    }
}

impl Line {
    /// The record; `tenant` holds where the line names none, `now` is in Unix milliseconds.
    ///
    /// # Errors
    ///
    /// 400 for bad ids, a line with neither user nor conversation, or an empty text; 413 for a
    /// text over [`MAX_TEXT_BYTES`].
    pub fn into_record(self, tenant: &str, now: i64) -> Result<Record, ApiError> {
        let check = |what: &str, id: &Option<String>| match id {
            Some(id) => valid_id(what, id.as_bytes()).map(|_| ()),
            None => Ok(()),
        };
        check("user_id", &self.user_id)?;
        check("conversation_id", &self.conversation_id)?;
        valid_id("role", self.role.as_bytes())?;
        check_text(&self.text)?;
        let tenant = self.tenant.as_deref().unwrap_or(tenant);
        let (user, conversation) = (self.user_id.as_deref(), self.conversation_id.as_deref());
        let scope = Scope::of(tenant, user, conversation).ok_or_else(|| {
            ApiError::bad_request(
                "the memory has neither user_id nor conversation_id: give at least one",
            )
            .param("user_id")
        })?;
        let created_at = self.created_at.map_or(now, Timestamp::as_millisecond);
        let source = self.source.unwrap_or(Source::Import);
        let mut record = Record::new(&scope, &self.role, self.text, source, created_at);
        record.conversation = conversation.map(Arc::from);
        record.updated_at = self
            .updated_at
            .map_or(created_at, Timestamp::as_millisecond);
        record.request_id = self.request_id;
        record.generation = self.generation;
        record.history = self.history;
        record.derived_from = self.derived_from;
        if let Some(id) = self.id {
            record.id = id;
        }
        Ok(record)
    }
}

/// Checks the text of a record from outside.
///
/// # Errors
///
/// 400 when there is nothing in it, 413 over [`MAX_TEXT_BYTES`].
pub fn check_text(text: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(
            ApiError::bad_request("text is empty: send what is to be remembered").param("text"),
        );
    }
    if text.len() > MAX_TEXT_BYTES {
        let message = format!(
            "text has {} bytes: a memory holds at most {MAX_TEXT_BYTES}, so send it in parts",
            text.len()
        );
        return Err(ApiError::new(http::StatusCode::PAYLOAD_TOO_LARGE, message)
            .param("text")
            .code("memory_too_large"));
    }
    Ok(())
}
