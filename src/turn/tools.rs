//! The gateway's tools in a turn: which are offered, and why none.

use std::borrow::Cow;

use crate::dialect::{Owners, Request, ToolOffer, Withheld};
use crate::personality::Persona;
use crate::snapshot::Snapshot;
use crate::tools::Offered;

/// Tools that an upstream takes at most, the client's and the gateway's together.
/// <https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools>
const MOST_TOOLS: usize = 128;

/// The tools that a request offers the model beside the client's own.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    tools: Vec<Offered>,
    owners: Owners,
    withheld: Option<Withheld>,
}

impl Offer {
    /// Chooses them: those that the persona allows, where they have a place in the request.
    /// `wanted` says whether it may be offered any.
    pub fn choose(
        snapshot: &Snapshot,
        wanted: Result<(), Withheld>,
        persona: Option<&Persona>,
        request: &Request,
    ) -> Self {
        let asked = request.options();
        if let Some(reason) = wanted.err().or(asked.withheld) {
            return Self::none(reason);
        }
        let client = asked.tool_names.clone();
        let allowed = persona.and_then(|persona| persona.allowed_tools.as_deref());
        let allowed: Option<Vec<_>> = allowed.map(|tools| {
            let tools = tools.iter();
            tools
                .map(|tool| (tool.tool_name.as_str(), tool.description.as_str()))
                .collect()
        });
        if allowed.as_ref().is_some_and(Vec::is_empty) {
            return Self::none(Withheld::Personality);
        }
        let tools = snapshot
            .tools
            .offer(request.dialect(), allowed.as_deref(), &client);
        if !tools.is_empty() && tools.len() + asked.tools > MOST_TOOLS {
            return Self::none(Withheld::Limit);
        }
        let gateway = tools.iter().map(|tool| tool.tool.name().to_owned());
        Self {
            owners: Owners {
                gateway: gateway.collect(),
                client,
            },
            tools,
            withheld: None,
        }
    }

    fn none(reason: Withheld) -> Self {
        Self {
            withheld: Some(reason),
            ..Self::default()
        }
    }

    /// Whether nothing is offered.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// What is offered, in the order in which the model reads it.
    pub fn tools(&self) -> &[Offered] {
        &self.tools
    }

    /// Whose the tools of the request are, by name.
    pub fn owners(&self) -> &Owners {
        &self.owners
    }

    /// Why nothing is offered, where that is more than that there is nothing: by the request itself,
    /// or `by_upstream`.
    pub fn withheld(&self, by_upstream: Option<Withheld>) -> Option<Withheld> {
        self.withheld.or(by_upstream.filter(|_| !self.is_empty()))
    }

    /// The value of `x-yychat-tools`: `2`, or `0;reason=limit`.
    pub fn header(&self, by_upstream: Option<Withheld>) -> Cow<'static, str> {
        match self.withheld(by_upstream) {
            Some(reason) => format!("0;reason={}", reason.name()).into(),
            None if self.is_empty() => "0".into(),
            None => self.tools.len().to_string().into(),
        }
    }

    /// What is put into the request for them.
    pub(super) fn injection(&self) -> ToolOffer {
        match self.tools.is_empty() {
            true => ToolOffer::Keep,
            false => ToolOffer::Add(
                self.tools
                    .iter()
                    .map(|tool| tool.definition.clone())
                    .collect(),
            ),
        }
    }
}
