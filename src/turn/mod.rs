//! One chat turn: what is put into a request, and why.
//!
//! The proxy sends what [`Prepared::compose`] gives; a preview shows the same. Both call this, so a
//! preview cannot lie.

mod explain;
mod hidden_rounds;
mod identity;
mod options;
mod purpose;
mod remember;
mod tool_loop;
mod tools;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

pub use self::hidden_rounds::{HiddenPlace, HiddenRound, HiddenRounds, Whose};
use self::options::Options;
pub use self::options::time_zone;
pub use self::purpose::Purpose;
use self::remember::Off;
pub use self::remember::Remembered;
pub use self::tool_loop::{Continuation, Step, ToolLoop};
pub use self::tools::Offer;
use crate::config::model;
use crate::dialect::{
    self, Answer, Composed, Dialect, Editor, Injection, Request, ToolOffer, Wanted, Withheld,
    compose,
};
use crate::error::ApiError;
use crate::memory::{self, Memory};
use crate::personality::{AssembleContext, Persona};
use crate::quota::Expected;
use crate::snapshot::{Caller, Snapshot};
use crate::telemetry::{Ledger, Phase};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Answer,
    /// How many tokens there are in what would be sent.
    Count,
}

/// What a turn is prepared from.
#[derive(Clone, Copy)]
pub struct PrepareContext<'a> {
    /// The generation that the request keeps.
    pub snapshot: &'a Snapshot,
    /// Absent where memory is switched off.
    pub memory: Option<&'a Memory>,
    /// Whose key was proven.
    pub caller: &'a Caller,
    /// Turns that the client may be going on with.
    pub hidden_rounds: &'a HiddenRounds,
    /// The API that the client speaks.
    pub dialect: Dialect,
    pub wish: Wish,
    /// The request's header fields.
    pub headers: &'a HeaderMap,
}

/// A chat request with everything that will be put into it.
pub struct Prepared {
    request: Request,
    model: Option<String>,
    injection: Injection,
    purpose: Purpose,
    persona: Option<Arc<Persona>>,
    remembered: Remembered,
    offer: Offer,
    whose: Whose,
    /// When it had been read, in Unix microseconds.
    began: i64,
    /// Why it names nobody, where it tries to.
    unfit: Option<String>,
    /// A budget needs what the stream costs, and the client does not ask for it.
    wants_usage: bool,
}

/// What an upstream takes.
#[derive(Debug, Clone, Copy)]
pub struct Takes {
    /// One system message, at the head; else any number anywhere.
    pub strict_roles: bool,
    /// Tools of the gateway's.
    pub tools: bool,
    /// To be asked what a stream costs, where the turn wants that.
    pub usage: bool,
}

/// Reads a chat request and decides what is put into it.
///
/// # Errors
///
/// 400 for a body or header that cannot be read, 404 for an unknown personality.
pub async fn prepare(
    asked: PrepareContext<'_>,
    body: Bytes,
    ledger: &mut Ledger,
) -> Result<Prepared, ApiError> {
    let snapshot = asked.snapshot;
    let began = Timestamp::now().as_microsecond();
    ledger.enter(Phase::Compose);
    let request = asked
        .dialect
        .read(body, snapshot.config.limits.json_depth)?;
    let chains = &asked.hidden_rounds.chains;
    let chain = chains.gone_on(&asked.caller.tenant, &request).await;
    let mut options = Options::read(&asked, &request, chain)?;
    if asked.wish == Wish::Count {
        // Nothing is asked that could be remembered.
        options.memory = Err(Off::Request);
    }
    permit(asked.caller, options.model.as_deref(), &request)?;
    ledger.enter(Phase::Personality);
    let persona = choose(snapshot, options.personality.as_deref())?;
    let mut injection = Injection {
        model_suffix: options.model_suffix,
        ..Injection::default()
    };
    if let Some(persona) = &persona {
        apply(&mut injection, persona, snapshot, (&request, &options.zone));
    }
    if let Some(unfit) = &options.identity.unfit {
        tracing::debug!(%unfit, "a name is nobody's");
    }
    ledger.enter(Phase::Memory);
    let config = &snapshot.config.memory;
    let whose = (&*asked.caller.tenant, &options);
    let remembered = Remembered::recall(asked.memory, config, whose, &request).await;
    remembered.inject(&mut injection, config.placement);
    ledger.enter(Phase::Tools);
    let tools = match options.use_tools {
        _ if options.purpose != Purpose::Chat => Err(Withheld::Auxiliary),
        true => Ok(()),
        false => Err(Withheld::Disabled),
    };
    let offer = Offer::choose(snapshot, tools, persona.as_deref(), &request);
    injection.tools = offer.injection();
    let whose = Whose {
        tenant: asked.caller.tenant.clone(),
        user: options.identity.user.clone(),
        conversation: options.identity.conversation.clone(),
    };
    // An errand gets none, so that what they gave before is not told of either.
    if options.purpose == Purpose::Chat {
        injection.restored = asked.hidden_rounds.restore(&whose, &request).await;
    }
    let goes_on_from = asked.hidden_rounds.goes_on_from(&whose.tenant, &request);
    injection.goes_on_from = goes_on_from.await;
    ledger.enter(Phase::Compose);
    let is_budgeted = asked.wish == Wish::Answer && !asked.caller.budgets.is_empty();
    Ok(Prepared {
        wants_usage: is_budgeted && request.leaves_usage_out(),
        model: options.model,
        purpose: options.purpose,
        began,
        unfit: options.identity.unfit,
        request,
        injection,
        persona,
        remembered,
        offer,
        whose,
    })
}

impl Prepared {
    /// `model` as upstreams know it.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// What the request is for.
    pub fn purpose(&self) -> &Purpose {
        &self.purpose
    }

    /// The id of the personality in force.
    pub fn personality_id(&self) -> Option<&str> {
        self.persona.as_ref().map(|persona| persona.id.as_str())
    }

    /// The gateway's tools that the model is offered.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Whether the client brings tools of its own.
    pub fn brings_tools(&self) -> bool {
        self.request.options().tools > 0
    }

    /// The API that the client speaks.
    pub fn dialect(&self) -> Dialect {
        self.request.dialect()
    }

    /// What an answer may cost, as far as the request tells.
    pub fn expected(&self) -> Expected<'_> {
        let limit = |name| serde_json::from_slice(self.request.member(name)?).ok();
        let newer = limit("max_completion_tokens").or_else(|| limit("max_output_tokens"));
        Expected {
            model: self.model().unwrap_or_default(),
            request_bytes: self.request.body().len(),
            output_limit: newer.or_else(|| limit("max_tokens")),
            answers: limit("n").unwrap_or(1),
            has_output: true,
        }
    }

    /// Whether the client asks for a stream.
    pub fn streams(&self) -> bool {
        self.request.stream()
    }

    /// An editor of the answer; `seed` is of this answer alone.
    pub fn editor(&self, wanted: Wanted, seed: String) -> Editor {
        Editor::new(self.dialect(), self.offer.owners().clone(), wanted, seed)
    }

    /// Where what is hidden of the answer stands.
    pub fn hidden_place(&self) -> HiddenPlace {
        HiddenPlace::after(&self.request, self.whose.clone())
    }

    /// Where it stands for whoever names the answer by its id.
    pub fn hidden_within(&self, response: &str) -> HiddenPlace {
        HiddenPlace::within(response, self.whose.clone())
    }

    /// When it had been read, in Unix microseconds.
    pub fn began(&self) -> i64 {
        self.began
    }

    /// Whether the upstream is to be asked what the stream costs, and the client not to see it.
    pub fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// Whose it is.
    pub fn whose(&self) -> &Whose {
        &self.whose
    }

    /// What memory did for it.
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Notes which conversation a response belongs to, for the requests that name it alone.
    pub async fn chain(&self, hidden_rounds: &HiddenRounds, answer: &Answer) {
        if self.dialect() != Dialect::Responses {
            return;
        }
        let conversation = self.remembered.conversation(&self.request, Some(answer));
        if let (Some(response), Some(conversation)) = (&answer.id, conversation) {
            let chains = &hidden_rounds.chains;
            let tenant = &self.whose.tenant;
            chains.keep(tenant, response, &conversation).await;
        }
    }

    /// What memory is to keep of it, once an upstream has answered; an answer that did not come
    /// whole is none.
    pub fn exchange(
        &self,
        snapshot: &Snapshot,
        request_id: String,
        answer: Option<&Answer>,
    ) -> Option<memory::Turn> {
        self.remembered
            .exchange((snapshot, request_id), &self.request, answer)
    }

    /// The body for an upstream. `after` are the rounds of tool calls that came before.
    pub fn compose(&self, takes: Takes, after: Option<&Continuation>) -> Composed {
        let Takes {
            strict_roles,
            tools,
            usage,
        } = takes;
        let usage = usage && self.wants_usage;
        let with_tools = tools || self.offer.is_empty() || after.is_some();
        let is_as_prepared = strict_roles == self.injection.strict_roles && with_tools && !usage;
        if is_as_prepared && after.is_none() {
            return compose(&self.request, &self.injection);
        }
        let mut injection = Injection {
            strict_roles,
            usage,
            ..self.injection.clone()
        };
        if !with_tools {
            injection.tools = ToolOffer::Keep;
        }
        if let Some(after) = after {
            injection.follow_up = after.items.clone();
            if after.last {
                injection.tools = match injection.tools {
                    ToolOffer::Add(tools) => ToolOffer::Close(tools),
                    other => other,
                };
            }
        }
        compose(&self.request, &injection)
    }
}

/// Whether the key may ask for the model, and for those that the request has stand in for it. Of others
/// it is told what it would be told of one that there is not.
fn permit(caller: &Caller, model: Option<&str>, request: &Request) -> Result<(), ApiError> {
    let others = request.member("models").filter(|_| caller.models.is_some());
    let others = others.and_then(|list| serde_json::from_slice::<Vec<Value>>(list).ok());
    let others = others.unwrap_or_default();
    let mut named = model
        .into_iter()
        .chain(others.iter().filter_map(Value::as_str));
    match named.find(|model| !caller.may_use(model)) {
        Some(model) => Err(ApiError::not_found(format!(
            "There is no model `{model}` for this key. GET /v1/models lists those there are."
        ))
        .param("model")
        .code("model_not_found")),
        None => Ok(()),
    }
}

/// The personality of that id. One that is unknown is an error, never none: a persona may be what
/// keeps an assistant within its bounds.
fn choose(snapshot: &Snapshot, id: Option<&str>) -> Result<Option<Arc<Persona>>, ApiError> {
    let Some(id) = id else {
        return Ok(None);
    };
    snapshot.personalities.find(id).map(Some)
}

fn apply(
    injection: &mut Injection,
    persona: &Persona,
    snapshot: &Snapshot,
    (request, zone): (&Request, &TimeZone),
) {
    let assembled = persona.assemble(&AssembleContext {
        user_name: None,
        now: Timestamp::now().to_zoned(zone.clone()),
        history: request,
    });
    injection.persona = Some(dialect::Persona {
        fragments: assembled.fragments,
        mode: match snapshot.config.personality.mode {
            model::PersonaMode::Prepend => dialect::PersonaMode::Prepend,
            model::PersonaMode::Append => dialect::PersonaMode::Append,
            model::PersonaMode::Replace => dialect::PersonaMode::Replace,
        },
    });
    injection.post_history = assembled.post_history;
}
