//! A leg whose answer has begun: its form, and what was read to tell that.

use bytes::Bytes;

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
use crate::wire::frame::form::Form;

pub(super) struct Arrival {
    pub connection: Box<Connection>,
    /// What of it was read already.
    pub read: Vec<Bytes>,
    pub form: Form,
    /// Whether it was told as the other form.
    pub is_recast: bool,
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
        })
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
                // Nothing of this leg has gone to the client yet: it can be told, in a stream too.
                Err(Failure::Truncated(why)) => {
                    return Err(ApiError::bad_gateway(why).code("upstream_error").into());
                }
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
