//! An answer that the client gets whole.

use bytes::Bytes;

use super::arrival::{Arrival, Read};
use super::{Answering, Next};
use crate::dialect::{Edit, Editor, Leg, Odd, SseEditor};
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::exchange::fail::Failure;
use crate::proxy::exchange::relay::{self, Length, pass_on};
use crate::telemetry::Phase;
use crate::wire::frame::form::{Form, without_mark};

impl Answering<'_> {
    pub(super) async fn whole(
        mut self,
        session: &mut Session,
        context: &mut Context,
        mut arrival: Arrival,
    ) -> Result<(), Failure> {
        let seed = context.request_id.simple().to_string();
        let mut editor = self.chat.turn.editor(context.wanted(), seed);
        let mut may_recast = self.chat.turn.streams();
        loop {
            if !arrival.connection.is_success() || !arrival.connection.is_readable() {
                return self.as_it_comes(session, context, arrival).await;
            }
            if may_recast && arrival.form == Form::Whole {
                self.look_for_lines(session, context, &mut arrival).await?;
                if arrival.is_of_lines {
                    return Box::pin(self.stream(session, context, arrival)).await;
                }
            }
            let mut body = match self.read(session, context, &mut arrival).await? {
                Read::Whole(body) => body,
                Read::TooLarge(read) => {
                    arrival.read = read;
                    return self.as_it_comes(session, context, arrival).await;
                }
            };
            let recasts = std::mem::take(&mut may_recast);
            let mut edit = self.judge(context, &mut editor, &mut arrival, &mut body);
            let is_stream = arrival.form == Form::Stream;
            if recasts && is_stream {
                return Box::pin(self.stream(session, context, arrival.told_as(body))).await;
            }
            if is_stream {
                let gathered = self.chat.turn.dialect().gathered(&body);
                body = gathered.ok_or_else(|| Failure::from(self.no_answer(context)))?;
                edit = editor.whole(&body);
            }
            let leg = editor.end_leg();
            if recasts && matches!(leg, Leg::Calls(_)) {
                return match self.recast(arrival, &body) {
                    Some(arrival) => Box::pin(self.stream(session, context, arrival)).await,
                    None => Err(self.no_answer(context).into()),
                };
            }
            match self.after(session, context, leg).await? {
                Next::Ask => {
                    self.release(context, arrival.connection).await;
                    let connection = self.next_leg(session, context).await?;
                    arrival = self.arrive(session, context, connection).await?;
                    continue;
                }
                Next::Finish => {}
                Next::Fail(error) => return Err(error.into()),
            }
            let shown = match edit {
                Edit::Replace(shown) => shown,
                Edit::Pass | Edit::Drop => body,
            };
            let answer = editor.into_answer();
            self.end(&answer).await;
            self.tell(session, context, &arrival, shown).await?;
            context.answer = Some(answer);
            self.release(context, arrival.connection).await;
            return Ok(());
        }
    }

    /// What of a whole answer the client would see. What is no single object and asks for tools is a stream from
    /// here on.
    fn judge(
        &self,
        context: &Context,
        editor: &mut Editor,
        leg: &mut Arrival,
        body: &mut Bytes,
    ) -> Edit {
        if leg.form == Form::Stream {
            return Edit::Pass;
        }
        let edit = editor.whole(&without_mark(body));
        // Parsed once more only where that could not be.
        let odd = match editor.has_read() {
            true => None,
            false => Odd::of(body),
        };
        match odd {
            Some(Odd::One(one)) => return editor.whole(&one),
            Some(Odd::Events(events)) if self.asks_for_tools(context, &events) => {
                *body = events;
                leg.form = Form::Stream;
            }
            Some(Odd::Events(_)) | None => {}
        }
        edit
    }

    /// Whether events have a call of the gateway's in them that is to be run.
    fn asks_for_tools(&self, context: &Context, events: &Bytes) -> bool {
        let editor = self.chat.turn.editor(context.wanted(), String::new());
        let mut editor = SseEditor::new(editor);
        editor.feed(events);
        matches!(editor.end_leg(), (_, Leg::Calls(_)))
    }

    async fn tell(
        &self,
        session: &mut Session,
        context: &mut Context,
        arrival: &Arrival,
        shown: Bytes,
    ) -> Result<(), Failure> {
        context.ledger.enter(Phase::Stream);
        let length = match arrival.form {
            Form::Whole => Length::Exactly(shown.len()),
            Form::Stream => Length::Json(shown.len()),
        };
        let connection = &arrival.connection;
        match shown.is_empty() {
            true => relay::head(session, context, connection, length).await?,
            false => relay::head_before(session, context, connection, length).await?,
        };
        // Whatever its header says.
        context.streamed = false;
        pass_on(session, shown, true).await?;
        context.ledger.mark_first_chunk();
        context.ledger.enter(Phase::Other);
        Ok(())
    }

    /// Passes an answer on that cannot be read for calls.
    async fn as_it_comes(
        &self,
        session: &mut Session,
        context: &mut Context,
        arrival: Arrival,
    ) -> Result<(), Failure> {
        let Arrival {
            connection, read, ..
        } = arrival;
        if connection.is_success() {
            let why = match connection.is_readable() {
                true => "it is too large",
                false => "it is in a coding that is not undone here",
            };
            tracing::warn!(
                request_id = %context.request_id, upstream = context.upstream, why,
                "an answer passes unread; calls of the gateway's tools in it are not run"
            );
        }
        relay::run(self.chat.exchange(), session, context, connection, read).await
    }
}
