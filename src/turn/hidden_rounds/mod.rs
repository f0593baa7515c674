//! Rounds that the gateway has begun and the client has to finish.
//!
//! Where the model calls tools of both sides in one turn, the gateway runs its own and hands the
//! client the rest. The client's next request tells of its own calls alone; what the gateway's gave
//! is put back where it stood: its calls among the client's, its results behind the client's, and
//! what came before of the same answer before the turn.
//!
//! What is kept belongs to a tenant, a user, a conversation and the very history that it stood in.
//! Ids say nothing: there are upstreams that number the calls of everybody alike.
//!
//! In a fleet any gateway may be asked to go on: what one keeps it leaves for the others too, before
//! the client can have read the answer.

mod chains;
mod note;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moka::sync::Cache;
use xxhash_rust::xxh3::Xxh3;

use self::chains::Chains;
use crate::dialect::{Dialect, Message, Request, Restored, Role, Round};
use crate::shared::{Notes, Since};

/// How long a conversation may rest. After that its turn stands alone, which every model understands,
/// though it may call the gateway's tools again.
const REST: Duration = Duration::from_secs(60 * 60);
/// How long it lies with the others of a fleet, who do not tell when it is gone on with.
const LEFT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long an answer is gone on from by the id that its client was told, …
const ENDS_REST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// … and how many of them are known.
const MOST_ENDS: u64 = 100_000;
/// Bytes that are kept over all clients; those that rested longest go first.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a client was not shown of an answer that ended with calls of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HiddenRound {
    /// Rounds before it in the same answer, as items of the dialect.
    pub before: Vec<Bytes>,
    pub round: Round,
    /// What the gateway's calls gave, in their order.
    pub results: Vec<String>,
}

/// Whose a round is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Whose {
    pub tenant: Arc<str>,
    pub user: Option<String>,
    pub conversation: Option<String>,
}

impl Whose {
    /// Whether neither a user nor a conversation is named.
    fn is_nobody(&self) -> bool {
        self.user.is_none() && self.conversation.is_none()
    }
}

/// Where a round stands: after everything that was said before it. Whose it is, is here itself and not
/// in the hash alone: no choice of texts makes two users meet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HiddenPlace {
    whose: Whose,
    said: u128,
}

impl HiddenPlace {
    /// Behind all that the request tells.
    pub fn after(request: &Request, whose: Whose) -> Self {
        let mut said = Xxh3::new();
        for message in request.messages() {
            add(&mut said, request, message, &whose);
        }
        let said = said.digest128();
        Self { whose, said }
    }
}

impl HiddenPlace {
    /// Within a response that the upstream keeps, which a later request names instead of telling it.
    pub fn within(response: &str, whose: Whose) -> Self {
        let mut said = Xxh3::new();
        said.update(b"response ");
        said.update(response.as_bytes());
        let said = said.digest128();
        Self { whose, said }
    }

    /// Where a request may have something hidden: with each the message's index.
    fn all(request: &Request, whose: &Whose) -> Vec<(usize, Self)> {
        let mut said = Xxh3::new();
        let gone_on = Self::gone_on(request, whose);
        let mut places: Vec<_> = gone_on
            .into_iter()
            .map(|place| (Restored::UPSTREAM, place))
            .collect();
        for (at, message) in request.messages().iter().enumerate() {
            let may_hide = message.has_tool_calls || request.dialect() != Dialect::Chat;
            if message.role == Role::Assistant && may_hide {
                let place = Self {
                    whose: whose.clone(),
                    said: said.digest128(),
                };
                places.push((at, place));
            }
            add(&mut said, request, message, whose);
        }
        places
    }

    /// Where the request goes on, if it names a response.
    fn gone_on(request: &Request, whose: &Whose) -> Option<Self> {
        let response = request.member("previous_response_id")?;
        let response: String = serde_json::from_slice(response).ok()?;
        Some(Self::within(&response, whose.clone()))
    }
}

/// The rounds that clients have yet to go on with.
pub struct HiddenRounds {
    rounds: Cache<HiddenPlace, Arc<HiddenRound>>,
    /// By the id that a client was told, the one by which the upstream knows the end of the answer.
    ends: Cache<(Arc<str>, String), String>,
    /// Which conversations responses belong to.
    pub chains: Chains,
    /// Spares every other gateway the search.
    is_used: AtomicBool,
    notes: Notes,
}

impl Default for HiddenRounds {
    fn default() -> Self {
        Self::of(Notes::default())
    }
}

impl HiddenRounds {
    /// Those of a fleet, where there is one.
    pub fn of(notes: Notes) -> Self {
        let weight = |place: &HiddenPlace, hidden: &Arc<HiddenRound>| {
            u32::try_from(place.weight() + hidden.weight()).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .weigher(weight)
            .max_capacity(MOST_BYTES)
            .time_to_idle(REST);
        Self {
            rounds: cache.build(),
            ends: Cache::builder()
                .max_capacity(MOST_ENDS)
                .time_to_idle(ENDS_REST)
                .build(),
            chains: Chains::of(notes.clone()),
            is_used: AtomicBool::new(false),
            notes,
        }
    }

    /// Keeps a round until the client has answered its own calls, and for as long as it goes on with
    /// that history. Its turn began then, in Unix microseconds: other gateways are left nothing of what was
    /// erased since.
    pub async fn keep(&self, place: HiddenPlace, hidden: HiddenRound, began: i64) {
        self.is_used.store(true, Ordering::Release);
        if self.notes.are_shared()
            && let Some(note) = note::write(&hidden)
        {
            let since = Since {
                began,
                patterns: note::erased_by(&place.whose),
            };
            let left = (note::name(&place), note);
            let tenant = &place.whose.tenant;
            self.notes.keep_since(tenant, left, LEFT, &since).await;
        }
        self.rounds.insert(place, Arc::new(hidden));
    }

    /// Notes by which id the upstream knows the end of an answer that the client was told as `told`.
    pub async fn ends(&self, tenant: &Arc<str>, told: &str, upstream: &str) {
        self.is_used.store(true, Ordering::Release);
        if self.notes.are_shared() {
            let notes = [(note::end(told), Bytes::copy_from_slice(upstream.as_bytes()))];
            self.notes.keep(tenant, &notes, ENDS_REST).await;
        }
        let key = (tenant.clone(), told.to_owned());
        self.ends.insert(key, upstream.to_owned());
    }

    /// The response that a request goes on from, where the upstream knows it by another id.
    pub async fn goes_on_from(&self, tenant: &Arc<str>, request: &Request) -> Option<String> {
        if !self.may_have_some() {
            return None;
        }
        let told = request.member("previous_response_id")?;
        let told: String = serde_json::from_slice(told).ok()?;
        let key = (tenant.clone(), told);
        if let Some(end) = self.ends.get(&key) {
            return Some(end);
        }
        let found = self.notes.find(tenant, &[note::end(&key.1)]).await;
        let end = String::from_utf8(found.into_iter().next()??.to_vec()).ok()?;
        self.ends.insert(key, end.clone());
        Some(end)
    }

    fn may_have_some(&self) -> bool {
        self.notes.are_shared() || self.is_used.load(Ordering::Acquire)
    }

    /// What goes back into a request.
    pub async fn restore(&self, whose: &Whose, request: &Request) -> Vec<Restored> {
        if !self.may_have_some() {
            return Vec::new();
        }
        let places = HiddenPlace::all(request, whose);
        let hidden = self.find(&whose.tenant, &places).await;
        let mut restored = Vec::new();
        for ((at, _), hidden) in places.iter().zip(hidden) {
            let Some(hidden) = hidden else { continue };
            match *at {
                Restored::UPSTREAM => restored.push(Restored {
                    at: Restored::UPSTREAM,
                    before: Vec::new(),
                    round: hidden.round.clone(),
                    results: hidden.results.clone(),
                }),
                at => restored.extend(hidden.restored(request, at)),
            }
        }
        restored
    }

    /// What is hidden at these places, in their order: one look at what other gateways left for all
    /// that this one does not have.
    async fn find(
        &self,
        tenant: &str,
        places: &[(usize, HiddenPlace)],
    ) -> Vec<Option<Arc<HiddenRound>>> {
        let here = |(_, place): &(usize, HiddenPlace)| self.rounds.get(place);
        let mut found: Vec<_> = places.iter().map(here).collect();
        if !self.notes.are_shared() {
            return found;
        }
        let lacking = |at: &usize| found[*at].is_none();
        let lacking: Vec<usize> = (0..places.len()).filter(lacking).collect();
        let names = lacking.iter().map(|at| note::name(&places[*at].1));
        let names: Vec<String> = names.collect();
        let notes = self.notes.find(tenant, &names).await;
        for (at, note) in lacking.into_iter().zip(notes) {
            if let Some(hidden) = note.and_then(|note| note::read(&note)) {
                let hidden = Arc::new(hidden);
                self.rounds.insert(places[at].1.clone(), hidden.clone());
                found[at] = Some(hidden);
            }
        }
        found
    }
}

impl HiddenPlace {
    fn weight(&self) -> usize {
        let Whose {
            tenant,
            user,
            conversation,
        } = &self.whose;
        let names = [user, conversation].into_iter().flatten();
        size_of::<Self>() + tenant.len() + names.map(String::len).sum::<usize>()
    }
}

impl HiddenRound {
    fn weight(&self) -> usize {
        let items = self.before.iter().chain(&self.round.said);
        let results = self.results.iter().map(String::len);
        size_of::<Self>() + items.map(Bytes::len).sum::<usize>() + results.sum::<usize>()
    }

    /// The round in the turn at this index, if that is the one whose calls the client was given.
    fn restored(&self, request: &Request, at: usize) -> Option<Restored> {
        let there = request.call_ids(at);
        let given = &self.round.client_calls;
        // A client makes ids of its own for calls that came without.
        let is_it = |(there, given): (&String, &String)| given.is_empty() || there == given;
        (there.len() == given.len() && there.iter().zip(given).all(is_it)).then(|| Restored {
            at,
            before: self.before.clone(),
            round: self.round.clone(),
            results: self.results.clone(),
        })
    }
}

/// Adds what a message says. Not its bytes, of which clients change some in each request: marks for
/// the prompt cache move on, and instructions tell the time. Where nobody is named, instructions may be
/// all that tells two people apart who say the same.
fn add(said: &mut Xxh3, request: &Request, message: &Message, whose: &Whose) {
    if message.role.is_system() && !whose.is_nobody() {
        return;
    }
    let text = request.text(message);
    said.update(&[message.role as u8, u8::from(message.has_tool_calls)]);
    said.update(&text.len().to_le_bytes());
    said.update(text.as_bytes());
}

#[cfg(test)]
mod tests;
