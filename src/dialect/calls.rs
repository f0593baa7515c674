//! The model's calls of tools: whose they are, and how the gateway goes on after its own.

use bytes::Bytes;
use serde::Serialize;

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
    /// For each of the gateway's, how many of the client's stand before it.
    pub places: Vec<usize>,
    /// What the next leg repeats of this one: items of the dialect's own, as the upstream said them.
    /// Where the client has calls too it repeats the rest itself, and these are what goes among it:
    /// the gateway's calls alone, one each.
    pub said: Vec<Bytes>,
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
    /// gateway did not offer is the client's to judge, as it would be without a gateway.
    pub fn of(&self, name: &str, is_whole: bool) -> Owner {
        let longer = |known: &&String| known.len() > name.len() && known.starts_with(name);
        let is_ours = self.gateway.iter().any(|known| known == name);
        let mut known = self.gateway.iter().chain(&self.client);
        let may_grow = !is_whole
            && match is_ours {
                true => known.any(|known| longer(&known)),
                false => self.gateway.iter().any(|known| longer(&known)),
            };
        match (may_grow, is_ours) {
            (true, _) => Owner::Undecided,
            (false, true) => Owner::Gateway,
            (false, false) => Owner::Client,
        }
    }

    /// Whether it is a name that somebody has.
    pub fn knows(&self, name: &str) -> bool {
        let mut known = self.gateway.iter().chain(&self.client);
        known.any(|known| known == name)
    }
}
