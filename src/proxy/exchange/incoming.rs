//! A body as far as it has to be read before it is known where it goes.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use pingora_timeout::timeout;

use super::fail::Failure;
use super::headers::Framing;
use super::leg::Exchange;
use super::send::AT_ONCE;
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::edge::body::{Body, announced, too_large};
use crate::proxy::edge::gather::Gathered;
use crate::proxy::route::body::Look;
use crate::proxy::route::choice;
use crate::proxy::route::endpoint::{Endpoint, Model};

/// Bytes of a form that are waited for where it need not name a model: files come in forms too.
const GLANCE: usize = 16 * 1024;
/// How long the end of a body of unknown length is waited for: most are small, and one that is at
/// hand whole goes out at once, on a kept connection.
const MOMENT: Duration = Duration::from_millis(2);

/// A body as far as it was read before it is sent on.
pub struct Incoming {
    pub begun: Bytes,
    announced: Option<usize>,
    pub look: Look,
    /// What is still to come.
    pub body: Body,
}

impl Incoming {
    /// Reads as much as has to be known before an upstream is chosen, and what is small whole.
    pub async fn read(
        exchange: Exchange<'_>,
        session: &mut Session,
        endpoint: Endpoint,
    ) -> Result<Self, Failure> {
        let config = &exchange.snapshot.config;
        let caller = exchange.caller;
        let mut decides = choice::depends_on_model(config, caller, endpoint.dialect);
        // It has a price.
        let method = &session.req_header().method;
        decides.route |= !caller.budgets.is_empty() && endpoint.may_cost(method);
        let has_personalities = exchange.snapshot.personalities.iter().len() > 0;
        let hold = exchange.gateway.bodies.hold(caller, config);
        let body = Body::new(session, config, hold);
        let announced = announced(session);
        let most = config.server.body_limit.max(AT_ONCE);
        let mut gathered = Gathered::new(announced.filter(|length| *length <= most), most);
        let mut incoming = Self {
            begun: Bytes::new(),
            announced,
            look: match body.has_ended() {
                true => Look::Nothing,
                false => look(session, decides.route)?,
            },
            body,
        };
        while !incoming.body.has_ended() {
            let read = gathered.len();
            // One model is as another here, but for the personality in its name.
            let may_pair = has_personalities && read < AT_ONCE;
            let decides = decides.route || decides.default || may_pair;
            let waits = incoming.waits(read, endpoint, decides);
            let next = incoming.body.next(session);
            let chunk = match waits {
                Waits::ForIt => next.await?,
                Waits::AMoment => match timeout(MOMENT, next).await {
                    Ok(chunk) => chunk?,
                    Err(_) => break,
                },
                Waits::No => break,
            };
            let Some(chunk) = chunk else { break };
            incoming.look.feed(&chunk)?;
            gathered.push(chunk);
            if gathered.len() > most {
                return Err(unnamed(config.server.body_limit).into());
            }
        }
        if incoming.body.has_ended() {
            incoming.look.end()?;
        }
        incoming.begun = gathered.freeze();
        if !incoming.body.has_ended() {
            incoming.body.stream()?;
        }
        Ok(incoming)
    }

    /// Whether more is waited for than the `read` bytes of it.
    fn waits(&self, read: usize, endpoint: Endpoint, decides: bool) -> Waits {
        if self.announced.is_some_and(|length| length <= AT_ONCE) {
            return Waits::ForIt;
        }
        let names_model = matches!(endpoint.model, Model::Required | Model::Optional);
        let may_name = !self.look.is_form() || names_model || read < GLANCE;
        if decides && may_name && !self.look.is_settled() {
            return Waits::ForIt;
        }
        match self.announced {
            None if read <= AT_ONCE => Waits::AMoment,
            _ => Waits::No,
        }
    }

    /// Of all of it, where that is known.
    pub fn length(&self) -> Option<usize> {
        match self.body.has_ended() {
            true => Some(self.begun.len()),
            false => self.announced,
        }
    }

    /// How its end is told upstream.
    pub fn framing(&self, session: &Session) -> Framing {
        let method = &session.req_header().method;
        let is_announced = self.announced.is_some() || !self.begun.is_empty();
        match self.length() {
            _ if method == Method::HEAD => Framing::Bodyless,
            // RFC 9110, section 8.6: a POST without a body says so.
            Some(0)
                if !is_announced
                    && !matches!(*method, Method::POST | Method::PUT | Method::PATCH) =>
            {
                Framing::Bodyless
            }
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        }
    }
}

/// What is waited for before a body is sent on.
enum Waits {
    /// The next bytes.
    ForIt,
    /// The next bytes, if they come at once.
    AMoment,
    No,
}

/// A look at the body of a request, where it can be read.
fn look(session: &Session, decides: bool) -> Result<Look, ApiError> {
    let headers = &session.req_header().headers;
    let encodings = headers.get_all(header::CONTENT_ENCODING);
    let is_plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !encodings.iter().all(is_plain) {
        if decides {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body has a Content-Encoding, so the model that decides where it goes cannot \
                 be read. Send it uncompressed.",
            )
            .param("Content-Encoding"));
        }
        return Ok(Look::Nothing);
    }
    let mut content_types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = content_types.next().and_then(|value| value.to_str().ok());
    if decides && content_types.next().is_some() {
        return Err(ApiError::bad_request(
            "Content-Type stands more than once: readers would not agree on which model the body \
             names. Send it once.",
        )
        .param("Content-Type"));
    }
    Ok(Look::at(content_type.unwrap_or_default()))
}

/// So much of a body was read, and its model is not in it.
fn unnamed(limit: usize) -> ApiError {
    let mut error = too_large(limit);
    error.message = format!(
        "The first {limit} bytes of the body name no `model`, which decides where it goes. Put it \
         before what is large, or raise server.body_limit."
    );
    error
}
