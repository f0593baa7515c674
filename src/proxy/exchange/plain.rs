//! Every proxied route without a conversation to prepare: what the request says of its model is
//! looked at while it comes, and it goes on as it came, of whatever size.
//!
//! ```text
//! look (path, query, the body's first bytes) → choose → leg, the body streaming → relay
//! ```

use std::sync::Arc;

use http::{Method, StatusCode};

use super::fail::Failure;
use super::headers::Framing;
use super::incoming::Incoming;
use super::leg::{Exchange, Outgoing, Part, leg, shown};
use super::{models, quota, relay, upgrade};
use crate::config::model::{Dialect, Upstream};
use crate::error::ApiError;
use crate::proxy::context::Context;
use crate::proxy::edge::body;
use crate::proxy::route::body::{Edit, Look};
use crate::proxy::route::choice::{self, Sought, choose};
use crate::proxy::route::endpoint::{self, Endpoint, Model};
use crate::proxy::route::pair;
use crate::proxy::socket::handshake;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::{Gateway, Session};
use crate::quota::Expected;
use crate::snapshot::Caller;
use crate::telemetry::Phase;

/// Bytes of a form that are taken for text.
const TEXT_OF_FORM: usize = 4 * 1024;

/// Serves a request that is only passed on.
pub async fn run(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    caller: &Caller,
) -> Result<(), Failure> {
    let snapshot = context.snapshot.clone();
    let exchange = Exchange {
        gateway,
        snapshot: &snapshot,
        caller,
    };
    let endpoint = context.endpoint;
    let named = without_personality(exchange, session);
    if let Some(pair) = named.filter(|_| models::is_one(session, endpoint)) {
        quota::spend_rate(gateway, context, caller).await?;
        return Box::pin(models::one(exchange, session, context, &pair)).await;
    }
    if upgrade::is_asked_for(session) {
        if endpoint.path == Dialect::Responses.path() {
            return Box::pin(handshake::open(exchange, session, context)).await;
        }
        return Box::pin(upgrade::run(exchange, session, context)).await;
    }
    if models::are_gathered(exchange, session, endpoint) {
        quota::spend_rate(gateway, context, caller).await?;
        return Box::pin(models::list(exchange, session, context)).await;
    }
    context.ledger.enter(Phase::ReadBody);
    let incoming = Incoming::read(exchange, session, endpoint).await?;
    let asked = Asked::of(exchange, session, &incoming.look).await;
    asked.expect_allowed(exchange, session, endpoint)?;
    context.model = asked.model.as_deref().map(shown);
    let method = &session.req_header().method;
    if endpoint.is_uncounted(method) {
        quota::expect_counted(caller)?;
    }
    if asked.model.is_some() || endpoint.may_cost(method) {
        let default = takes_default(session, endpoint)
            .then(|| choice::default_model(&snapshot.config, caller, asked.sought(endpoint)));
        let model = asked.model.as_deref().or(default.flatten());
        let expected = expected(endpoint, &incoming, model.unwrap_or_default());
        quota::reserve(gateway, context, caller, expected).await?;
        // What it cost stands in the answer, as OpenAI has it.
        let counts = context.reservation.is_some();
        context.dialect = counts.then_some(Dialect::Chat);
    } else {
        quota::spend_rate(gateway, context, caller).await?;
    }
    let connection = match asked.sought_at(exchange, session, endpoint) {
        Some(places) => Box::pin(seek(exchange, session, context, incoming, places)).await?,
        None => {
            let mut places = choose(&snapshot.config, caller, asked.sought(endpoint))?;
            if asked.model.is_none() && takes_default(session, endpoint) {
                places = choice::with_allowed_default(&snapshot.config, caller, places)?;
            }
            let sending = Sending {
                incoming,
                endpoint,
                own_model: asked.own_model,
                with_callers_key: true,
            };
            sending.run(exchange, session, context, places).await?
        }
    };
    if let (true, Some(upstream)) = (has_ids(exchange, endpoint), &context.upstream) {
        context.learning = Some(gateway.origins.learn(&caller.tenant, upstream));
    }
    relay::run(exchange, session, context, connection, Vec::new()).await?;
    if !session.is_body_done() {
        // It was answered before it was read: the close must not take the answer with it.
        body::drain(session).await;
    }
    Ok(())
}

/// Takes the personality off a model that the path or the query names, which then is as upstreams know
/// it; gives what stood there.
fn without_personality(exchange: Exchange<'_>, session: &mut Session) -> Option<String> {
    let known = &exchange.snapshot.personalities;
    let (uri, name) = pair::without_personality(&session.req_header().uri, known)?;
    session.req_header_mut().set_uri(uri);
    Some(name)
}

/// Whether a model is put into a request that names none.
fn takes_default(session: &Session, endpoint: Endpoint) -> bool {
    endpoint.model == Model::Required && session.req_header().method == Method::POST
}

/// What a request to `model` is thought to cost.
fn expected<'a>(endpoint: Endpoint, incoming: &Incoming, model: &'a str) -> Expected<'a> {
    let length = incoming.length().unwrap_or(incoming.begun.len());
    Expected {
        model,
        request_bytes: match incoming.look.is_form() {
            // What is large of a form is a file, of whose bytes nobody knows what they come to.
            true => length.min(TEXT_OF_FORM),
            false => length,
        },
        has_output: endpoint.path.ends_with("/completions") || endpoint.path == "/v1/complete",
        ..Expected::default()
    }
}

/// Whether answers of this endpoint name things that are asked for again, and there is a question
/// of where.
fn has_ids(exchange: Exchange<'_>, endpoint: Endpoint) -> bool {
    let may_be_elsewhere = exchange.snapshot.config.upstreams.len() > 1;
    let is_by_id = matches!(endpoint.model, Model::Unknown | Model::Within);
    may_be_elsewhere && (is_by_id || endpoint.keeps_answers())
}

/// What a request says of where it is to go.
pub struct Asked {
    pub model: Option<String>,
    /// The one in the body as its upstream knows it, where the client names a personality with it.
    own_model: Option<String>,
    /// Others that it names: upstreams may differ in which they read.
    others: Vec<String>,
    /// Whether its body names one in a way that not every upstream reads.
    is_unfit: bool,
    is_twice_in_query: bool,
    /// The upstream that an id in it is from.
    origin: Option<Arc<str>>,
    has_body: bool,
}

impl Asked {
    /// Of a request whose body was looked at as far as it need be.
    pub async fn of(exchange: Exchange<'_>, session: &Session, look: &Look) -> Self {
        let uri = &session.req_header().uri;
        let (path, query) = (uri.path(), uri.query());
        let known = &exchange.snapshot.personalities;
        let own_model = look.model().and_then(|model| known.split_model(model));
        let own_model = own_model.map(|(model, _)| model.to_owned());
        let in_body = own_model
            .clone()
            .or_else(|| look.model().map(str::to_owned));
        let named = [endpoint::model_of(path), in_body];
        let in_query = query.map(endpoint::models_in).unwrap_or_default();
        let is_twice_in_query = in_query.len() > 1;
        let mut named = named.into_iter().flatten().chain(in_query);
        let may_be_elsewhere = exchange.snapshot.config.upstreams.len() > 1;
        let origin = match may_be_elsewhere {
            true => {
                let texts = look.texts().iter().map(|text| text.as_str().into());
                let ids = endpoint::ids(path, query).chain(texts);
                let origins = &exchange.gateway.origins;
                origins.of(&exchange.caller.tenant, ids.collect()).await
            }
            false => None,
        };
        Self {
            model: named.next(),
            own_model,
            others: named.collect(),
            is_unfit: look.is_unfit(),
            is_twice_in_query,
            origin,
            has_body: !matches!(look, Look::Nothing),
        }
    }

    /// Refuses what is asked of a model that is not for the caller's key, or may be.
    pub fn expect_allowed(
        &self,
        exchange: Exchange<'_>,
        session: &Session,
        endpoint: Endpoint,
    ) -> Result<(), ApiError> {
        let caller = exchange.caller;
        if self.is_twice_in_query {
            let what = "The query names two models: readers would not agree on which is meant. \
                        Name one.";
            return Err(ApiError::bad_request(what).param("model"));
        }
        for model in &self.others {
            choice::expect_allowed(caller, model)?;
        }
        // An endpoint that needs none has one of its upstream's own; of one that nobody knows, who can
        // tell?
        let has_unknown =
            endpoint.model != Model::Required && endpoint.may_cost(&session.req_header().method);
        let is_told = self.model.is_some() || !(self.is_unfit || has_unknown);
        match caller.models.is_none() || is_told {
            true => Ok(()),
            false => Err(choice::untold()),
        }
    }

    /// What decides where it goes.
    pub fn sought(&self, endpoint: Endpoint) -> Sought<'_> {
        Sought {
            model: self.model.as_deref(),
            dialect: endpoint.dialect,
            origin: self.origin.as_deref(),
        }
    }

    /// Where a thing is looked for of which nobody knows whose it is.
    fn sought_at(
        &self,
        exchange: Exchange<'_>,
        session: &Session,
        endpoint: Endpoint,
    ) -> Option<Vec<usize>> {
        let asks = matches!(session.req_header().method, Method::GET | Method::HEAD);
        if !asks || !endpoint.is_by_id() || self.model.is_some() || self.origin.is_some() {
            return None;
        }
        let upstreams = &exchange.snapshot.config.upstreams;
        let places = choice::speaking(upstreams, endpoint.dialect);
        (places.len() > 1 && !self.has_body).then_some(places)
    }
}

/// Asks one upstream after the other, until one does not say that it is not there.
async fn seek(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
    incoming: Incoming,
    places: Vec<usize>,
) -> Result<Box<Connection>, Failure> {
    let mut sending = Sending {
        incoming,
        endpoint: context.endpoint,
        own_model: None,
        with_callers_key: true,
    };
    let mut first = None;
    for place in places {
        // What the first one says stands where nobody has it.
        let sent = sending.again(exchange, session, context, vec![place]).await;
        let answered = match sent {
            Ok(connection) => connection,
            Err(refused @ Failure::Refused(_)) => {
                first.get_or_insert((Err(refused), context.upstream.clone()));
                sending.with_callers_key = false;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        let header = answered.session.response_header();
        let status = header.map_or(StatusCode::NOT_FOUND, |header| header.status);
        let is_here = match first {
            None => status != StatusCode::NOT_FOUND,
            // It was asked without the caller's key.
            Some(_) => status.is_success() || status.is_redirection(),
        };
        if is_here {
            return Ok(answered);
        }
        sending.with_callers_key = false;
        first.get_or_insert((Ok(answered), context.upstream.clone()));
    }
    let none = || Failure::from(ApiError::not_found("No upstream was asked."));
    let (answered, upstream) = first.ok_or_else(none)?;
    context.upstream = upstream;
    answered
}

/// A request on its way to an upstream.
struct Sending {
    incoming: Incoming,
    endpoint: Endpoint,
    /// What the model in its body is called instead.
    own_model: Option<String>,
    with_callers_key: bool,
}

impl Sending {
    async fn run(
        mut self,
        exchange: Exchange<'_>,
        session: &mut Session,
        context: &mut Context,
        places: Vec<usize>,
    ) -> Result<Box<Connection>, Failure> {
        self.again(exchange, session, context, places).await
    }

    /// Sends it; what the client has still to send of it can be sent once.
    async fn again(
        &mut self,
        exchange: Exchange<'_>,
        session: &mut Session,
        context: &mut Context,
        places: Vec<usize>,
    ) -> Result<Box<Connection>, Failure> {
        let defaults = self.defaults(exchange, &places);
        let renamed = self.own_model.as_deref();
        let renamed = renamed.and_then(|model| self.incoming.look.rename(model));
        let (length, framing) = (self.incoming.length(), self.incoming.framing(session));
        let rest = match self.incoming.body.has_ended() {
            true => None,
            false => {
                let body = std::mem::take(&mut self.incoming.body);
                Some((body, std::mem::take(&mut self.incoming.look)))
            }
        };
        let begun = Some(&self.incoming.begun).filter(|begun| !begun.is_empty());
        let pieces: Vec<_> = begun.into_iter().cloned().collect();
        let compose = |upstream: &Upstream| {
            let default = defaults.iter().find(|(name, _)| *name == upstream.name);
            match default.map(|(_, edit)| edit).or(renamed.as_ref()) {
                None => Part {
                    pieces: pieces.clone(),
                    framing,
                },
                Some(edit) => Part {
                    pieces: edit.make(&pieces),
                    framing: length.map_or(framing, |length| Framing::Length(edit.length(length))),
                },
            }
        };
        let mut outgoing = Outgoing {
            compose: &compose,
            rest,
            reads_answer: false,
            with_callers_key: self.with_callers_key,
        };
        let tries = exchange.gateway.health.tries(exchange.snapshot, places);
        let sent = leg(exchange, session, context, tries, &mut outgoing).await;
        if let (None, Some(upstream)) = (&context.model, &context.upstream)
            && defaults.iter().any(|(name, _)| name == upstream)
        {
            let upstreams = &exchange.snapshot.config.upstreams;
            let used = upstreams.iter().find(|known| known.name == *upstream);
            context.model = used.and_then(|upstream| upstream.default_model.clone());
        }
        sent
    }

    /// The models that are put in, by the upstreams that they are of.
    fn defaults(&self, exchange: Exchange<'_>, places: &[usize]) -> Vec<(String, Edit)> {
        if self.endpoint.model != Model::Required {
            return Vec::new();
        }
        let upstreams = places
            .iter()
            .map(|place| &exchange.snapshot.config.upstreams[*place]);
        let edits = upstreams.filter_map(|upstream| {
            let edit = self
                .incoming
                .look
                .put_in(upstream.default_model.as_ref()?)?;
            Some((upstream.name.clone(), edit))
        });
        edits.collect()
    }
}
