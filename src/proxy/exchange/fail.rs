//! The rescue point: every failure becomes an answer, or a visible end, here.

use std::time::Duration;

use http::StatusCode;
use pingora::{Error, ErrorType};
use pingora_timeout::timeout;
use tokio::time::sleep;

use crate::error::ApiError;
use crate::proxy::context::Context;
use crate::proxy::edge::{body, respond};
use crate::proxy::upstream::error::root_cause;
use crate::proxy::{Gateway, Session};

/// What an HTTP/2 connection is given to write what it has of a stream, which a reset takes out of its queue: it
/// tells nobody when it has.
const TO_WRITE: Duration = Duration::from_millis(50);

/// Why a request could not be served.
#[derive(Debug)]
pub enum Failure {
    /// The client is told, in OpenAI's shape.
    Refused(ApiError),
    /// The client has left: there is nobody to tell.
    ClientGone(String),
    /// The answer broke off in the middle: the client is told so where it has seen nothing of it, and
    /// else shown that it is cut.
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
        Failure::Refused(refusal) => return cut(session, context, refusal.to_string()).await,
        // Nothing has gone to the client yet: it can be told.
        Failure::Truncated(why) if session.response_written().is_none() => {
            ApiError::bad_gateway(why).code("upstream_error")
        }
        Failure::Truncated(why) => return cut(session, context, why).await,
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
    let unread = !session.is_body_done();
    if unread {
        session.set_keepalive(None);
    }
    respond::error(session, context, &refusal).await?;
    if unread {
        body::drain(session).await;
    }
    Ok(())
}

/// Ends an answer that has begun and comes to no end: what there is of it goes out before the connection is
/// given up, since pingora keeps what it wrote of one of known length until all of it is there.
async fn cut(session: &mut Session, context: &mut Context, why: String) -> pingora::Result<()> {
    if session.as_http1().is_some() {
        let within = context.snapshot.config.timeouts.write;
        let _ = timeout(within, session.shutdown()).await;
    } else if session.is_http2() {
        sleep(TO_WRITE).await;
    }
    abandon(context, why)
}

fn abandon(context: &mut Context, why: String) -> pingora::Result<()> {
    context.failure = Some(why);
    Err(Error::new(ErrorType::ConnectionClosed))
}
