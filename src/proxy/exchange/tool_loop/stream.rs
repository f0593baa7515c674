//! An answer that the client gets as a stream.

use bytes::Bytes;

use super::arrival::Arrival;
use super::{Answering, Next};
use crate::dialect::{Leg, SseEditor};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::relay::{self, Length, PIECE, learn, next_piece, pass_on};
use crate::telemetry::Phase;
use crate::wire::coalesce;
use crate::wire::frame::form::Form;

impl Answering<'_> {
    pub(super) async fn stream(
        mut self,
        session: &mut Session,
        context: &mut Context,
        leg: Arrival,
    ) -> Result<(), Failure> {
        context.ledger.enter(Phase::Stream);
        // A comment is no line.
        self.is_stream = !leg.is_of_lines;
        context.begin_stream();
        let length = match leg.is_recast {
            true => Length::Events,
            false => Length::Unknown,
        };
        relay::head(session, context, &leg.connection, length).await?;
        let seed = context.request_id.simple().to_string();
        let editor = self.chat.turn.editor(context.wanted(), seed);
        let mut editor = match leg.is_of_lines {
            true => SseEditor::of_lines(editor),
            false => SseEditor::new(editor),
        };
        let ended = self.legs(session, context, leg, &mut editor).await;
        let is_whole = matches!(ended, Ok(true));
        let last = if is_whole {
            editor.finish()
        } else {
            Default::default()
        };
        let answer = editor.into_answer();
        if !is_whole {
            context.broken = Some(answer);
            return ended.map(drop);
        }
        context.ledger.enter(Phase::Stream);
        // Before the client can have read it and go on.
        self.end(&answer).await;
        let last = self.shown(last);
        show(session, last).await?;
        if let Some(rest) = self.unasked.take().and_then(|mut unasked| unasked.finish()) {
            pass_on(session, rest, false).await?;
        }
        pass_on(session, Bytes::new(), true).await?;
        context.ledger.enter(Phase::Other);
        context.answer = Some(answer);
        Ok(())
    }

    /// The legs of a streamed answer, but for its ending; whether it has one, and was not ended by an
    /// error.
    async fn legs(
        &mut self,
        session: &mut Session,
        context: &mut Context,
        mut arrival: Arrival,
        editor: &mut SseEditor,
    ) -> Result<bool, Failure> {
        loop {
            let leg = self
                .pass_leg(session, context, &mut arrival, editor)
                .await?;
            self.release(context, arrival.connection).await;
            let broke_off = matches!(leg, Leg::Truncated | Leg::Unreadable);
            match self.after(session, context, leg).await? {
                Next::Ask => {}
                Next::Finish => return Ok(true),
                // Who does not read what an event says shall see that there is no end.
                Next::Fail(error) if broke_off => {
                    pass_on(session, editor.error_event(&error), false).await?;
                    return Err(Failure::Truncated(error.message));
                }
                Next::Fail(error) => return fail(session, context, editor, error).await,
            }
            arrival = match self.go_on(session, context).await {
                Ok(arrival) => arrival,
                Err(Failure::Refused(error)) => {
                    return fail(session, context, editor, error).await;
                }
                Err(failure) => return Err(failure),
            };
        }
    }

    /// The next leg, as a stream.
    async fn go_on(
        &mut self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Arrival, Failure> {
        context.ledger.enter(Phase::Stream);
        let connection = self.next_leg(session, context).await?;
        let mut leg = self.arrive(session, context, connection).await?;
        if !leg.connection.is_success() || !leg.connection.is_readable() {
            return Err(self.refusal(session, context, leg).await?.into());
        }
        if leg.form == Form::Whole {
            self.look_for_lines(session, context, &mut leg).await?;
        }
        if leg.form == Form::Stream || leg.is_of_lines {
            return Ok(leg);
        }
        let told = self.as_stream(session, context, leg).await?;
        told.ok_or_else(|| self.no_answer(context).into())
    }

    /// Passes on what of one leg is for the client.
    async fn pass_leg(
        &mut self,
        session: &mut Session,
        context: &mut Context,
        leg: &mut Arrival,
        editor: &mut SseEditor,
    ) -> Result<Leg, Failure> {
        editor.begin_leg(leg.is_of_lines);
        let mut read = leg.begin(context).into_iter();
        let connection = &mut leg.connection;
        let (gateway, mut ahead) = (self.chat.gateway, None);
        loop {
            let piece = match read.next() {
                Some(piece) => piece,
                None => {
                    let next = next_piece(gateway, session, context, connection, &mut ahead);
                    let Some(piece) = next.await? else { break };
                    piece
                }
            };
            learn(gateway, context, &piece).await;
            let pieces = self.shown(editor.feed(&piece));
            if !pieces.is_empty() {
                show(session, pieces).await?;
                context.ledger.mark_first_chunk();
            }
        }
        let (rest, leg) = editor.end_leg();
        show(session, self.shown(rest)).await?;
        Ok(leg)
    }
}

async fn show(session: &mut Session, pieces: Vec<Bytes>) -> Result<(), Failure> {
    let pieces = match pieces.len() {
        0 | 1 => pieces,
        _ => coalesce(pieces, PIECE),
    };
    for piece in pieces {
        pass_on(session, piece, false).await?;
    }
    Ok(())
}

/// Ends the stream with an error, as the client's API does in the middle of one: it has no ending of its own.
async fn fail(
    session: &mut Session,
    context: &mut Context,
    editor: &SseEditor,
    error: ApiError,
) -> Result<bool, Failure> {
    context.failure = Some(error.to_string());
    pass_on(session, editor.error_event(&error), false).await?;
    pass_on(session, Bytes::new(), true).await?;
    context.ledger.enter(Phase::Other);
    Ok(false)
}
