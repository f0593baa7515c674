//! Opening a socket (RFC 6455, section 4.2).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::model::Dialect;
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::edge::budget::Hold;
use crate::proxy::edge::respond;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::leg::Exchange;
use crate::proxy::exchange::upgrade;
use crate::proxy::route::choice::{Sought, choose};
use crate::snapshot::PROTOCOL_KEY;

const VERSION: &str = "13";

/// A socket that is open.
pub struct Opened {
    pub stream: Stream,
    /// What came with the request that opened it.
    pub first: Bytes,
    /// That request, its key included.
    pub asked: Box<RequestHeader>,
    /// What is held of what was said on it.
    pub hold: Hold,
}

/// Opens the socket that the client asks for, and leaves it in the context.
pub async fn open(
    exchange: Exchange<'_>,
    session: &mut Session,
    context: &mut Context,
) -> Result<(), Failure> {
    let sought = Sought {
        model: None,
        dialect: Some(Dialect::Responses),
        origin: None,
    };
    let config = &exchange.snapshot.config;
    choose(config, exchange.caller, sought)?;
    let header = judge(&session.req_header().headers, context)?;
    context.status = header.status.as_u16();
    respond::head(session, context, header)
        .await
        .map_err(|error| Failure::client(&error))?;
    context.is_upgraded = true;
    let (Some((stream, first)), Some(asked)) = (upgrade::hijack(session), context.as_sent.take())
    else {
        return Err(Failure::Truncated("it is not HTTP/1".into()));
    };
    context.socket = Some(Opened {
        stream,
        first,
        asked,
        hold: exchange.gateway.bodies.hold(exchange.caller, config),
    });
    Ok(())
}

/// The answer that opens the socket.
fn judge(headers: &HeaderMap, context: &Context) -> Result<ResponseHeader, ApiError> {
    if let Some(origin) = headers.get(header::ORIGIN)
        && context.sharing.allowed.is_none()
    {
        // A browser lets any page open a socket anywhere, and says whose page it is.
        let origin = String::from_utf8_lossy(origin.as_bytes());
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "Pages of `{origin}` may not use this gateway from a browser. Whoever runs it can \
                 add that origin to cors.origins."
            ),
        ));
    }
    if text(headers, header::SEC_WEBSOCKET_VERSION) != VERSION
        || !text(headers, header::UPGRADE).eq_ignore_ascii_case("websocket")
    {
        return Err(ApiError::new(
            StatusCode::UPGRADE_REQUIRED,
            "Responses are served over a WebSocket of version 13 (RFC 6455) alone, or over POST \
             /v1/responses with `stream`.",
        )
        .code("websocket_not_supported"));
    }
    let key = text(headers, header::SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        let message = "The request opens a WebSocket, and has no Sec-WebSocket-Key.";
        return Err(ApiError::bad_request(message).param("Sec-WebSocket-Key"));
    }
    let accept = derive_accept_key(key.as_bytes());
    let built = || -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build(StatusCode::SWITCHING_PROTOCOLS, Some(8))?;
        header.insert_header(header::CONNECTION, "Upgrade")?;
        header.insert_header(header::UPGRADE, "websocket")?;
        header.insert_header(header::SEC_WEBSOCKET_ACCEPT, accept)?;
        if let Some(protocol) = protocol(headers) {
            header.insert_header(header::SEC_WEBSOCKET_PROTOCOL, protocol)?;
        }
        Ok(header)
    };
    built()
        .map_err(|error| ApiError::bad_request(format!("The WebSocket cannot be opened: {error}")))
}

/// A browser that offers protocols wants to be told one of them; one of them may be a key.
fn protocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|value| value.to_str().ok());
    let mut offered = offered.flat_map(|value| value.split(',')).map(str::trim);
    let chosen =
        offered.find(|protocol| !protocol.is_empty() && !protocol.starts_with(PROTOCOL_KEY));
    HeaderValue::from_str(chosen?).ok()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim()
}
