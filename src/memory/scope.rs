//! Whose memory: nothing is ever read or written outside one [`Scope`]'s tenant.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// Bytes of a user's, conversation's or tenant's id at most.
pub const MAX_ID_BYTES: usize = 512;

/// The memory that a request may recall from and save to: a user's within a tenant, or one
/// conversation's where no user is given.
///
/// Ids are compared byte by byte: look-alikes, other cases and other normal forms are others.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    tenant: Arc<str>,
    holder: Holder,
}

/// Who holds the records of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Holder {
    User(Arc<str>),
    Conversation(Arc<str>),
}

impl Scope {
    /// The scope of a request, from ids as [`valid_id`] gives them; `None` for the anonymous, who
    /// have no memory. `tenant` is what the verified credential proves and nothing else.
    pub fn of(tenant: &str, user: Option<&str>, conversation: Option<&str>) -> Option<Self> {
        let holder = match (user, conversation) {
            (Some(user), _) => Holder::User(user.into()),
            (None, Some(conversation)) => Holder::Conversation(conversation.into()),
            (None, None) => return None,
        };
        Some(Self {
            tenant: tenant.into(),
            holder,
        })
    }

    pub(super) fn new(tenant: Arc<str>, holder: Holder) -> Self {
        Self { tenant, holder }
    }

    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    pub fn holder(&self) -> &Holder {
        &self.holder
    }

    /// The user, unless the scope is a conversation's.
    pub fn user(&self) -> Option<&Arc<str>> {
        match &self.holder {
            Holder::User(user) => Some(user),
            Holder::Conversation(_) => None,
        }
    }

    /// An unambiguous byte string: each part stands behind its length, so that no choice of ids
    /// makes two scopes meet. [`tenant_key`] is its prefix.
    pub fn key(&self) -> Vec<u8> {
        let mut key = tenant_key(&self.tenant);
        self.holder.append_to(&mut key);
        key
    }

    /// Reads what [`Scope::key`] gave; `None` for anything else.
    pub(super) fn parse(key: &[u8]) -> Option<Self> {
        let (tenant, holder) = split_id(key)?;
        Some(Self::new(tenant.into(), Holder::parse(holder)?))
    }
}

impl Holder {
    /// Appends the tagged and length-prefixed id.
    pub(super) fn append_to(&self, key: &mut Vec<u8>) {
        let (tag, id) = match self {
            Self::User(id) => (b'u', id),
            Self::Conversation(id) => (b'c', id),
        };
        key.push(tag);
        append_id(key, id);
    }

    /// Reads what [`Holder::append_to`] wrote; `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (id, rest) = split_id(rest)?;
        match (tag, rest) {
            (b'u', []) => Some(Self::User(id.into())),
            (b'c', []) => Some(Self::Conversation(id.into())),
            _ => None,
        }
    }
}

/// What every key of a tenant begins with.
pub(super) fn tenant_key(tenant: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    append_id(&mut key, tenant);
    key
}

/// Appends a length-prefixed id.
pub(super) fn append_id(key: &mut Vec<u8>, id: &str) {
    // Ids are checked at the rim; a longer one is cut off from every other by its full hash.
    let length = u32::try_from(id.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(id.as_bytes());
}

/// Takes a length-prefixed id off the front.
pub(super) fn split_id(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (id, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((std::str::from_utf8(id).ok()?, rest))
}

/// Checks an id from outside. `what` names the field or header, for the error: `user`,
/// `X-YYChat-Conversation-Id`.
///
/// # Errors
///
/// 400 for an id that is empty, longer than [`MAX_ID_BYTES`], not UTF-8, or holds a control
/// character (NUL among them).
pub fn valid_id<'a>(what: &str, id: &'a [u8]) -> Result<&'a str, ApiError> {
    let bad = |wrong: String| {
        let mend = format!("send at most {MAX_ID_BYTES} bytes of UTF-8 without control characters");
        Err(ApiError::bad_request(format!("{what} {wrong}: {mend}"))
            .param(what)
            .code("invalid_id"))
    };
    if id.is_empty() {
        return bad("is empty".into());
    }
    if id.len() > MAX_ID_BYTES {
        return bad(format!("has {} bytes", id.len()));
    }
    let Ok(text) = std::str::from_utf8(id) else {
        return bad("is not valid UTF-8".into());
    };
    match text.char_indices().find(|(_, c)| c.is_control()) {
        Some((at, c)) => bad(format!(
            "holds the control character U+{:04X} at byte {at}",
            u32::from(c)
        )),
        None => Ok(text),
    }
}
