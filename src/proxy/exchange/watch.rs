//! Watching whether the client leaves while something is done for it.

use std::future::Future;
use std::pin::Pin;

use pingora::ErrorType;

use super::fail::Failure;
use crate::proxy::Session;

/// Does `work` while watching whether the client leaves; if it does, `work` is dropped, and with
/// it the upstream's connection.
pub async fn with_client<T>(
    session: &mut Session,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        done = &mut work => Ok(done),
        left = departure(session) => match left {
            Some(why) => Err(Failure::ClientGone(why)),
            None => Ok(work.await),
        },
    }
}

/// Resolves when the client leaves, saying how, or when it can no longer be watched.
pub async fn departure(session: &mut Session) -> Option<String> {
    if let Session::H1(http1) = session
        && !http1.is_body_done()
    {
        // What comes is the body, and a look for an end would take of it.
        return None;
    }
    match session.read_body_or_idle(true).await {
        // A client that pipelines its next request is still there. That request is not served:
        // the connection closes after this answer, and the client sends it again.
        Err(error) if *error.etype() == ErrorType::ConnectError => {
            session.set_keepalive(None);
            None
        }
        Err(error) => Some(format!("the client left: {}", error.etype().as_str())),
        Ok(_) => None,
    }
}
