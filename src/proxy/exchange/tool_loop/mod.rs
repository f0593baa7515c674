//! Answers in which the gateway's own tools are run: the client sees one answer, however many
//! legs it takes.
//!
//! ```text
//! leg ─▶ Editor ─▶ client        bytes pass, the gateway's calls are held back
//!          │ calls
//!          ▼
//!     execute ─▶ leg ─▶ …        until `turn::ToolLoop` has it end
//! ```
//!
//! A leg is streamed or whole, whatever was asked for, and the next one need not be as it was. The
//! answer is of the form that its first leg has, to the byte, where that has no call of the gateway's.
//! Where a stream has begun it stays one, and a whole leg is told as events of it. An answer whose
//! first leg is whole, with such a call, has the form that the client asked for.

mod arrival;
mod execute;
mod refusal;
mod stream;
mod whole;

use std::time::Instant;

use bytes::Bytes;

use super::ask::{Which, ask};
use super::fail::Failure;
use super::relay::{self, Length};
use super::run::Chat;
use crate::config::model;
use crate::dialect::{Answer, Dialect, Leg, Unasked};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::upstream::connection::Connection;
use crate::telemetry::Phase;
use crate::turn::{HiddenRound, Step, ToolLoop};
use crate::wire::frame::form::Form;

/// Passes the answer on to its end, running the gateway's tools where it asks for them.
/// `connection` brings the first leg, a success.
pub async fn run(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    mut connection: Box<Connection>,
) -> Result<(), Failure> {
    connection.undo_coding();
    let tools = context.snapshot.config.tools.clone();
    let (rounds, total) = (tools.max_rounds, tools.total_timeout);
    let answering = Answering {
        chat,
        tools,
        rounds: ToolLoop::new(chat.turn.dialect(), rounds, total, Instant::now()),
        hidden: None,
        unasked: context.hides_usage.then(Unasked::default),
        is_stream: false,
    };
    if connection.announces_stream() {
        context.ledger.enter(Phase::Stream);
        relay::head(session, context, &connection, Length::Unknown).await?;
    }
    let leg = answering.arrive(session, context, connection).await?;
    match leg.form {
        Form::Stream => answering.stream(session, context, leg).await,
        Form::Whole => answering.whole(session, context, leg).await,
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
    /// Whether the client gets a stream.
    is_stream: bool,
}

/// How an answer goes on once the calls of a leg are run.
enum Next {
    Ask,
    Finish,
    Fail(ApiError),
}

impl Answering<'_> {
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
            rounds.keep(place, hidden, self.chat.turn.began()).await;
        }
        if let (Some(told), Some(upstream)) = (&answer.id, &answer.upstream_id) {
            let rounds = &self.chat.gateway.shared().hidden_rounds;
            let tenant = &self.chat.turn.whose().tenant;
            rounds.ends(tenant, told, upstream).await;
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
                        rounds.keep(place, hidden, self.chat.turn.began()).await;
                    }
                    return Ok(Next::Finish);
                }
            };
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
