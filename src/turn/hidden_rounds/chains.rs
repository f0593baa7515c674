//! Which conversation a response belongs to, where the next request names nothing but the response.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use super::note;
use crate::dialect::Request;
use crate::memory::valid_id;
use crate::shared::Notes;

/// How long a conversation may rest, …
const REST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// … and how many responses are known.
const MOST: u64 = 100_000;

/// Conversations by their responses. A response that is not known begins one, of its own id: so the
/// first of a chain need not be kept, and one that was forgotten still groups what follows it.
pub struct Chains {
    here: Cache<(Arc<str>, String), Arc<str>>,
    notes: Notes,
}

impl Chains {
    /// Those of a fleet, where there is one.
    pub fn of(notes: Notes) -> Self {
        let cache = Cache::builder().max_capacity(MOST).time_to_idle(REST);
        Self {
            here: cache.build(),
            notes,
        }
    }

    /// The conversation that a request goes on with by naming a response.
    pub async fn gone_on(&self, tenant: &Arc<str>, request: &Request) -> Option<String> {
        let response = request.member("previous_response_id")?;
        let response: String = serde_json::from_slice(response).ok()?;
        valid_id("previous_response_id", response.as_bytes()).ok()?;
        let key = (tenant.clone(), response);
        if let Some(known) = self.here.get(&key) {
            return Some(known.as_ref().to_owned());
        }
        let left = self.notes.find(tenant, &[note::chain(&key.1)]).await;
        let left = left.into_iter().next().flatten();
        let left = left.and_then(|left| String::from_utf8(left.to_vec()).ok());
        if let Some(left) = &left {
            self.here.insert(key.clone(), left.as_str().into());
        }
        Some(left.unwrap_or(key.1))
    }

    /// Keeps that a response belongs to a conversation.
    pub async fn keep(&self, tenant: &Arc<str>, response: &str, conversation: &str) {
        if response != conversation {
            self.here
                .insert((tenant.clone(), response.to_owned()), conversation.into());
            let left = Bytes::copy_from_slice(conversation.as_bytes());
            let left = [(note::chain(response), left)];
            self.notes.keep(tenant, &left, REST).await;
        }
    }
}
