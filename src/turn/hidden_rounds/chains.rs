//! Which conversation a response belongs to, where the next request names nothing but the response.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use crate::dialect::Request;
use crate::memory::valid_id;

/// How long a conversation may rest, …
const REST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// … and how many responses are known.
const MOST: u64 = 100_000;

/// Conversations by their responses. A response that is not known begins one, of its own id: so the
/// first of a chain need not be kept, and one that was forgotten still groups what follows it.
pub struct Chains(Cache<(Arc<str>, String), Arc<str>>);

impl Default for Chains {
    fn default() -> Self {
        Self(
            Cache::builder()
                .max_capacity(MOST)
                .time_to_idle(REST)
                .build(),
        )
    }
}

impl Chains {
    /// The conversation that a request goes on with by naming a response.
    pub fn gone_on(&self, tenant: &Arc<str>, request: &Request) -> Option<String> {
        let response = request.member("previous_response_id")?;
        let response: String = serde_json::from_slice(response).ok()?;
        valid_id("previous_response_id", response.as_bytes()).ok()?;
        let key = (tenant.clone(), response);
        let known = self.0.get(&key);
        Some(known.map_or(key.1, |known| known.as_ref().to_owned()))
    }

    /// Keeps that a response belongs to a conversation.
    pub fn keep(&self, tenant: &Arc<str>, response: &str, conversation: &str) {
        if response != conversation {
            self.0
                .insert((tenant.clone(), response.to_owned()), conversation.into());
        }
    }
}
