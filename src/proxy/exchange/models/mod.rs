//! `GET /v1/models`: what all upstreams list, asked at the same time and within one deadline. One
//! that does not answer costs its own models alone. Where the configuration says so, each model is
//! listed with each personality too.

mod list;

use std::iter::repeat;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, StatusCode, Uri};
use pingora::http::RequestHeader;
use pingora_timeout::timeout;

use self::list::{Gathered, PAGE, paired};
use super::fail::Failure;
use super::headers::{Framing, RequestHead};
use super::leg::{Exchange, note, shown};
use super::plain::Asked;
use super::watch::with_client;
use crate::config::model::{Dialect, Upstream};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::edge::respond;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice::{choose, serves_all};
use crate::proxy::route::endpoint::{Endpoint, MODELS, ONE_MODEL};
use crate::proxy::upstream::dialer::Kept;
use crate::proxy::upstream::error::{UpstreamError, UpstreamErrorKind};
use crate::telemetry::Phase;

/// All lists have to have come by then, or by `timeouts.first_byte` where that is earlier.
const DEADLINE: Duration = Duration::from_secs(5);
/// Bytes of one upstream's list at most: the longest known have a megabyte.
const LONGEST: usize = 16 << 20;
/// A client that sends it speaks Anthropic's API, and reads its form of a list.
const ANTHROPIC_VERSION: &str = "anthropic-version";
/// Sent where the client sent none, to those that want one.
const VERSION: &str = "2023-06-01";

/// Whether a list has to be put together. One upstream that serves all it lists is asked as for
/// anything else, and its list goes on as it came.
pub fn are_gathered(exchange: Exchange<'_>, session: &Session, endpoint: Endpoint) -> bool {
    let request = session.req_header();
    if endpoint.path != MODELS || request.method != Method::GET {
        return false;
    }
    let upstreams = &exchange.snapshot.config.upstreams;
    exchange.snapshot.config.personality.as_models
        || exchange.caller.models.is_some()
        || request.headers.contains_key(ANTHROPIC_VERSION)
        || !matches!(&upstreams[..], [only] if serves_all(only))
}

/// Answers with the list.
pub async fn list(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<(), Failure> {
    context.ledger.enter(Phase::UpstreamTtfb);
    let client = session.req_header().clone();
    let timeouts = &exchange.snapshot.config.timeouts;
    let within = DEADLINE.min(timeouts.first_byte);
    let upstreams = &exchange.snapshot.config.upstreams;
    let mut is_callers = Some(true);
    let asked: Vec<_> = (0..upstreams.len())
        .map(|place| {
            // The caller's own key is for one of them: the first that has none of ours.
            let has_none = upstreams[place].api_key.is_none();
            let with_callers_key = has_none && is_callers.take().is_some();
            let request = for_upstream(&client, &upstreams[place]);
            ask(
                exchange,
                context,
                request,
                place,
                (within, with_callers_key),
            )
        })
        .collect();
    let answers = with_client(session, pin!(join_all(asked))).await?;
    let mut failed = None;
    let mut gathered = Gathered::default();
    for (upstream, answer) in upstreams.iter().zip(answers) {
        let failure = match answer {
            Ok(body) => {
                let serves = |id: &str| upstream.models.is_match(id) && exchange.caller.may_use(id);
                if gathered.add(&body, serves) {
                    context
                        .upstream
                        .get_or_insert_with(|| upstream.name.clone());
                    continue;
                }
                Unlisted::Answered(StatusCode::OK, body)
            }
            Err(failure) => failure,
        };
        if let Unlisted::Answered(status, _) = &failure {
            let (request_id, status) = (&context.request_id, status.as_u16());
            tracing::warn!(
                %request_id, upstream = upstream.name, status,
                "upstream answered with no list of models, and none of its own is listed"
            );
        }
        failed = Some((upstream, failure));
    }
    if exchange.snapshot.config.personality.as_models {
        gathered.pair(&exchange.snapshot.personalities);
    }
    let is_anthropic = client.headers.contains_key(ANTHROPIC_VERSION);
    if let (None, Some((upstream, failed))) = (&context.upstream, failed) {
        context.upstream = Some(upstream.name.clone());
        return failed.answer(session, context).await;
    }
    let body = match is_anthropic {
        true => gathered.page(client.uri.query().unwrap_or_default()),
        false => gathered.list(),
    };
    respond::json(session, context, StatusCode::OK, body.into())
        .await
        .map_err(|error| Failure::client(&error))
}

/// Whether one model is asked for.
pub fn is_one(session: &Session, endpoint: Endpoint) -> bool {
    endpoint.path == ONE_MODEL && session.req_header().method == Method::GET
}

/// Answers with a model under the name that it has with a personality, `pair`. The path names the
/// model alone.
pub async fn one(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
    pair: &str,
) -> Result<(), Failure> {
    let client = session.req_header().clone();
    let asked = Asked::of(exchange, session, &Look::Nothing).await;
    let places = choose(
        &exchange.snapshot.config,
        exchange.caller,
        asked.sought(context.endpoint),
    )?;
    context.model = asked.model.as_deref().map(shown);
    context.ledger.enter(Phase::UpstreamTtfb);
    let within = DEADLINE.min(exchange.snapshot.config.timeouts.first_byte);
    let mut answer = Err(Unlisted::Refused(ApiError::bad_gateway(
        "No upstream was asked.",
    )));
    for (place, is_first) in places
        .into_iter()
        .zip([true].into_iter().chain(repeat(false)))
    {
        let upstream = &exchange.snapshot.config.upstreams[place];
        context.upstream = Some(upstream.name.clone());
        let asking = ask(exchange, context, client.clone(), place, (within, is_first));
        answer = with_client(session, pin!(asking)).await?;
        if !matches!(answer, Err(Unlisted::Refused(_))) {
            break;
        }
    }
    let body = match answer {
        Ok(body) => body,
        Err(failed) => return failed.answer(session, context).await,
    };
    let is_anthropic = client.headers.contains_key(ANTHROPIC_VERSION);
    let known = &exchange.snapshot.personalities;
    let body = paired(&body, pair, known, is_anthropic).map_or(body, Bytes::from);
    respond::json(session, context, StatusCode::OK, body)
        .await
        .map_err(|error| Failure::client(&error))
}

/// Why an upstream listed nothing.
enum Unlisted {
    /// It could not be reached, or is left alone.
    Refused(ApiError),
    /// It answered with something else.
    Answered(StatusCode, Bytes),
}

impl Unlisted {
    /// What the client is told where none listed anything.
    async fn answer(self, session: &mut Session, context: &mut Context) -> Result<(), Failure> {
        match self {
            Self::Refused(error) => Err(error.into()),
            Self::Answered(status, body) => respond::json(session, context, status, body)
                .await
                .map_err(|error| Failure::client(&error)),
        }
    }
}

/// The list of one upstream.
async fn ask(
    exchange: Exchange<'_>,
    context: &Context,
    request: RequestHeader,
    place: usize,
    (within, with_callers_key): (Duration, bool),
) -> Result<Bytes, Unlisted> {
    let gateway = exchange.gateway;
    let upstream = &exchange.snapshot.config.upstreams[place];
    let tries = gateway.health.tries(exchange.snapshot, vec![place]);
    let mut tries = tries.for_a_list();
    let Some(tried) = tries.next(&gateway.health) else {
        let none = || ApiError::bad_gateway("It is left alone.");
        return Err(Unlisted::Refused(tries.refusal().unwrap_or_else(none)));
    };
    let asking = fetch(exchange, &request, upstream, with_callers_key);
    let answered = timeout(within, asking).await.unwrap_or_else(|_| {
        Err(UpstreamError {
            upstream: upstream.name.clone(),
            kind: UpstreamErrorKind::Timeout,
            why: format!("no list within {within:?}"),
        })
    });
    match answered {
        Ok((status, body)) if status.is_success() => Ok(body),
        Ok((status, body)) => Err(Unlisted::Answered(status, body)),
        Err(error) => {
            if error.kind.is_unsent() {
                tried.failed(error.kind);
            }
            note(gateway, context, &error);
            Err(Unlisted::Refused(error.answer()))
        }
    }
}

async fn fetch(
    exchange: Exchange<'_>,
    client: &RequestHeader,
    upstream: &Upstream,
    with_callers_key: bool,
) -> Result<(StatusCode, Bytes), UpstreamError> {
    let failed = |error: Box<pingora::Error>| UpstreamError::new(&upstream.name, &error);
    let too_long = || UpstreamError {
        upstream: upstream.name.clone(),
        kind: UpstreamErrorKind::Protocol,
        why: format!("its list of models has more than {} MiB", LONGEST >> 20),
    };
    let head = RequestHead {
        client,
        upstream,
        trace: None,
        framing: Framing::Bodyless,
        for_gateway: true,
        with_callers_key,
    };
    let timeouts = &exchange.snapshot.config.timeouts;
    let dialer = &exchange.gateway.dialer;
    let mut kept = Kept::Allowed;
    let mut connection = loop {
        let mut connection = dialer.connect(upstream, timeouts, kept).await?;
        if !connection.reused {
            exchange
                .gateway
                .health
                .connected(exchange.snapshot, upstream);
        }
        let session = &mut connection.session;
        session.set_read_timeout(Some(timeouts.first_byte));
        let asking = async {
            session
                .write_request_header(head.to_request().map_err(|_| unsendable())?)
                .await?;
            session.finish_request_body().await?;
            loop {
                session.read_response_header().await?;
                let status = session.response_header().map(|header| header.status);
                if status.is_some_and(|status| !status.is_informational()) {
                    return Ok(());
                }
            }
        };
        match asking.await {
            Ok(()) => break connection,
            // A list may be asked for twice.
            Err(_) if connection.reused && kept == Kept::Allowed => kept = Kept::Refused,
            Err(error) => return Err(failed(error)),
        }
    };
    let header = connection.session.response_header();
    let status = header.map_or(StatusCode::BAD_GATEWAY, |header| header.status);
    let mut body = Vec::new();
    while let Some(chunk) = connection
        .session
        .read_response_body()
        .await
        .map_err(failed)?
    {
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            return Err(too_long());
        }
    }
    dialer.release(connection, timeouts).await;
    Ok((status, body.into()))
}

fn unsendable() -> Box<pingora::Error> {
    pingora::Error::explain(
        pingora::ErrorType::InvalidHTTPHeader,
        "the request cannot be written",
    )
}

/// The client's request as this upstream is asked: whole pages, in the API that it speaks.
fn for_upstream(client: &RequestHeader, upstream: &Upstream) -> RequestHeader {
    let mut request = client.clone();
    let speaks_chat = upstream.dialects.contains(&Dialect::Chat);
    let is_anthropic = client.headers.contains_key(ANTHROPIC_VERSION);
    let query = client.uri.query().unwrap_or_default();
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // Pages are cut when all are together.
        if !matches!(&*name, "limit" | "after_id" | "before_id") {
            fields.append_pair(&name, &value);
        }
    }
    if is_anthropic || !speaks_chat {
        fields.append_pair("limit", &PAGE.to_string());
    }
    if !speaks_chat && !is_anthropic {
        // The name and value are constants of valid form.
        let _ = request.insert_header(ANTHROPIC_VERSION, VERSION);
    }
    let target = match fields.finish() {
        query if query.is_empty() => MODELS.to_owned(),
        query => [MODELS, "?", &query].concat(),
    };
    if let Ok(uri) = target.parse::<Uri>() {
        request.set_uri(uri);
    }
    request
}
