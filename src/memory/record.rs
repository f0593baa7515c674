//! One memory, and how it is stored.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::scope::{Holder, Scope, append_id};

/// Bytes of a record's text at most.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Replaced texts that a record keeps at most; the oldest go first.
pub const MAX_HISTORY: usize = 16;

/// One memory: a turn of a conversation, or a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Version 7: its order is the order of creation.
    pub id: Uuid,
    pub scope: Scope,
    pub conversation: Option<Arc<str>>,
    /// `user`, `assistant`, `fact`, or the name of whoever speaks.
    pub role: Arc<str>,
    /// At most [`MAX_TEXT_BYTES`].
    pub text: String,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds; later than `created_at` once the same was said again.
    pub updated_at: i64,
    pub source: Source,
    /// The request that brought it.
    pub request_id: Option<String>,
    /// The configuration's generation under which it was saved; 0 where there was none.
    pub generation: u64,
    /// Texts that this record had before, the oldest first.
    pub history: Vec<Revision>,
    /// The records that a fact was extracted from, the latest last; empty for all others.
    // A turn may come from a process of an earlier version.
    #[serde(default)]
    pub derived_from: Vec<Uuid>,
}

/// Where a record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Chat,
    Api,
    Import,
    Extraction,
}

/// A text that a later one replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub text: String,
    /// Unix milliseconds at which it was replaced.
    pub replaced_at: i64,
    pub reason: Reason,
}

/// Why a text was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nearly the same was said again: versions before this one took that for the same.
    NearDuplicate,
    /// Somebody edited it.
    Edited,
    /// Another turn took its place in the client's history, or extraction found it to be over.
    Superseded,
}

impl Record {
    /// A new record of a scope; `created_at` is in Unix milliseconds.
    pub fn new(scope: &Scope, role: &str, text: String, source: Source, created_at: i64) -> Self {
        let conversation = match scope.holder() {
            Holder::Conversation(id) => Some(id.clone()),
            Holder::User(_) => None,
        };
        Self {
            id: new_id(created_at),
            scope: scope.clone(),
            conversation,
            role: role.into(),
            text,
            created_at,
            updated_at: created_at,
            source,
            request_id: None,
            generation: 0,
            history: Vec::new(),
            derived_from: Vec::new(),
        }
    }

    /// Puts `text` in place of the present one, which goes into the history.
    pub fn replace_text(&mut self, text: String, reason: Reason, now: i64) {
        self.updated_at = self.updated_at.max(now);
        let old = std::mem::replace(&mut self.text, text);
        self.remember(old, reason, now);
    }

    /// Puts a text into the history.
    pub(super) fn remember(&mut self, text: String, reason: Reason, now: i64) {
        self.history
            .drain(..(self.history.len() + 1).saturating_sub(MAX_HISTORY));
        self.history.push(Revision {
            text,
            replaced_at: now,
            reason,
        });
    }

    /// Takes the latest superseded text of this kind out of the history.
    pub(super) fn take_superseded(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let is_wanted = |it: &Revision| it.reason == Reason::Superseded && wanted(&it.text);
        let at = self.history.iter().rposition(is_wanted)?;
        Some(self.history.remove(at).text)
    }

    /// Bytes that it holds in memory, about.
    pub fn weight(&self) -> usize {
        let history: usize = self.history.iter().map(|r| r.text.len() + 40).sum();
        let names = 16 + self.request_id.as_ref().map_or(0, |id| id.len());
        let derived = size_of_val(&*self.derived_from);
        size_of::<Self>() + names + derived + self.text.capacity() + history
    }

    /// The key under which it is stored: the scope's, then the id.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut key = self.scope.key();
        key.extend_from_slice(self.id.as_bytes());
        key
    }

    /// A checksum over key and content, then the content.
    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let body = Body {
            conversation: self.conversation.as_deref(),
            role: &self.role,
            text: &self.text,
            created_at: self.created_at,
            updated_at: self.updated_at,
            source: self.source,
            request_id: self.request_id.as_deref(),
            generation: self.generation,
            history: self.history.clone(),
        };
        let mut value = vec![0; 8];
        // Writing into a `Vec` cannot fail, and every type in `Body` has a postcard form.
        let mut value = if self.derived_from.is_empty() {
            value.push(FORMAT);
            postcard::to_extend(&body, value).unwrap_or_default()
        } else {
            value.push(FORMAT_DERIVED);
            postcard::to_extend(&(body, &self.derived_from), value).unwrap_or_default()
        };
        let sum = checksum(key, value.get(8..).unwrap_or_default());
        if let Some(head) = value.first_chunk_mut() {
            *head = sum;
        }
        value
    }

    /// The checksum that [`Record::encode`] writes.
    pub(super) fn checksum(&self, key: &[u8]) -> [u8; 8] {
        let value = self.encode(key);
        value.first_chunk().copied().unwrap_or_default()
    }

    /// Reads what [`Record::encode`] wrote under this key; `None` if a single bit of either has
    /// changed.
    pub(super) fn decode(scope: &Scope, key: &[u8], value: &[u8]) -> Option<Self> {
        Self::decode_sharing(scope, (key, value), &mut Names::default())
    }

    /// Same, sharing the names that many records of a scope have in common.
    pub(super) fn decode_sharing(
        scope: &Scope,
        (key, value): (&[u8], &[u8]),
        names: &mut Names,
    ) -> Option<Self> {
        let (sum, content) = value.split_first_chunk::<8>()?;
        let (format, content_body) = content.split_first()?;
        if *sum != checksum(key, content) {
            return None;
        }
        let id = Uuid::from_bytes(*key.last_chunk()?);
        let (body, derived_from): (Body<'_>, _) = match *format {
            FORMAT => (postcard::from_bytes(content_body).ok()?, Vec::new()),
            FORMAT_DERIVED => postcard::from_bytes(content_body).ok()?,
            _ => return None,
        };
        Some(Self {
            id,
            scope: scope.clone(),
            conversation: body.conversation.map(|id| names.shared(id)),
            role: names.shared(body.role),
            text: body.text.to_owned(),
            created_at: body.created_at,
            updated_at: body.updated_at,
            source: body.source,
            request_id: body.request_id.map(str::to_owned),
            generation: body.generation,
            history: body.history,
            derived_from,
        })
    }
}

/// Roles and conversations that were read before.
#[derive(Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    pub(super) fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.0.insert(new.clone());
        new
    }
}

const FORMAT: u8 = 1;

/// With the records that it was extracted from behind it.
const FORMAT_DERIVED: u8 = 2;

/// The key is part of it, so that a record under a key that has changed is not taken for another
/// scope's.
pub(super) fn checksum(key: &[u8], content: &[u8]) -> [u8; 8] {
    (xxh3_64(content) ^ xxh3_64(key).rotate_left(32)).to_be_bytes()
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    conversation: Option<&'a str>,
    role: &'a str,
    text: &'a str,
    created_at: i64,
    updated_at: i64,
    source: Source,
    request_id: Option<&'a str>,
    generation: u64,
    history: Vec<Revision>,
}

/// A version 7 id for something that was made at `created_at`, in Unix milliseconds. Ids of one
/// process are in the order of their making even within a millisecond, and an imported record's
/// id sorts by when it was said, not by when it was imported.
pub fn new_id(created_at: i64) -> Uuid {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEQUENCE: AtomicU32 = AtomicU32::new(0);
    let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let mut bytes = Uuid::new_v4().into_bytes();
    let mut random = [0; 10];
    random.copy_from_slice(&bytes[6..]);
    bytes[..4].copy_from_slice(&sequence.to_be_bytes());
    // 12 bits behind the version, then 14 behind the variant: 67 million in a millisecond.
    random[0] = (sequence >> 22) as u8 & 0x0F;
    random[1] = (sequence >> 14) as u8;
    random[2] = (sequence >> 8) as u8 & 0x3F;
    random[3] = sequence as u8;
    let millis = u64::try_from(created_at).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// The key of a conversation's list: tenant, then conversation, each behind its length.
pub(super) fn conversation_key(tenant: &str, conversation: &str) -> Vec<u8> {
    let mut key = super::scope::tenant_key(tenant);
    append_id(&mut key, conversation);
    key
}
