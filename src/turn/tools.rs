//! The gateway's tools in a turn: which are offered, and what the model is told of its calls.

use bytes::Bytes;

use crate::dialect::{Call, Owners, Request, Round, ToolOffer, follow_up};
use crate::personality::Persona;
use crate::snapshot::Snapshot;
use crate::tools::Offered;

/// The tools that a request offers the model beside the client's own.
#[derive(Debug, Clone, Default)]
pub struct Offer {
    tools: Vec<Offered>,
    owners: Owners,
}

impl Offer {
    /// Chooses them: those that the persona allows, unless the request goes without, wants
    /// several answers at once, which cannot go on in one stream, or speaks of `functions`, which
    /// upstreams do not take beside `tools`.
    pub fn choose(
        snapshot: &Snapshot,
        is_wanted: bool,
        persona: Option<&Persona>,
        request: &Request,
    ) -> Self {
        if !is_wanted
            || request.has_functions()
            || request.wants_several()
            || request.tool_choice() == Some(br#""none""#)
        {
            return Self::default();
        }
        let client = request.tool_names();
        let names: Vec<_> = client.iter().map(String::as_str).collect();
        let allowed = persona.and_then(|persona| persona.allowed_tools.as_deref());
        let allowed: Option<Vec<_>> = allowed.map(|tools| {
            let tools = tools.iter();
            tools
                .map(|tool| (tool.tool_name.as_str(), tool.description.as_str()))
                .collect()
        });
        let tools = snapshot.tools.offer(allowed.as_deref(), &names);
        let gateway = tools.iter().map(|tool| tool.tool.name().to_owned());
        Self {
            owners: Owners {
                gateway: gateway.collect(),
                client,
            },
            tools,
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

/// How a request goes on after its first leg.
#[derive(Debug, Clone, Default)]
pub struct Continuation {
    /// The model's turns with calls and the results of these, in order, as JSON messages.
    pub(super) messages: Vec<Bytes>,
    /// Rounds of calls that have been run.
    pub rounds: u32,
    /// The model is to answer now, without tools.
    pub last: bool,
}

impl Continuation {
    /// Adds a round: what the model said beside its calls, as JSON, and what each call gave.
    pub fn add(&mut self, content: &str, round: &Round, results: &[String]) {
        self.messages
            .extend(follow_up(content, &round.calls, results));
        self.rounds += 1;
    }
}

/// Gives every call an id of its own: some upstreams give none, others the same to all.
pub fn name_calls(calls: &mut [Call], mut fresh: impl FnMut() -> String) {
    for at in 0..calls.len() {
        let (before, rest) = calls.split_at_mut(at);
        let call = &mut rest[0];
        if call.id.is_empty() || before.iter().any(|other| other.id == call.id) {
            call.id = fresh();
        }
    }
}
