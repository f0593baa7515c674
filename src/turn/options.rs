//! What a request asks of the gateway, in its body's fields and in its headers.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::PrepareContext;
use super::identity::{Identity, Sources, Trust};
use super::purpose::Purpose;
use super::remember::Off;
use crate::config::model::MemoryMode;
use crate::dialect::{MemoryUse, Request};
use crate::error::ApiError;
use crate::personality::Personalities;
use crate::snapshot::Caller;
use crate::wire::json::Span;

/// What holds for one request: what it says in a header, else in its body, else what its key has for
/// it, else the configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// The model's name as upstreams know it; `None` leaves the choice to the upstream.
    pub model: Option<String>,
    /// What stands behind it in `MODEL@PERSONALITY`, which no upstream knows.
    pub model_suffix: Option<Span>,
    /// An errand of a front end goes without personality, memory and tools.
    pub purpose: Purpose,
    pub personality: Option<String>,
    /// Whose memory, and which conversation the turn belongs to.
    pub identity: Identity,
    /// What groups the turn with others: the conversation, or the chain of responses.
    pub group: Option<String>,
    /// How memory is used, or why not at all.
    pub memory: Result<MemoryUse, Off>,
    /// Whether the gateway's tools may be offered.
    pub use_tools: bool,
    /// Whose days are meant.
    pub zone: TimeZone,
}

// Names and not texts, which would be parsed each time.
static PERSONALITY: HeaderName = HeaderName::from_static("x-yychat-personality");
static MEMORY: HeaderName = HeaderName::from_static("x-yychat-memory");
static USE_TOOLS: HeaderName = HeaderName::from_static("x-yychat-use-tools");
static TIME_ZONE: HeaderName = HeaderName::from_static("x-yychat-time-zone");

impl Options {
    /// Reads the extensions. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// 400 for a header that is not UTF-8, or an unknown word.
    pub fn read(
        context: &PrepareContext<'_>,
        request: &Request,
        chain: Option<String>,
    ) -> Result<Self, ApiError> {
        let PrepareContext {
            snapshot,
            caller,
            headers,
            ..
        } = *context;
        let sources = Sources {
            headers,
            member: &|name| request.member(name),
        };
        let trust = Trust {
            user: caller.user.as_deref(),
            secret: snapshot.config.auth.openwebui_jwt_secret.as_ref(),
            now: Timestamp::now().as_second(),
        };
        let use_tools = match header(headers, &USE_TOOLS)? {
            Some(word) => Some(switch(&word)?),
            None => request.use_tools(),
        };
        let use_tools = use_tools.or(caller.tools);
        let identity = Identity::read(sources, trust);
        let mut options = Self {
            group: identity.group(chain),
            identity,
            model: request.model().map(Cow::into_owned),
            model_suffix: None,
            purpose: Purpose::of(context, request)?,
            personality: None,
            memory: memory(headers, request, caller)?,
            use_tools: use_tools.unwrap_or(snapshot.config.tools.enabled),
            zone: time_zone(headers)?.unwrap_or_else(|| snapshot.config.memory.time_zone.clone()),
        };
        let by_model = options.split_model(request, &snapshot.personalities);
        let personality = match header(headers, &PERSONALITY)? {
            Some(id) => Some(id),
            None => request.personality_id().map(Cow::into_owned),
        };
        let personality = personality.filter(|id| !id.is_empty()).or(by_model);
        let own = caller.personality.as_deref();
        let default = own.or(snapshot.config.personality.default.as_deref());
        let default = default.filter(|id| !id.is_empty()).map(str::to_owned);
        options.personality = personality.or(default);
        if options.purpose != Purpose::Chat {
            options.personality = None;
            options.memory = Err(Off::Auxiliary);
            options.use_tools = false;
        }
        Ok(options)
    }

    /// Takes the personality off a model's name.
    fn split_model(&mut self, request: &Request, known: &Personalities) -> Option<String> {
        let (name, id) = known.split_model(self.model.as_deref()?)?;
        let (name, id) = (name.to_owned(), id.to_owned());
        self.model = Some(name);
        self.model_suffix = request.model_suffix();
        Some(id)
    }
}

/// How memory is used: as the request says, else as its key has it.
fn memory(
    headers: &HeaderMap,
    request: &Request,
    caller: &Caller,
) -> Result<Result<MemoryUse, Off>, ApiError> {
    let asked = match header(headers, &MEMORY)? {
        Some(word) => Some(MemoryUse::parse(&word).ok_or_else(|| {
            ApiError::bad_request(format!(
                "X-YYChat-Memory is `{word}`. Send `full`, `readonly` or `off`."
            ))
            .param("X-YYChat-Memory")
        })?),
        None => request.memory(),
    };
    Ok(match (asked, caller.memory) {
        (Some(MemoryUse::Off), _) => Err(Off::Request),
        (Some(asked), _) => Ok(asked),
        (None, MemoryMode::Full) => Ok(MemoryUse::Full),
        (None, MemoryMode::Readonly) => Ok(MemoryUse::Readonly),
        (None, MemoryMode::Off) => Err(Off::Disabled),
    })
}

/// The zone that a request names.
///
/// # Errors
///
/// 400 for a name that IANA does not have.
pub fn time_zone(headers: &HeaderMap) -> Result<Option<TimeZone>, ApiError> {
    let Some(name) = header(headers, &TIME_ZONE)? else {
        return Ok(None);
    };
    TimeZone::get(&name).map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "X-YYChat-Time-Zone is `{name}`, which is no time zone of IANA's. Send one such as \
             `Asia/Shanghai`."
        ))
        .param("X-YYChat-Time-Zone")
    })
}

fn switch(word: &str) -> Result<bool, ApiError> {
    match word {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ApiError::bad_request(format!(
            "X-YYChat-Use-Tools is `{word}`. Send `true` or `false`."
        ))
        .param("X-YYChat-Use-Tools")),
    }
}

/// A header of ours that is there and not empty. Clients that cannot put other scripts into one
/// percent-encode them.
pub(super) fn header(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let decoded = percent_encoding::percent_decode(value.as_bytes().trim_ascii());
    let text = decoded.decode_utf8().map_err(|_| {
        ApiError::bad_request(format!(
            "The header {name} is not UTF-8. Send it as UTF-8 or percent-encoded."
        ))
        .param(name.as_str())
    })?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}
