//! Memory's part in a turn: what is recalled into it, and what is kept of it.

use std::sync::Arc;

use jiff::Timestamp;

use super::ask::Ask;
use crate::chat::{Answer, ChatRequest, Escaped, MemoryText, MemoryUse, Placement, Role};
use crate::config::model;
use crate::memory::{self, Memory, Outcome, RecallQuery, Recalled, Record, Scope, block};
use crate::snapshot::Snapshot;

/// Turns before the last user message that help to say what it is about.
const CONTEXT_TURNS: usize = 4;

/// What memory did for one request, and what it will keep of it.
#[derive(Default)]
pub struct Remembered {
    /// `None`: memory is off for this request.
    pub outcome: Option<Outcome>,
    /// Whether the ranking came from the cache.
    pub cached: bool,
    /// What was found, the best first.
    pub recalled: Vec<Recalled>,
    /// Those of it that had room in the block.
    pub injected: Vec<Arc<Record>>,
    /// Bytes of the block.
    pub bytes: usize,
    /// Where the turn is saved; `None`: nowhere.
    save: Option<Scope>,
    conversation: Option<String>,
}

impl Remembered {
    /// Recalls what the request is about, for at most `memory.recall_deadline`.
    pub async fn recall(
        memory: Option<&Memory>,
        config: &model::Memory,
        (tenant, ask): (&str, &Ask),
        request: &ChatRequest,
    ) -> (Self, Option<MemoryText>) {
        let scope = Scope::of(tenant, ask.user.as_deref(), ask.conversation.as_deref());
        let (Some(memory), Some(scope), true) = (
            memory,
            scope,
            config.enabled && ask.memory != MemoryUse::Off,
        ) else {
            return (Self::default(), None);
        };
        let query = query(config, request);
        let recall = memory.recall(&scope, &query).await;
        let block = block::render(&recall.records, &query.text, config.max_bytes);
        let text = (!block.text.is_empty()).then(|| MemoryText {
            text: Escaped::new(&block.text),
            placement: match config.placement {
                model::Placement::Tail => Placement::Tail,
                model::Placement::Head => Placement::Head,
            },
        });
        let remembered = Self {
            outcome: Some(recall.outcome),
            cached: recall.cached,
            recalled: recall.records,
            bytes: block.text.len(),
            injected: block.records,
            save: (ask.memory == MemoryUse::Full).then_some(scope),
            conversation: ask.conversation.clone(),
        };
        (remembered, text)
    }

    /// Whether the store or the cache answered, with something or with nothing.
    pub fn was_answered(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Hit | Outcome::Miss))
    }

    /// Whether what the assistant says is to be kept.
    pub fn keeps_answer(&self, config: &model::Memory) -> bool {
        self.save.is_some() && matches!(config.save, model::Save::Both | model::Save::Assistant)
    }

    /// The value of `x-yychat-memory`: `hit;count=3;bytes=512`, `miss`, `off`, …
    pub fn header(&self) -> String {
        match self.outcome {
            None => "off".into(),
            Some(Outcome::Hit) => format!("hit;count={};bytes={}", self.injected.len(), self.bytes),
            Some(outcome) => outcome.name().into(),
        }
    }

    /// What is kept of a request that an upstream answered: what the user said, where the last
    /// message is the user's, and what the assistant said, where that came whole.
    pub fn exchange(
        &self,
        (snapshot, request_id): (&Snapshot, String),
        request: &ChatRequest,
        answer: Option<&Answer>,
    ) -> Option<memory::Turn> {
        let scope = self.save.clone()?;
        let (user, assistant) = match snapshot.config.memory.save {
            model::Save::Both => (true, true),
            model::Save::User => (true, false),
            model::Save::Assistant => (false, true),
            model::Save::Off => return None,
        };
        let said = request
            .messages()
            .last()
            .filter(|last| user && last.role == Role::User)
            .map(|last| request.text(last).into_owned());
        let answered = answer
            .filter(|answer| assistant && answer.is_complete())
            .map(|answer| answer.text.clone());
        Some(memory::Turn {
            scope,
            conversation: self.conversation.clone(),
            user_text: said.unwrap_or_default(),
            assistant_text: answered.unwrap_or_default(),
            request_id,
            generation: snapshot.generation,
            recalled: self.injected.clone(),
            now: Timestamp::now().as_millisecond(),
        })
    }
}

fn query(config: &model::Memory, request: &ChatRequest) -> RecallQuery {
    let messages = request.messages();
    let last_user = request.last_user();
    let said = |role| matches!(role, Role::User | Role::Assistant);
    let before = &messages[..last_user.unwrap_or(0)];
    RecallQuery {
        text: last_user.map_or_else(String::new, |at| request.text(&messages[at]).into_owned()),
        context: before
            .iter()
            .rev()
            .filter(|message| said(message.role))
            .take(CONTEXT_TURNS)
            .map(|message| request.text(message).into_owned())
            .collect(),
        already_sent: messages
            .iter()
            .filter(|message| said(message.role))
            .map(|message| request.text(message).into_owned())
            .collect(),
        limit: config.recall_limit,
        deadline: config.recall_deadline,
        now: Timestamp::now().as_millisecond(),
    }
}
