//! Answers in which the gateway's own tools are run: the client sees one answer, however many
//! legs it takes.
//!
//! ```text
//! leg ─▶ Editor ─▶ client        bytes pass, the gateway's calls are held back
//!          │ calls
//!          ▼
//!     execute ─▶ leg ─▶ …        until `turn::ToolLoop` has it end
//! ```

mod execute;
mod refusal;

use std::time::Instant;

use bytes::Bytes;

use super::ask::{Which, ask};
use super::fail::Failure;
use super::relay::{self, Length, PIECE, joined, learn, next_chunk, next_piece, pass_on};
use super::run::Chat;
use super::tee::WHOLE_LIMIT;
use crate::config::model;
use crate::dialect::{Answer, Dialect, Edit, Leg, SseEditor, Unasked};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::upstream::connection::Connection;
use crate::telemetry::Phase;
use crate::turn::{HiddenRound, Step, ToolLoop};
use crate::wire::coalesce;

/// Passes the answer on to its end, running the gateway's tools where it asks for them.
/// `connection` brings the first leg, a success in no content coding.
pub async fn run(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    connection: Box<Connection>,
) -> Result<(), Failure> {
    let tools = context.snapshot.config.tools.clone();
    let (rounds, total) = (tools.max_rounds, tools.total_timeout);
    let answering = Answering {
        chat,
        tools,
        rounds: ToolLoop::new(chat.turn.dialect(), rounds, total, Instant::now()),
        hidden: None,
        unasked: context.hides_usage.then(Unasked::default),
    };
    if connection.is_event_stream() {
        answering.stream(session, context, connection).await
    } else {
        answering.whole(session, context, connection).await
    }
}

struct Answering<'a> {
    chat: Chat<'a>,
    tools: model::Tools,
    rounds: ToolLoop,
    /// What the client was not shown of the answer that ends.
    hidden: Option<HiddenRound>,
    /// Takes out what the client did not ask for.
    unasked: Option<Unasked>,
}

/// How an answer goes on once the calls of a leg are run.
enum Next {
    Ask,
    Finish,
    Fail(ApiError),
}

impl Answering<'_> {
    async fn stream(
        mut self,
        session: &mut Session,
        context: &mut Context,
        connection: Box<Connection>,
    ) -> Result<(), Failure> {
        context.ledger.enter(Phase::Stream);
        relay::head(session, context, &connection, Length::Unknown).await?;
        let seed = context.request_id.simple().to_string();
        let mut editor = SseEditor::new(self.chat.turn.editor(context.wanted(), seed));
        let ended = self.legs(session, context, connection, &mut editor).await;
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
        mut connection: Box<Connection>,
        editor: &mut SseEditor,
    ) -> Result<bool, Failure> {
        loop {
            let leg = self
                .pass_leg(session, context, &mut connection, editor)
                .await?;
            self.release(context, connection).await;
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
            context.ledger.enter(Phase::Stream);
            connection = match self.next_leg(session, context).await {
                Ok(connection) => connection,
                Err(Failure::Refused(error)) => {
                    return fail(session, context, editor, error).await;
                }
                Err(failure) => return Err(failure),
            };
            if !connection.is_success() || !connection.is_event_stream() {
                let error = self.refusal(session, context, connection).await?;
                return fail(session, context, editor, error).await;
            }
        }
    }

    /// What of these events the client sees.
    fn shown(&mut self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        match &mut self.unasked {
            None => pieces,
            Some(unasked) => pieces.iter().flat_map(|it| unasked.feed(it)).collect(),
        }
    }

    /// What was hidden of an answer is also found by its id, by which the next request may name it.
    async fn end(&mut self, answer: &Answer) {
        let is_kept = self.chat.turn.dialect() == Dialect::Responses;
        let hidden = self.hidden.take().filter(|_| is_kept);
        if let (Some(hidden), Some(id)) = (hidden, &answer.id) {
            let rounds = &self.chat.gateway.shared().hidden_rounds;
            let place = self.chat.turn.hidden_within(id);
            rounds.keep(place, hidden).await;
        }
        if let (Some(told), Some(upstream)) = (&answer.id, &answer.upstream_id) {
            let rounds = &self.chat.gateway.shared().hidden_rounds;
            let tenant = &self.chat.turn.whose().tenant;
            rounds.ends(tenant, told, upstream).await;
        }
    }

    /// Passes on what of one leg is for the client.
    async fn pass_leg(
        &mut self,
        session: &mut Session,
        context: &mut Context,
        connection: &mut Connection,
        editor: &mut SseEditor,
    ) -> Result<Leg, Failure> {
        context.ledger.enter(Phase::Stream);
        let idle = context.snapshot.config.timeouts.stream_idle;
        connection.session.set_read_timeout(Some(idle));
        let (gateway, mut ahead) = (self.chat.gateway, None);
        while let Some(piece) =
            next_piece(gateway, session, context, connection, &mut ahead).await?
        {
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

    async fn whole(
        mut self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<(), Failure> {
        let seed = context.request_id.simple().to_string();
        let mut editor = self.chat.turn.editor(context.wanted(), seed);
        loop {
            if !connection.is_success() || !connection.is_readable() {
                return self
                    .as_it_comes(session, context, connection, Vec::new())
                    .await;
            }
            let body = match self.read(session, context, &mut connection).await? {
                Read::Whole(body) => body,
                Read::TooLarge(read) => {
                    return self.as_it_comes(session, context, connection, read).await;
                }
            };
            learn(self.chat.gateway, context, &body).await;
            let edit = editor.whole(&body);
            let leg = editor.end_leg();
            match self.after(session, context, leg).await? {
                Next::Ask => {
                    self.release(context, connection).await;
                    connection = self.next_leg(session, context).await?;
                    continue;
                }
                Next::Finish => {}
                Next::Fail(error) => return Err(error.into()),
            }
            let shown = match edit {
                Edit::Replace(shown) => shown,
                Edit::Pass | Edit::Drop => body,
            };
            context.ledger.enter(Phase::Stream);
            let answer = editor.into_answer();
            self.end(&answer).await;
            let length = Length::Exactly(shown.len());
            match shown.is_empty() {
                true => relay::head(session, context, &connection, length).await?,
                false => relay::head_before(session, context, &connection, length).await?,
            };
            pass_on(session, shown, true).await?;
            context.ledger.mark_first_chunk();
            context.ledger.enter(Phase::Other);
            context.answer = Some(answer);
            self.release(context, connection).await;
            return Ok(());
        }
    }

    /// Runs what a leg asks for, and keeps what the client's next request will not tell.
    async fn after(
        &mut self,
        session: &mut Session,
        context: &mut Context,
        leg: Leg,
    ) -> Result<Next, Failure> {
        let mut step = self.rounds.leg_ended(leg);
        loop {
            step = match step {
                Step::Run(calls) => {
                    let results = self.execute(session, context, &calls).await?;
                    self.rounds.ran(&results, Instant::now())
                }
                Step::Ask => return Ok(Next::Ask),
                Step::Fail(error) => return Ok(Next::Fail(error)),
                Step::Finish => {
                    if let Some(hidden) = self.rounds.take_hidden() {
                        self.hidden = Some(hidden.clone());
                        let place = self.chat.turn.hidden_place();
                        let rounds = &self.chat.gateway.shared().hidden_rounds;
                        rounds.keep(place, hidden).await;
                    }
                    return Ok(Next::Finish);
                }
            };
        }
    }

    /// Passes an answer on that cannot be read for calls.
    async fn as_it_comes(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: Box<Connection>,
        read: Vec<Bytes>,
    ) -> Result<(), Failure> {
        relay::run(self.chat.exchange(), session, context, connection, read).await
    }

    /// Reads an answer that is not streamed, up to a limit.
    async fn read(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: &mut Connection,
    ) -> Result<Read, Failure> {
        context.ledger.enter(Phase::Stream);
        let idle = context.snapshot.config.timeouts.stream_idle;
        connection.session.set_read_timeout(Some(idle));
        let mut read = Vec::new();
        let mut length = 0;
        loop {
            match next_chunk(self.chat.gateway, session, context, connection).await {
                Ok(Some(chunk)) => {
                    length += chunk.len();
                    read.push(chunk);
                    if length > WHOLE_LIMIT {
                        return Ok(Read::TooLarge(read));
                    }
                }
                Ok(None) => return Ok(Read::Whole(joined(read))),
                // Nothing has gone to the client yet: it can be told.
                Err(Failure::Truncated(why)) => {
                    return Err(ApiError::bad_gateway(why).code("upstream_error").into());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn next_leg(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<Connection>, Failure> {
        let which = Which::After(self.rounds.after());
        let (connection, _) = ask(self.chat, session, context, which).await?;
        Ok(connection)
    }

    async fn release(&self, context: &Context, connection: Box<Connection>) {
        let (dialer, timeouts) = (&self.chat.gateway.dialer, &context.snapshot.config.timeouts);
        if context.streamed {
            dialer.release_after_stream(connection, timeouts);
        } else {
            dialer.release(connection, timeouts).await;
        }
    }
}

/// A whole answer, or what was read of one that is too large.
enum Read {
    Whole(Bytes),
    TooLarge(Vec<Bytes>),
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
