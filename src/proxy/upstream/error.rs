//! An upstream's failure.

use http::StatusCode;
use pingora::{Error, ErrorType};

use crate::error::ApiError;

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
            UpstreamErrorKind::Protocol => (
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                "answered in what is not HTTP",
            ),
            UpstreamErrorKind::Truncated => (
                StatusCode::BAD_GATEWAY,
                "upstream_error",
                "broke off in the middle of its answer",
            ),
            UpstreamErrorKind::Reset => (
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

/// What rustls says of handshakes that fail, and what to do.
const HANDSHAKES: [(&str, &str); 6] = [
    (
        "InvalidContentType",
        "what listens there speaks no TLS: its base_url begins with http://",
    ),
    (
        "UnknownIssuer",
        "an authority to be trusted is named by upstreams.ca",
    ),
    (
        "CaUsedAsEndEntity",
        "it shows the certificate of an authority itself: give it one that is signed by that",
    ),
    (
        "not valid for name",
        "its base_url is to have a name that the certificate is for",
    ),
    ("certificate expired", "it is renewed at the upstream"),
    ("not valid yet", "a clock is wrong, there or here"),
];

/// The innermost cause, which is the one that says what happened.
pub fn root_cause(error: &Error) -> String {
    // Under a failed handshake pingora 0.9.1 puts the local address; what happened is in the
    // text of the error itself.
    if let (UpstreamErrorKind::Tls, Some(context)) = (UpstreamErrorKind::of(error), &error.context)
    {
        let text = context.as_str();
        let cause = text.rsplit("cause: ").next().unwrap_or(text).trim();
        let mend = HANDSHAKES.iter().find(|(part, _)| cause.contains(part));
        return match mend {
            Some((_, mend)) => format!("{cause} ({mend})"),
            None => cause.to_owned(),
        };
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
