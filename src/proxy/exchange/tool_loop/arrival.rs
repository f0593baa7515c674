//! A leg whose answer has begun: its form, and what was read to tell that.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::Answering;
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::form;
use crate::proxy::exchange::relay::{joined, learn, next_chunk};
use crate::proxy::exchange::tee::WHOLE_LIMIT;
use crate::proxy::upstream::connection::Connection;
use crate::telemetry::Phase;
use crate::wire::frame::form::{Form, without_mark};

/// Bytes that may say nothing before an answer is taken for no lines.
const ENOUGH: usize = 16 * 1024;

pub(super) struct Arrival {
    pub connection: Box<Connection>,
    /// What of it was read already.
    pub read: Vec<Bytes>,
    pub form: Form,
    /// Whether it was told as the other form.
    pub is_recast: bool,
    /// Whether it is a stream of lines, each an object.
    pub is_of_lines: bool,
}

/// A whole answer, or what was read of one that is too large.
pub(super) enum Read {
    Whole(Bytes),
    TooLarge(Vec<Bytes>),
}

impl Answering<'_> {
    /// Waits until the form of a leg is known. One that is not to be read has none, and counts as whole.
    pub(super) async fn arrive(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<Arrival, Failure> {
        context.ledger.enter(Phase::Stream);
        connection.undo_coding();
        let (gateway, mut read) = (self.chat.gateway, Vec::new());
        let form = match connection.is_success() && connection.is_readable() {
            true => form::of(gateway, session, context, &mut connection, &mut read).await?,
            false => Form::Whole,
        };
        Ok(Arrival {
            connection,
            read,
            form,
            is_recast: false,
            is_of_lines: false,
        })
    }

    /// Finds out whether an answer that is no stream of events is one of lines, each an object, which are to go
    /// on as they come.
    pub(super) async fn look_for_lines(
        &self,
        session: &mut Session,
        context: &mut Context,
        leg: &mut Arrival,
    ) -> Result<(), Failure> {
        let mut read = leg.begin(context);
        leg.is_of_lines = loop {
            let begun = without_mark(&joined(read.clone()));
            match is_of_lines(&begun) {
                Some(is_of_lines) => break is_of_lines,
                None if begun.len() > ENOUGH => break false,
                None => {}
            }
            let connection = &mut leg.connection;
            match next_chunk(self.chat.gateway, session, context, connection).await {
                Ok(Some(chunk)) => read.push(chunk),
                Ok(None) => break false,
                Err(Failure::Truncated(why)) => return Err(untold(why)),
                Err(failure) => return Err(failure),
            }
        };
        leg.read = read;
        Ok(())
    }

    /// Reads all of a leg, up to a limit.
    pub(super) async fn read(
        &self,
        session: &mut Session,
        context: &mut Context,
        leg: &mut Arrival,
    ) -> Result<Read, Failure> {
        let mut read = leg.begin(context);
        let connection = &mut leg.connection;
        let mut length: usize = read.iter().map(Bytes::len).sum();
        loop {
            if length > WHOLE_LIMIT {
                return Ok(Read::TooLarge(read));
            }
            match next_chunk(self.chat.gateway, session, context, connection).await {
                Ok(Some(chunk)) => {
                    length += chunk.len();
                    read.push(chunk);
                }
                Ok(None) => break,
                Err(Failure::Truncated(why)) => return Err(untold(why)),
                Err(failure) => return Err(failure),
            }
        }
        let body = joined(read);
        learn(self.chat.gateway, context, &body).await;
        Ok(Read::Whole(body))
    }

    /// A whole leg told as a stream of events; `None` where it is no answer.
    pub(super) async fn as_stream(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut leg: Arrival,
    ) -> Result<Option<Arrival>, Failure> {
        let Read::Whole(body) = self.read(session, context, &mut leg).await? else {
            return Ok(None);
        };
        Ok(self.recast(leg, &body))
    }

    /// The same, where all of it was read.
    pub(super) fn recast(&self, leg: Arrival, body: &Bytes) -> Option<Arrival> {
        let events = self.chat.turn.dialect().streamed(body)?;
        Some(leg.told_as(events))
    }
}

/// A leg that broke off before anything of it was shown: the client can be told, in a stream too.
fn untold(why: String) -> Failure {
    ApiError::bad_gateway(why).code("upstream_error").into()
}

/// Whether what an answer begins with is an object on a line of its own, and another one behind it; `None` where
/// more must come to tell.
fn is_of_lines(begun: &[u8]) -> Option<bool> {
    let begun = begun.trim_ascii_start();
    let end = memchr::memchr(b'\n', begun)?;
    let is_object = || serde_json::from_slice::<IgnoredAny>(&begun[..end]).is_ok();
    if !begun.starts_with(b"{") || !is_object() {
        return Some(false);
    }
    let next = begun[end..].trim_ascii_start().first()?;
    Some(*next == b'{')
}

impl Arrival {
    /// Begins to read its body; gives what was read before.
    pub fn begin(&mut self, context: &mut Context) -> Vec<Bytes> {
        context.ledger.enter(Phase::Stream);
        let idle = context.snapshot.config.timeouts.stream_idle;
        self.connection.session.set_read_timeout(Some(idle));
        std::mem::take(&mut self.read)
    }

    /// The same leg, told as these events.
    pub fn told_as(self, events: Bytes) -> Self {
        Self {
            read: vec![events],
            form: Form::Stream,
            is_recast: true,
            ..self
        }
    }
}
