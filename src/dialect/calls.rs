//! The model's calls of tools: whose they are, and how the gateway goes on after its own.

use bytes::Bytes;
use memchr::memmem;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::mark::{has_call_of, is_marked};
use super::names::{bare, may_begin_group};

/// A call that the gateway runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The upstream's; one of ours where it gave none, or the same to two.
    pub id: String,
    pub name: String,
    /// As the model wrote them: they may not be JSON.
    pub arguments: String,
}

/// What the model asks of the gateway in one leg.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Round {
    /// Never empty.
    pub calls: Vec<Call>,
    /// Ids of the calls that are for the client, which then has to answer them first.
    pub client_calls: Vec<String>,
    /// For each of the gateway's, where it stands: how many of the client's are before it; in Responses, how
    /// many items that the client sees are behind it, since thoughts stand with the call that follows.
    pub places: Vec<usize>,
    /// What the next leg repeats of this one: items of the dialect's own, as the upstream said them.
    /// Where the client has calls too it repeats the rest itself, and these are what goes among it:
    /// the gateway's calls alone, one each.
    pub said: Vec<Bytes>,
}

impl Round {
    /// The ids of all its calls so far.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let own = self.calls.iter().map(|call| call.id.as_str());
        own.chain(self.client_calls.iter().map(String::as_str))
    }
}

/// How a leg came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leg {
    /// The answer ends here.
    Complete,
    /// It goes on once these calls are run.
    Calls(Round),
    /// It broke off within a call of the gateway's.
    Truncated,
    /// Something within such a call could not be read.
    Unreadable,
}

/// What becomes of an event, or of a whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It goes on as it came.
    Pass,
    /// This goes on in its place.
    Replace(Bytes),
    /// Nothing of it goes on.
    Drop,
}

/// Whether something went by that could not be read, …
#[derive(Debug, Default)]
pub struct Unread {
    pub is_any: bool,
    /// … and may have been a call of the gateway's.
    pub may_be_ours: bool,
}

impl Unread {
    /// What becomes of a text that cannot be read: it is no JSON, or not of the API that was asked for.
    pub fn judge(&mut self, raw: &[u8], owners: &Owners) -> Edit {
        let may_be_ours =
            is_marked(raw) && (owners.may_be_called_in(raw) || has_call_of(owners, raw));
        self.is_any = true;
        self.may_be_ours |= may_be_ours;
        match may_be_ours {
            true => Edit::Drop,
            false => Edit::Pass,
        }
    }
}

/// Whose tool a name means.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    /// Tools that the gateway offered.
    pub gateway: Vec<String>,
    /// The client's own.
    pub client: Vec<String>,
}

/// Who runs a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Gateway,
    Client,
    /// So far its name may be the gateway's, or the beginning of one.
    Undecided,
}

impl Owners {
    /// Who runs the calls of `name`, of which more may come unless it `is_whole`. A name that the
    /// gateway did not offer is the client's to judge, as it would be without a gateway; one that a
    /// template's words stand around is whose it is without them.
    pub fn of(&self, name: &str, is_whole: bool) -> Owner {
        let is_plain = self.is_plain(name);
        let spelt = match is_plain {
            true => name,
            false => bare(name),
        };
        let longer = |known: &&String| known.len() > spelt.len() && known.starts_with(spelt);
        let is_ours = self.ours(name).is_some();
        let mut known = self.gateway.iter().chain(&self.client);
        let may_grow = !is_whole
            && match is_ours {
                true => known.any(|known| longer(&known)),
                false => {
                    self.gateway.iter().any(|known| longer(&known))
                        || (!is_plain && may_begin_group(name))
                }
            };
        match (may_grow, is_ours) {
            (true, _) => Owner::Undecided,
            (false, true) => Owner::Gateway,
            (false, false) => Owner::Client,
        }
    }

    /// The tool of the gateway's that a name means.
    pub fn ours(&self, name: &str) -> Option<&str> {
        let ours = |is: &dyn Fn(&&String) -> bool| self.gateway.iter().find(is).map(String::as_str);
        if self.is_plain(name) {
            return ours(&|known| *known == name);
        }
        let bare = bare(name);
        let is = |known: &&String| known.as_str() == bare;
        match self.client.iter().any(|known| is(&known)) {
            true => None,
            false => ours(&is),
        }
    }

    /// Whether this is no JSON, and a name of the gateway's stands in it: it may be a call of that.
    pub fn may_be_called_in(&self, raw: &[u8]) -> bool {
        let mut gateway = self.gateway.iter();
        gateway.any(|name| memmem::find(raw, name.as_bytes()).is_some())
            && serde_json::from_slice::<IgnoredAny>(raw).is_err()
    }

    /// Whether it is a name that somebody has.
    pub fn knows(&self, name: &str) -> bool {
        self.is_plain(name) || self.ours(name).is_some()
    }

    /// Whether somebody has it as it is written.
    fn is_plain(&self, name: &str) -> bool {
        let mut known = self.gateway.iter().chain(&self.client);
        known.any(|known| known == name)
    }
}

/// Reasons after which a call is one that the model has said in full …
const RUNS: [&str; 8] = [
    "tool_calls",
    "function_call",
    "stop",
    "tool_use",
    "tool_call",
    "end_turn",
    "stop_sequence",
    "eos",
];

/// … and reasons that cut it off, or take it back.
const ENDS: [&str; 36] = [
    "length",
    "content_filter",
    "content_filtered",
    "max_tokens",
    "max_output_tokens",
    "max_length",
    "model_context_window_exceeded",
    "context_window_exceeded",
    "context_length_exceeded",
    "model_length",
    "insufficient_system_resource",
    "error",
    "network_error",
    "server_error",
    "internal_error",
    "upstream_error",
    "rate_limit",
    "timeout",
    "failed",
    "incomplete",
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "safety",
    "sensitive",
    "refusal",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
    "guardrail_intervened",
    "malformed_function_call",
    "unexpected_tool_call",
    "repetition",
    "pause_turn",
];

/// Whether the calls of a leg that ended for this reason are to be run: one that is not known here is
/// believed as far as the calls bear it out.
pub fn runs(reason: &str, are_whole: impl FnOnce() -> bool) -> bool {
    let is = |known: &&str| known.eq_ignore_ascii_case(reason);
    RUNS.iter().any(is) || (!ENDS.iter().any(is) && are_whole())
}

/// The object that a call's arguments are. Some servers begin with an empty one, say it twice, or put
/// it into a string.
pub fn object(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('"') {
        let inner: String = serde_json::from_str(text).ok()?;
        return object(&inner).filter(|_| inner.trim_start().starts_with('{'));
    }
    // Spares the reading of what is not at its end yet.
    if !text.ends_with('}') {
        return None;
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>();
    let values: Vec<_> = values.collect::<Result<_, _>>().ok()?;
    let is_object = |json: &RawValue| json.get().starts_with('{');
    let (last, before) = values.split_last()?;
    let is_empty = |json: &RawValue| json.get()[1..].trim_start().starts_with('}');
    let repeats = |json: &RawValue| is_object(json) && (is_empty(json) || json.get() == last.get());
    (is_object(last) && before.iter().all(|json| repeats(json))).then(|| last.get().to_owned())
}

/// A number, also where it is written as a text. What else there is, is none.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    })
}

/// Ids of the gateway's own, for calls that come without, or with another call's.
#[derive(Debug)]
pub struct Seed {
    prefix: String,
    given: usize,
}

impl Seed {
    /// Ids that begin with `prefix`.
    pub fn new(prefix: String) -> Self {
        Self { prefix, given: 0 }
    }

    /// `id`, unless it is empty or among those that are `taken`.
    pub fn unless<'a>(&mut self, id: &str, taken: impl IntoIterator<Item = &'a str>) -> String {
        if !id.is_empty() && !taken.into_iter().any(|other| other == id) {
            return id.to_owned();
        }
        self.given += 1;
        format!("call_{}{}", self.prefix, self.given)
    }
}
