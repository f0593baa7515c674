//! The gateway's tools in a turn: which are offered, and what the model is told of its calls.

use crate::dialect::{Owners, Request, ToolOffer};
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
    /// Chooses them: those that the persona allows, where they have a place in the request.
    pub fn choose(
        snapshot: &Snapshot,
        wanted: Option<bool>,
        persona: Option<&Persona>,
        request: &Request,
    ) -> Self {
        let asked = request.options();
        if !wanted.unwrap_or(snapshot.config.tools.enabled) || asked.withheld.is_some() {
            return Self::default();
        }
        let client = asked.tool_names.clone();
        let allowed = persona.and_then(|persona| persona.allowed_tools.as_deref());
        let allowed: Option<Vec<_>> = allowed.map(|tools| {
            let tools = tools.iter();
            tools
                .map(|tool| (tool.tool_name.as_str(), tool.description.as_str()))
                .collect()
        });
        let tools = snapshot
            .tools
            .offer(request.dialect(), allowed.as_deref(), &client);
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
