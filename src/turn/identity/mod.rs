//! Who is speaking, and in which conversation.
//!
//! Clients name both in many ways, and most name neither. Of each kind the first name that fits is
//! believed, inside the tenant that the key proves:
//!
//! - **user**: `X-YYChat-User-Id`, body `user`, Open WebUI's signed token or its
//!   `X-OpenWebUI-User-Id`, `x-sm-user-id`, `x-resource-id`, body `safety_identifier`,
//!   `metadata.user_id`, then the key's own user.
//! - **conversation**: `X-YYChat-Conversation-Id`, body `conversation_id`, then what front ends,
//!   agents and APIs call a chat, a thread or a session.
//!
//! A session is never a user. Only the first two names of a conversation make it a memory's scope
//! where nobody is named: the others may be the same for strangers, so they group turns and no
//! more.

mod token;
mod unfilled;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unfilled_tests;

use std::borrow::Cow;
use std::convert::identity;

use http::{HeaderMap, HeaderName};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::memory::{Scope, valid_id};

/// What a request says of itself beside its messages.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    pub headers: &'a HeaderMap,
    /// The raw JSON of a top-level member of the body, by name.
    pub member: &'a dyn Fn(&str) -> Option<&'a [u8]>,
}

/// What a key and the configuration add to what a request says.
#[derive(Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The key's own user, for requests that name nobody.
    pub user: Option<&'a str>,
    /// What Open WebUI signs its users' tokens with.
    pub secret: Option<&'a SecretString>,
    /// Unix seconds.
    pub now: i64,
}

/// Who speaks in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: Option<String>,
    /// Groups turns.
    pub conversation: Option<String>,
    /// Whether the conversation may be a memory's scope.
    is_own_conversation: bool,
    /// Whether it is by the weakest of its names, which many apps give to all alike.
    is_cache_key: bool,
    /// Where a name was given that can be none, and no other that can: what it was and why.
    pub unfit: Option<String>,
    /// Whether nothing may be kept of the conversation.
    pub is_temporary: bool,
}

static OWN_USER: HeaderName = HeaderName::from_static("x-yychat-user-id");
static OPEN_WEBUI_USER: HeaderName = HeaderName::from_static("x-openwebui-user-id");
static OPEN_WEBUI_TOKEN: HeaderName = HeaderName::from_static("x-openwebui-user-jwt");
static USERS: [HeaderName; 2] = [
    HeaderName::from_static("x-sm-user-id"),
    HeaderName::from_static("x-resource-id"),
];
static OWN_CONVERSATION: HeaderName = HeaderName::from_static("x-yychat-conversation-id");
static OPEN_WEBUI_CHAT: HeaderName = HeaderName::from_static("x-openwebui-chat-id");
static CONVERSATIONS: [HeaderName; 10] = [
    HeaderName::from_static("x-sm-conversation-id"),
    HeaderName::from_static("x-thread-id"),
    HeaderName::from_static("x-conversation-id"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("thread-id"),
    HeaderName::from_static("session-id"),
    // Codex, before the two above.
    HeaderName::from_static("conversation_id"),
    HeaderName::from_static("session_id"),
    HeaderName::from_static("x-claude-code-session-id"),
];

impl Identity {
    /// Reads who speaks. Nothing in it refuses a request: a name that can be none counts as none.
    pub fn read(sources: Sources<'_>, trust: Trust<'_>) -> Self {
        let mut identity = Self::default();
        identity.find_user(sources, trust);
        identity.find_conversation(sources);
        identity
    }

    /// Whose memory it is; `None` for nobody's.
    pub fn scope(&self, tenant: &str) -> Option<Scope> {
        let conversation = self.conversation.as_deref();
        let conversation = conversation.filter(|_| self.is_own_conversation);
        Scope::of(tenant, self.user.as_deref(), conversation)
    }

    /// What groups the turn with others: its conversation, else the chain of responses that it goes on
    /// with, which says more than what a cache is found by.
    pub fn group(&self, chain: Option<String>) -> Option<String> {
        match self.conversation.as_ref().filter(|_| !self.is_cache_key) {
            Some(stated) => Some(stated.clone()),
            None => chain.or_else(|| self.conversation.clone()),
        }
    }

    fn find_user(&mut self, sources: Sources<'_>, trust: Trust<'_>) {
        let Sources { headers, member } = sources;
        let account = |raw| Name::of_json(raw).and_then(account);
        let names: [Source<'_>; 7] = [
            ("X-YYChat-User-Id", &|| Name::of_header(headers, &OWN_USER)),
            ("user", &|| account(member("user"))),
            ("X-OpenWebUI-User-Jwt", &|| signed(headers, trust)),
            ("X-OpenWebUI-User-Id", &|| {
                Name::of_header(headers, &OPEN_WEBUI_USER)
            }),
            ("x-sm-user-id or x-resource-id", &|| {
                Name::of_headers(headers, &USERS)
            }),
            ("safety_identifier", &|| {
                account(member("safety_identifier"))
            }),
            ("metadata.user_id", &|| {
                account(inner(member("metadata"), "user_id"))
            }),
        ];
        self.user = self.first(&names, Name::of_somebody);
        // Whoever was meant by a name that is none, it was not the key's own user.
        if self.user.is_none() && self.unfit.is_none() {
            self.user = trust.user.map(str::to_owned);
        }
    }

    fn find_conversation(&mut self, sources: Sources<'_>) {
        let Sources { headers, member } = sources;
        let chat = Name::of_header(headers, &OPEN_WEBUI_CHAT);
        let own: [Source<'_>; 2] = [
            ("X-YYChat-Conversation-Id", &|| {
                Name::of_header(headers, &OWN_CONVERSATION)
            }),
            ("conversation_id", &|| {
                Name::of_json(member("conversation_id"))
            }),
        ];
        self.is_temporary = is_temporary(&chat) || is_temporary(&own[0].1());
        self.conversation = self.first(&own, identity);
        if let Some(conversation) = &self.conversation {
            // It groups the turns of somebody, and is nobody's memory.
            let is_anybodys = unfilled::is_anybody(conversation);
            if is_anybodys && self.user.is_none() && self.unfit.is_none() {
                self.unfit = Some(why("conversation_id", conversation, ANYBODYS));
            }
            self.is_own_conversation = !is_anybodys;
            return;
        }
        let names: [Source<'_>; 5] = [
            ("", &|| chat.clone()),
            ("", &|| Name::of_headers(headers, &CONVERSATIONS)),
            ("", &|| session(member("metadata"))),
            ("", &|| conversation(member("conversation"))),
            ("", &|| {
                let metadata = member("client_metadata");
                let thread = Name::of_json(inner(metadata, "thread_id"));
                thread.or(|| Name::of_json(inner(metadata, "session_id")))
            }),
        ];
        let unfit = self.unfit.take();
        self.conversation = self.first(&names, identity);
        if self.conversation.is_none() {
            let key: Source<'_> = ("", &|| Name::of_json(member("prompt_cache_key")));
            self.conversation = self.first(&[key], identity);
            self.is_cache_key = self.conversation.is_some();
        }
        // That there is no group is no reason for anything.
        self.unfit = unfit;
    }

    /// The first name that fits, as it is judged; notes where there is none but one that does not.
    fn first(&mut self, names: &[Source<'_>], judged: fn(Name) -> Name) -> Option<String> {
        let mut unfit = None;
        for (from, name) in names {
            match judged(name()) {
                Name::Absent => {}
                Name::Fit(name) => return Some(name),
                Name::Unfit(name, wrong) => unfit = unfit.or_else(|| Some(why(from, &name, wrong))),
            }
        }
        self.unfit = self.unfit.take().or(unfit);
        None
    }
}

/// Where a name may stand, and what does.
type Source<'a> = (&'a str, &'a dyn Fn() -> Name);

const UNFILLED: &str = "stands where none was filled in";
const ANYBODYS: &str = "is what programs call everybody whom they do not know";
const NO_TEXT: &str = "is no text";
const NO_ID: &str = "is longer than 512 bytes or holds a control character";
const DIFFERS: &str = "is one of several that differ";
const UNSIGNED: &str = "cannot be verified";

/// What is wrong with a name, for who looks into it: the name is cut, and its control characters are shown.
fn why(from: &str, name: &str, wrong: &str) -> String {
    let shown: String = name.chars().take(64).collect();
    match shown.is_empty() {
        true => format!("{from} {wrong}"),
        false => format!("{from} {shown:?} {wrong}"),
    }
}

/// A name as a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// None is given, or an empty one.
    Absent,
    Fit(String),
    /// One is given that can be none, and what is wrong with it.
    Unfit(String, &'static str),
}

impl Name {
    fn of(text: Cow<'_, str>) -> Self {
        if text.trim().is_empty() {
            return Self::Absent;
        }
        match valid_id("id", text.as_bytes()) {
            Err(_) => Self::Unfit(text.into_owned(), NO_ID),
            Ok(_) if unfilled::is_unfilled(&text) => Self::Unfit(text.into_owned(), UNFILLED),
            Ok(_) => Self::Fit(text.into_owned()),
        }
    }

    /// One that is not everybody's whom a program does not know.
    fn of_somebody(self) -> Self {
        match self {
            Self::Fit(name) if unfilled::is_anybody(&name) => Self::Unfit(name, ANYBODYS),
            other => other,
        }
    }

    /// One that is no text.
    fn no_text() -> Self {
        Self::Unfit(String::new(), NO_TEXT)
    }

    fn of_json(raw: Option<&[u8]>) -> Self {
        match raw {
            None | Some(b"null") => Self::Absent,
            Some(raw) => {
                let text = serde_json::from_slice(raw);
                text.map_or_else(|_| Self::no_text(), |Text(text)| Self::of(text))
            }
        }
    }

    /// Clients that cannot put other scripts into a header percent-encode them. Two names that
    /// differ, as where a proxy adds its own to the client's, are none.
    fn of_header(headers: &HeaderMap, name: &HeaderName) -> Self {
        // Most are not there, which this tells sooner.
        let Some(value) = headers.get(name) else {
            return Self::Absent;
        };
        let mut values = headers.get_all(name).iter();
        if values.any(|other| other != value) {
            return Self::Unfit(String::new(), DIFFERS);
        }
        let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
        let text = decoded.decode_utf8();
        text.map_or_else(|_| Self::no_text(), Self::of)
    }

    fn of_headers(headers: &HeaderMap, names: &[HeaderName]) -> Self {
        let mut names = names.iter();
        let mut found = Self::Absent;
        while let (false, Some(name)) = (matches!(found, Self::Fit(_)), names.next()) {
            found = match Self::of_header(headers, name) {
                Self::Absent => found,
                other => other,
            };
        }
        found
    }

    fn and_then(self, then: impl FnOnce(String) -> Self) -> Self {
        match self {
            Self::Fit(name) => then(name),
            other => other,
        }
    }

    fn or(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Fit(_) => self,
            _ => other(),
        }
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What Claude Code puts into `metadata.user_id`, and what passes it on elsewhere.
struct ClaudeCode {
    account_uuid: Value,
    session_id: Value,
}

impl ClaudeCode {
    /// From its JSON, whatever of it is there, or the older `user_…_account_…_session_…`.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with('{') {
            let mut told: Map<String, Value> = serde_json::from_str(text).ok()?;
            let mut take = |name| told.remove(name);
            let known = ["device_id", "account_uuid", "session_id"].map(&mut take);
            let is_its_own = known.iter().any(Option::is_some);
            let [_, account_uuid, session_id] = known.map(Option::unwrap_or_default);
            return is_its_own.then_some(Self {
                account_uuid,
                session_id,
            });
        }
        let (_, rest) = text.strip_prefix("user_")?.split_once("_account_")?;
        let (account, session) = rest.split_once("_session_")?;
        Some(Self {
            account_uuid: account.into(),
            session_id: session.into(),
        })
    }

    /// One of its names.
    fn name(value: &Value) -> Name {
        match value {
            Value::String(name) => Name::of(name.into()),
            Value::Null => Name::Absent,
            _ => Name::no_text(),
        }
    }
}

/// Of Claude Code's the account alone: a device is nobody, and a session changes.
fn account(text: String) -> Name {
    match ClaudeCode::read(&text) {
        Some(claude) => ClaudeCode::name(&claude.account_uuid),
        None => Name::Fit(text),
    }
}

/// The session in Claude Code's `metadata.user_id`.
fn session(metadata: Option<&[u8]>) -> Name {
    let Name::Fit(text) = Name::of_json(inner(metadata, "user_id")) else {
        return Name::Absent;
    };
    let claude = ClaudeCode::read(&text);
    claude.map_or(Name::Absent, |claude| ClaudeCode::name(&claude.session_id))
}

/// Responses' `conversation`: an id, or an object with one.
fn conversation(raw: Option<&[u8]>) -> Name {
    let id = inner(raw, "id");
    Name::of_json(if id.is_some() { id } else { raw })
}

/// The user that Open WebUI has signed for. Without the secret nobody can tell who it is, so that
/// the token names nobody.
fn signed(headers: &HeaderMap, trust: Trust<'_>) -> Name {
    Name::of_header(headers, &OPEN_WEBUI_TOKEN).and_then(|token| {
        let secret = trust.secret;
        let user = secret.and_then(|secret| token::verify(&token, secret, trust.now));
        let unsigned = || Name::Unfit(String::new(), UNSIGNED);
        user.map_or_else(unsigned, |user| Name::of(user.into()))
    })
}

/// Open WebUI calls a chat that it does not keep `local:` and something; once it was `local`.
fn is_temporary(chat: &Name) -> bool {
    matches!(chat, Name::Fit(chat) if chat == "local" || chat.starts_with("local:"))
}

/// A member of an object; `None` where `raw` is none.
fn inner<'a>(raw: Option<&'a [u8]>, name: &str) -> Option<&'a [u8]> {
    use std::collections::BTreeMap;
    let members: BTreeMap<Cow<'a, str>, &'a RawValue> = serde_json::from_slice(raw?).ok()?;
    members.get(name).map(|value| value.get().as_bytes())
}
