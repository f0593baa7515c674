//! The rescue point: every failure becomes an answer, or a visible end, here.

use http::StatusCode;
use pingora::proxy::{FailToProxy, Session};
use pingora::{Error, ErrorSource, ErrorType};

use crate::error::ApiError;
use crate::proxy::Gateway;
use crate::proxy::context::Context;
use crate::proxy::edge::{body, respond};

/// Why a request could not be served.
#[derive(Debug)]
pub enum Failure {
    /// The client is told, in OpenAI's shape.
    Refused(ApiError),
    /// The client has left: there is nobody to tell.
    ClientGone(String),
    /// The answer broke off in the middle: the client is shown that it is cut.
    Truncated(String),
}

impl Failure {
    /// The client's connection failed.
    pub fn client(error: &Error) -> Self {
        Failure::ClientGone(root_cause(error))
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Failure::Refused(error)
    }
}

/// An upstream's failure: which, what kind, and why in the error's own words.
#[derive(Debug)]
pub struct UpstreamError {
    pub upstream: String,
    pub kind: UpstreamErrorKind,
    pub why: String,
}

/// The closed set of kinds, as `yychat_upstream_errors_total` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// Its name did not resolve.
    Resolve,
    /// No connection: refused, unreachable, or too slow.
    Connect,
    /// A TLS handshake or certificate failed.
    Tls,
    /// The connection broke before an answer came.
    Reset,
    /// No answer in time.
    Timeout,
    /// What came was not HTTP.
    Protocol,
    /// The answer broke off.
    Truncated,
}

impl UpstreamErrorKind {
    /// The value of the label `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Truncated => "truncated",
        }
    }

    /// Whether nothing of the request can have reached the upstream.
    pub const fn is_unsent(self) -> bool {
        matches!(self, Self::Resolve | Self::Connect | Self::Tls)
    }

    /// Reads the kind from pingora's error.
    pub fn of(error: &Error) -> Self {
        match error.etype() {
            ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError => Self::Tls,
            ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::BindError
            | ErrorType::SocketError => Self::Connect,
            ErrorType::ReadTimedout | ErrorType::WriteTimedout => Self::Timeout,
            ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed => {
                Self::Reset
            }
            _ => Self::Protocol,
        }
    }
}

impl UpstreamError {
    /// Reads pingora's error.
    pub fn new(upstream: &str, error: &Error) -> Self {
        Self {
            upstream: upstream.to_owned(),
            kind: UpstreamErrorKind::of(error),
            why: root_cause(error),
        }
    }

    /// What the client is told: 504 where time ran out, 502 otherwise.
    pub fn answer(&self) -> ApiError {
        let (status, code, happened) = match self.kind {
            UpstreamErrorKind::Timeout => (
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                "did not answer in time",
            ),
            UpstreamErrorKind::Resolve | UpstreamErrorKind::Connect | UpstreamErrorKind::Tls => (
                StatusCode::BAD_GATEWAY,
                "upstream_unreachable",
                "could not be reached",
            ),
            _ => (
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                "broke off before it answered",
            ),
        };
        ApiError::new(
            status,
            format!("The upstream `{}` {happened}: {}.", self.upstream, self.why),
        )
        .code(code)
    }
}

/// Answers a failed request, or cuts it off where an answer has begun.
///
/// `Err` makes pingora drop the connection, which shows the client that the answer is not whole.
pub async fn rescue(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    failure: Failure,
) -> pingora::Result<()> {
    let refusal = match failure {
        Failure::Refused(refusal) if session.response_written().is_none() => refusal,
        Failure::Refused(refusal) => return abandon(context, refusal.to_string()),
        Failure::Truncated(why) => return abandon(context, why),
        Failure::ClientGone(why) => {
            // What the log shows for a client that left before its answer, as nginx has it.
            context.status = 499;
            return abandon(context, why);
        }
    };
    if refusal.status == StatusCode::UNAUTHORIZED {
        gateway.metrics().auth_failures.inc();
    }
    context.failure = Some(refusal.to_string());
    let unread = !session.as_downstream_mut().is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    respond::error(session, context, &refusal).await?;
    if unread {
        body::drain(session).await;
    }
    Ok(())
}

fn abandon(context: &mut Context, why: String) -> pingora::Result<()> {
    context.failure = Some(why);
    Err(Error::new(ErrorType::ConnectionClosed))
}

/// Answers a failure of the pass-through route, where pingora holds the loop.
pub async fn pass_through(
    gateway: &Gateway,
    session: &mut Session,
    context: &mut Context,
    error: &Error,
) -> FailToProxy {
    let upstream = context.upstream.clone().unwrap_or_default();
    let failure = match error.esource() {
        // `exchange` has already said what it had to say.
        _ if context.failure.is_some() => None,
        ErrorSource::Downstream => Some(Failure::client(error)),
        _ => {
            let error = UpstreamError::new(&upstream, error);
            super::pass_through::failed(context, error.kind);
            gateway
                .metrics()
                .upstream_error(&upstream, error.kind.name());
            Some(Failure::Refused(error.answer()))
        }
    };
    if let Some(failure) = failure {
        // Either it was answered or the connection is dropped; both end here.
        let _ = rescue(gateway, session, context, failure).await;
    }
    FailToProxy {
        error_code: context.status,
        can_reuse_downstream: false,
    }
}

/// The innermost cause, which is the one that says what happened.
fn root_cause(error: &Error) -> String {
    // Under a failed handshake pingora 0.9.1 puts the local address; what happened is in the
    // text of the error itself.
    if let (UpstreamErrorKind::Tls, Some(context)) = (UpstreamErrorKind::of(error), &error.context)
    {
        let text = context.as_str();
        return text
            .rsplit("cause: ")
            .next()
            .unwrap_or(text)
            .trim()
            .to_owned();
    }
    let root = error.root_cause();
    let mut cause: &dyn std::error::Error = root;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    match text.trim() {
        "" => error.etype().as_str().to_owned(),
        text => text.trim_end_matches('.').to_owned(),
    }
}
