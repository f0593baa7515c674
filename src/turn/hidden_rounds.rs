//! Rounds that the gateway has begun and the client has to finish.
//!
//! Where the model calls tools of both sides in one turn, the gateway runs its own and hands the
//! client the rest. The client's next request tells of its own calls alone; what the gateway's
//! gave is put back here, as a turn before the client's:
//!
//! ```text
//! … assistant{tool_calls: gateway's}, tool{…}, │ assistant{tool_calls: client's}, tool{…}
//!             put back                          │          as the client sent them
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;

use crate::dialect::{Request, Round, follow_up};

/// How long a client may take to answer its own calls. After that its turn stands alone, which
/// every model understands, though it may call the gateway's tools again.
const KEPT: Duration = Duration::from_secs(60 * 60);
/// Bytes that are kept over all clients; the oldest go first.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What the gateway's tools gave in turns that clients have yet to go on with, by tenant and by
/// the id of a client's call.
pub struct HiddenRounds {
    messages: Cache<(String, String), Arc<[Bytes]>>,
    /// Spares every other gateway the search.
    is_used: AtomicBool,
}

impl Default for HiddenRounds {
    fn default() -> Self {
        let weight = |key: &(String, String), messages: &Arc<[Bytes]>| {
            let bytes: usize = messages.iter().map(Bytes::len).sum();
            u32::try_from(bytes + key.0.len() + key.1.len()).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(MOST_BYTES)
            .time_to_live(KEPT);
        Self {
            messages: cache.build(),
            is_used: AtomicBool::new(false),
        }
    }
}

impl HiddenRounds {
    /// Keeps what the gateway's calls of a round gave until the client has answered its own.
    pub fn keep(&self, tenant: &str, round: &Round, results: &[String]) {
        let messages: Arc<[Bytes]> = follow_up("null", &round.calls, results).into();
        // Any one of its calls finds them; a client answers all or the upstream refuses.
        if let Some(id) = round.client_calls.iter().find(|id| !id.is_empty()) {
            self.is_used.store(true, Ordering::Release);
            self.messages
                .insert((tenant.to_owned(), id.clone()), messages);
        }
    }

    /// The messages to put back into a request, each with the index of the client's message that
    /// it goes before.
    pub fn restore(&self, tenant: &str, request: &Request) -> Vec<(usize, Bytes)> {
        if !self.is_used.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut restored = Vec::new();
        for (turn, id) in request.answered_calls() {
            if let Some(messages) = self.messages.get(&(tenant.to_owned(), id)) {
                restored.extend(messages.iter().map(|message| (turn, message.clone())));
            }
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Call;

    fn request(call: &str) -> Request {
        let body = format!(
            r#"{{"messages":[{{"role":"user","content":"hi"}},{{"role":"assistant","content":null,"tool_calls":[{{"id":"{call}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"{call}","content":"1"}}]}}"#
        );
        Request::parse(body.into(), 64).expect("a request")
    }

    #[test]
    fn a_tenant_gets_its_own_results_back_before_the_turn_they_belong_to() {
        let hidden_rounds = HiddenRounds::default();
        let round = Round {
            calls: vec![Call {
                id: "ours".into(),
                name: "calculator".into(),
                arguments: "{}".into(),
            }],
            client_calls: vec!["theirs".into(), "theirs too".into()],
        };
        hidden_rounds.keep("acme", &round, &["42".into()]);
        let restored = hidden_rounds.restore("acme", &request("theirs"));
        let places: Vec<_> = restored.iter().map(|(turn, _)| *turn).collect();
        assert_eq!(places, [1, 1]);
        let result: serde_json::Value = serde_json::from_slice(&restored[1].1).expect("JSON");
        assert_eq!(
            (&result["tool_call_id"], &result["content"]),
            (&"ours".into(), &"42".into())
        );
        assert_eq!(hidden_rounds.restore("other", &request("theirs")), []);
        assert_eq!(hidden_rounds.restore("acme", &request("unknown")), []);
    }
}
