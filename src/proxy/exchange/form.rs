//! Whether an upstream answers with a stream of events or with one whole text: its first bytes say so,
//! and its header where they do not. There are servers that send events as `application/json` or as
//! nothing at all, and whole answers as `text/event-stream`.

use bytes::Bytes;

use super::fail::Failure;
use super::relay::next_chunk;
use crate::proxy::context::Context;
use crate::proxy::upstream::connection::Connection;
use crate::proxy::{Gateway, Session};
use crate::wire::frame::form::{Form, Look, Looking};

/// Bytes that may say nothing before the header is believed.
pub const ENOUGH: usize = 64 * 1024;

/// Reads of the answer until its form is known. `read` is what was read before, and after.
pub async fn of(
    gateway: &Gateway,
    session: &mut Session,
    context: &Context,
    connection: &mut Connection,
    read: &mut Vec<Bytes>,
) -> Result<Form, Failure> {
    let idle = context.snapshot.config.timeouts.stream_idle;
    connection.session.set_read_timeout(Some(idle));
    let (mut looking, mut length, mut seen) = (Looking::default(), 0, 0);
    loop {
        for chunk in &read[seen..] {
            length += chunk.len();
            match looking.see(chunk) {
                Look::Is(form) => return Ok(form),
                Look::Neither => return Ok(connection.told_form()),
                Look::More => {}
            }
        }
        seen = read.len();
        if length > ENOUGH {
            return Ok(connection.told_form());
        }
        match next_chunk(gateway, session, context, connection).await {
            Ok(Some(chunk)) => read.push(chunk),
            Ok(None) => return Ok(connection.told_form()),
            Err(failure) => return Err(failure),
        }
    }
}
