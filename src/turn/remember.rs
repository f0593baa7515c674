//! Memory's part in a turn: what is recalled into it, and what is kept of it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::options::Options;
use crate::config::model;
use crate::dialect::{
    Answer, Dialect, Injection, MemoryText, MemoryUse, Message, Placement, Request, Role,
};
use crate::memory::block::{Block, Room};
use crate::memory::{
    self, Clock, History, Memory, Outcome, Place, Question, RecallQuery, Recalled, Record, Scope,
};
use crate::snapshot::Snapshot;

/// Turns before the last user message that help to say what it is about.
const CONTEXT_TURNS: usize = 4;

/// What a token is reckoned to be.
const BYTES_PER_TOKEN: usize = 4;

/// Why memory is off for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// It names neither user nor conversation.
    NoIdentity,
    /// What it names can be neither.
    UnfitIdentity,
    /// It is an errand of a front end.
    Auxiliary,
    /// Its chat is not to be kept.
    Temporary,
    /// It says so.
    Request,
    /// The configuration says so.
    Disabled,
}

impl Off {
    /// As `x-yychat-memory` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoIdentity => "no-identity",
            Self::UnfitIdentity => "unfit-identity",
            Self::Auxiliary => "auxiliary",
            Self::Temporary => "temporary",
            Self::Request => "request",
            Self::Disabled => "disabled",
        }
    }
}

/// What memory did for one request, and what it will keep of it.
#[derive(Default)]
pub struct Remembered {
    /// `None`: memory is off for this request.
    pub outcome: Option<Outcome>,
    /// Why, where it is.
    off: Option<Off>,
    /// Whether the ranking came from the cache.
    pub cached: bool,
    /// What was found, the best first.
    pub recalled: Vec<Recalled>,
    /// What of it had room and does not stand in an earlier block already.
    block: Arc<Block>,
    /// Blocks of earlier requests, each before the message of that index.
    earlier: Vec<(usize, Arc<Block>)>,
    /// Where `block` may stay for the requests that follow.
    place: Option<Place>,
    /// Where the turn is saved; `None`: nowhere.
    save: Option<Scope>,
    conversation: Option<String>,
    history: History,
    /// When the request had been read.
    began: Option<Instant>,
}

impl Remembered {
    /// Recalls what the request is about, for at most `memory.recall_deadline`.
    pub async fn recall(
        memory: Option<&Memory>,
        config: &model::Memory,
        (tenant, options): (&str, &Options),
        request: &Request,
    ) -> Self {
        let Some(memory) = memory.filter(|_| config.enabled) else {
            return Self::off(Off::Disabled);
        };
        let began = Instant::now();
        let identity = &options.identity;
        let (using, scope) = match (options.memory, identity.scope(tenant)) {
            (Err(Off::Auxiliary), _) => return Self::off(Off::Auxiliary),
            _ if identity.is_temporary => return Self::off(Off::Temporary),
            (Err(why), _) => return Self::off(why),
            (Ok(_), None) if identity.unfit.is_some() => return Self::off(Off::UnfitIdentity),
            (Ok(_), None) => return Self::off(Off::NoIdentity),
            (Ok(using), Some(scope)) => (using, scope),
        };
        let conversation = options.group.as_deref();
        let query = query((memory, config), (request, conversation), &options.zone);
        let saving = Self {
            save: (using == MemoryUse::Full).then(|| scope.clone()),
            conversation: options.group.clone(),
            history: query.history,
            began: Some(began),
            ..Self::default()
        };
        if config.recall_limit == 0 {
            return Self {
                off: Some(Off::Disabled),
                ..saving
            };
        }
        let recall = memory.recall(&scope, &query).await;
        let mut places = match config.placement {
            model::Placement::Tail if config.earlier_bytes > 0 => Place::all(&scope, request),
            model::Placement::Tail | model::Placement::Head => Vec::new(),
        };
        let last = places.pop();
        // A question is asked anew; what tools gave for it does not move the block before it.
        if asked_anew(request).is_none() {
            places.extend(last.clone());
        }
        let earlier = memory.standing(&scope, &places, config.earlier_bytes);
        let mut remembered = Self {
            outcome: Some(recall.outcome),
            cached: recall.cached,
            earlier: earlier.await,
            ..saving
        };
        let mut earlier = remembered.earlier.iter();
        if !earlier.any(|(at, _)| Some(*at) == request.last_user()) {
            let known: HashSet<Uuid> = remembered.injected().map(|record| record.id).collect();
            let fresh = recall.evidence();
            let fresh = fresh.filter(|found| !known.contains(&found.record.id));
            let room = Room {
                bytes: config.max_bytes.min(config.max_tokens * BYTES_PER_TOKEN),
                zone: options.zone.clone(),
            };
            remembered.block = memory.known().block(fresh, &query.question, &room);
            remembered.place = last.map(|(_, place)| place);
        }
        remembered.recalled = recall.records;
        remembered
    }

    fn off(why: Off) -> Self {
        Self {
            off: Some(why),
            ..Self::default()
        }
    }

    /// Why memory is off, where it is.
    pub fn why_off(&self) -> Option<&'static str> {
        self.off.map(Off::name)
    }

    /// When the request had been read, in Unix microseconds, by how long ago that is: the clock may have been
    /// set since.
    fn began(&self) -> i64 {
        let took = self.began.map_or(0, |began| began.elapsed().as_micros());
        let took = i64::try_from(took).unwrap_or(i64::MAX);
        Timestamp::now().as_microsecond().saturating_sub(took)
    }

    /// Puts the blocks into the request.
    pub fn inject(&self, injection: &mut Injection, placement: model::Placement) {
        injection.memory = (!self.block.text.is_empty()).then(|| MemoryText {
            text: self.block.text.clone(),
            placement: match placement {
                model::Placement::Tail => Placement::Tail,
                model::Placement::Head => Placement::Head,
            },
        });
        let earlier = self.earlier.iter();
        injection.earlier = earlier
            .map(|(at, block)| (*at, block.text.clone()))
            .collect();
    }

    /// Has the block stay where it is in the requests that follow, as far as the earlier ones leave
    /// room.
    pub async fn keep_block(&self, memory: &Memory, config: &model::Memory) {
        if let Some(place) = &self.place {
            let bytes: usize = self.blocks().map(|block| block.text.len()).sum();
            let stays = !self.block.text.is_empty() && bytes <= config.earlier_bytes;
            let block = stays.then(|| self.block.clone());
            memory.keep_block(place, block, self.began()).await;
        }
    }

    /// All blocks that are put in, the one before the last user message at the end.
    pub fn blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        let earlier = self.earlier.iter().map(|(_, block)| block);
        earlier.chain([&self.block])
    }

    /// The records in them.
    pub fn injected(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.blocks().flat_map(|block| &block.records)
    }

    /// Whether the block was put in by an earlier request.
    pub fn is_earlier(&self, block: &Arc<Block>) -> bool {
        !Arc::ptr_eq(block, &self.block)
    }

    /// Whether the store or the cache answered, with something or with nothing.
    pub fn was_answered(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Hit | Outcome::Miss))
    }

    /// Whether what the assistant says is to be kept.
    pub fn keeps_answer(&self, config: &model::Memory) -> bool {
        self.save.is_some() && matches!(config.save, model::Save::Both | model::Save::Assistant)
    }

    /// The value of `x-yychat-memory`: `hit;count=3;bytes=512`, `miss`, `off;reason=request`, …, and
    /// behind it `;earlier_bytes=2048` where blocks of earlier requests stand.
    pub fn header(&self) -> Cow<'static, str> {
        let Block { bytes, records, .. } = &*self.block;
        let mut header: Cow<_> = match self.outcome {
            None => match self.why_off() {
                Some(why) => format!("off;reason={why}").into(),
                None => "off".into(),
            },
            Some(Outcome::Hit) => format!("hit;count={};bytes={bytes}", records.len()).into(),
            Some(outcome) => outcome.name().into(),
        };
        let earlier: usize = self.earlier.iter().map(|(_, block)| block.bytes).sum();
        if earlier > 0 {
            *header.to_mut() += &format!(";earlier_bytes={earlier}");
        }
        header
    }

    /// The conversation that a turn belongs to which was answered so: a response that goes on with none
    /// begins one.
    pub fn conversation(&self, request: &Request, answer: Option<&Answer>) -> Option<String> {
        self.conversation.clone().or_else(|| {
            let is_chained = request.dialect() == Dialect::Responses;
            let id = answer.filter(|_| is_chained)?.id.clone()?;
            memory::valid_id("id", id.as_bytes()).is_ok().then_some(id)
        })
    }

    /// What is kept of a request that an upstream answered: what the user said, where he says it
    /// for the first time, and what the assistant said, where that came whole.
    pub fn exchange(
        &self,
        (snapshot, request_id): (&Snapshot, String),
        request: &Request,
        answer: Option<&Answer>,
    ) -> Option<memory::Turn> {
        let scope = self.save.clone()?;
        let (user, assistant) = match snapshot.config.memory.save {
            model::Save::Both => (true, true),
            model::Save::User => (true, false),
            model::Save::Assistant => (false, true),
            model::Save::Off => return None,
        };
        let messages = request.messages();
        let at = asked_anew(request).filter(|_| user);
        let last = at.map(|at| &messages[at]);
        let said = last.map(|last| request.text(last).into_owned());
        let before = messages[..at.unwrap_or(0)].last();
        let before = before.filter(|before| before.role == Role::Assistant);
        let before = before.filter(|_| said.as_deref().is_some_and(memory::Turn::is_brief));
        let is_agents = request.options().tools > 0;
        let answered = answer
            .filter(|answer| assistant && answer.is_complete())
            .filter(|answer| !(is_agents && memory::is_progress(&answer.text)))
            .map(|answer| begun(request, &answer.text));
        let now = Timestamp::now();
        Some(memory::Turn {
            scope,
            conversation: self.conversation(request, answer),
            user_text: said.unwrap_or_default(),
            user_name: last.and_then(|last| request.name(last)),
            asked: before.map(|before| words(before.role, request.text(before)).into_owned()),
            assistant_text: answered.unwrap_or_default(),
            request_id,
            generation: snapshot.generation,
            recalled: self.injected().cloned().collect(),
            history: self.history,
            began: self.began(),
            now: now.as_millisecond(),
        })
    }
}

/// The user's last message, where the request is the first to ask it: nothing stands behind it but
/// instructions, as some clients put at the end, and words that the answer is to begin with.
fn asked_anew(request: &Request) -> Option<usize> {
    let at = request.last_user()?;
    let begins = |it: &Message| it.role == Role::Assistant && !it.has_tool_calls;
    let mut behind = request.messages()[at + 1..].iter();
    behind
        .all(|message| message.role.is_system() || begins(message))
        .then_some(at)
}

/// An answer with what the client began it with: upstreams give what follows that, as a rule.
fn begun(request: &Request, answer: &str) -> String {
    let last = request.messages().last();
    let begins = |it: &&Message| it.role == Role::Assistant && !it.has_tool_calls;
    let begun = last.filter(begins).map(|last| request.text(last));
    match begun {
        Some(begun) if !answer.starts_with(&*begun) => format!("{begun}{answer}"),
        _ => answer.to_owned(),
    }
}

fn query(
    (memory, config): (&Memory, &model::Memory),
    (request, conversation): (&Request, Option<&str>),
    zone: &TimeZone,
) -> RecallQuery {
    let known = memory.known();
    let messages = request.messages();
    let last_user = request.last_user();
    let said = |role| matches!(role, Role::User | Role::Assistant);
    let raw = |message: &Message| &request.body()[message.span.range()];
    let before = messages[..last_user.unwrap_or(0)].iter().rev();
    let before = before.filter(|message| said(message.role));
    let before = before.take(CONTEXT_TURNS);
    let last = last_user.map(|at| &messages[at]);
    let text = |message: &Message| words(message.role, request.text(message)).into_owned();
    // What is sent, who sends it, and whether it comes after the question.
    let sent = messages.iter().enumerate();
    let sent = sent.filter(|(_, message)| said(message.role));
    let sent = sent.map(|(at, message)| {
        let read = || words(message.role, request.text(message));
        let print = known.fingerprint(raw(message), read);
        (message.role == Role::User, print, Some(at) > last_user)
    });
    let sent: Vec<(bool, u64, bool)> = sent.collect();
    let until = sent.iter().filter(|(.., is_later)| !is_later);
    RecallQuery {
        question: known.question(last.into_iter().chain(before.clone()).map(raw), || {
            Question::new(
                last.map(text).unwrap_or_default(),
                before.map(text).collect(),
            )
        }),
        history: History::of(until.map(|(is_user, print, _)| (*is_user, *print))),
        already_sent: sent.into_iter().map(|(_, print, _)| print).collect(),
        conversation: conversation.map(Into::into),
        limit: config.recall_limit,
        deadline: config.recall_deadline,
        clock: Clock {
            now: Timestamp::now().as_millisecond(),
            zone: zone.clone(),
        },
    }
}

/// What was said in a message of this role.
fn words(role: Role, text: Cow<'_, str>) -> Cow<'_, str> {
    let words = match role {
        Role::User => memory::user_words(&text),
        _ => memory::answer_words(&text),
    };
    match words {
        Cow::Borrowed(words) if words.len() == text.len() => text,
        words => Cow::Owned(words.into_owned()),
    }
}
