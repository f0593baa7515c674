//! Answers in which the gateway's own tools are run: the client sees one answer, however many
//! legs it takes.
//!
//! ```text
//! leg ─▶ Gate ─▶ client          bytes pass, the gateway's calls are held back
//!          │ calls
//!          ▼
//!     execute ─▶ leg ─▶ …        at the bound once more, without tools
//! ```

mod execute;

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;

use super::fail::Failure;
use super::reader::{TEXT_LIMIT, WHOLE_LIMIT};
use super::relay::{self, Length, next_chunk, pass_on};
use super::run::{Chat, ask};
use crate::config::model;
use crate::dialect::{Answer, Gate, Observer, Round, Whole};
use crate::error::ApiError;
use crate::proxy::Session;
use crate::proxy::context::Context;
use crate::proxy::upstream::connection::Connection;
use crate::telemetry::Phase;
use crate::turn::Continuation;
use crate::wire::coalesce;

/// Small pieces of a stream that are ready together are written together.
const PIECE: usize = 16 * 1024;

/// Passes the answer on to its end, running the gateway's tools where it asks for them.
/// `connection` brings the first leg, a success in no content coding.
pub async fn run(
    chat: Chat<'_>,
    session: &mut Session,
    context: &mut Context,
    connection: Box<Connection>,
) -> Result<(), Failure> {
    let tools = context.snapshot.config.tools.clone();
    let answering = Answering {
        chat,
        deadline: Instant::now() + tools.total_timeout,
        tools,
        after: Continuation::default(),
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
    /// When tools are no longer offered.
    deadline: Instant,
    after: Continuation,
}

impl Answering<'_> {
    async fn stream(
        mut self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<(), Failure> {
        context.ledger.enter(Phase::Stream);
        relay::head(session, context, &connection, Length::Unknown).await?;
        let mut client = Client {
            gate: Gate::new(self.chat.turn.offer().owners().clone()),
            observer: Observer::new(TEXT_LIMIT),
        };
        loop {
            let said_before = client.observer.answer().text.len();
            self.pass_leg(session, context, &mut connection, &mut client)
                .await?;
            self.release(context, connection).await;
            let Some(mut round) = client.gate.round() else {
                break;
            };
            if client.gate.is_blind() || !client.gate.has_ended() {
                let why = "the answer ended within a call of the gateway's tools";
                return Err(Failure::Truncated(why.into()));
            }
            if self.after.last {
                return client.fail(session, context, self.exhausted()).await;
            }
            let results = self.execute(session, context, &mut round).await?;
            context.ledger.enter(Phase::Stream);
            if !round.client_calls.is_empty() {
                self.hand_over(&round, &results);
                let ending = client.gate.take_ending();
                client.show(session, ending).await?;
                break;
            }
            let said = match &client.observer.answer().text[said_before..] {
                "" => Value::Null,
                text => text.into(),
            };
            self.add(&said.to_string(), &round, &results);
            client.gate.next_leg(client.observer.answer());
            connection = match self.next_leg(session, context).await {
                Ok(connection) => connection,
                Err(Failure::Refused(error)) => return client.fail(session, context, error).await,
                Err(failure) => return Err(failure),
            };
            if !connection.is_success() || !connection.is_event_stream() {
                let error = self.refusal(session, context, connection).await?;
                return client.fail(session, context, error).await;
            }
        }
        pass_on(session, Bytes::new(), true).await?;
        context.ledger.enter(Phase::Other);
        context.answer = Some(client.observer.finish());
        Ok(())
    }

    /// Passes on what of one leg is for the client.
    async fn pass_leg(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: &mut Connection,
        client: &mut Client,
    ) -> Result<(), Failure> {
        context.ledger.enter(Phase::Stream);
        let idle = context.snapshot.config.timeouts.stream_idle;
        connection.session.set_read_timeout(Some(idle));
        while let Some(chunk) = next_chunk(self.chat.gateway, session, context, connection).await? {
            let pieces = client.gate.feed(&chunk);
            if !pieces.is_empty() {
                client.show(session, pieces).await?;
                context.ledger.mark_first_chunk();
            }
        }
        let rest = client.gate.finish();
        client.show(session, rest).await
    }

    async fn whole(
        mut self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<(), Failure> {
        let owners = self.chat.turn.offer().owners();
        let mut spent: Option<Value> = None;
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
            let answer = Whole::read(&body, owners);
            let results = match answer.round.clone() {
                None => None,
                Some(_) if self.after.last => return Err(self.exhausted().into()),
                Some(mut round) => {
                    let results = self.execute(session, context, &mut round).await?;
                    Some((round, results))
                }
            };
            match results {
                Some((round, results)) if round.client_calls.is_empty() => {
                    self.release(context, connection).await;
                    self.add(&answer.content, &round, &results);
                    answer.add_cost(&mut spent);
                    connection = self.next_leg(session, context).await?;
                    continue;
                }
                Some((round, results)) => self.hand_over(&round, &results),
                None => {}
            }
            let shown = Whole::shown(&body, owners, spent.as_ref());
            let shown = shown.map_or(body, Bytes::from);
            context.ledger.enter(Phase::Stream);
            relay::head(session, context, &connection, Length::Exactly(shown.len())).await?;
            pass_on(session, shown.clone(), true).await?;
            context.ledger.mark_first_chunk();
            context.ledger.enter(Phase::Other);
            context.answer = Some(Answer::from_json(&shown, TEXT_LIMIT));
            self.release(context, connection).await;
            return Ok(());
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
                Ok(None) => return Ok(Read::Whole(read.concat().into())),
                // Nothing has gone to the client yet: it can be told.
                Err(Failure::Truncated(why)) => {
                    return Err(ApiError::bad_gateway(why).code("upstream_error").into());
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Adds a round to what the next leg repeats, and decides whether it is the last.
    fn add(&mut self, content: &str, round: &Round, results: &[String]) {
        self.after.add(content, round, results);
        self.after.last =
            self.after.rounds >= self.tools.max_rounds || Instant::now() >= self.deadline;
    }

    /// Keeps what the gateway's calls gave until the client has answered its own.
    fn hand_over(&self, round: &Round, results: &[String]) {
        let hidden_rounds = &self.chat.gateway.shared().hidden_rounds;
        hidden_rounds.keep(&self.chat.caller.tenant, round, results);
    }

    async fn next_leg(
        &self,
        session: &mut Session,
        context: &mut Context,
    ) -> Result<Box<Connection>, Failure> {
        ask(self.chat, session, context, Some(&self.after)).await
    }

    async fn release(&self, context: &Context, connection: Box<Connection>) {
        let (dialer, timeouts) = (&self.chat.gateway.dialer, &context.snapshot.config.timeouts);
        if context.streamed {
            dialer.release_after_stream(connection, timeouts);
        } else {
            dialer.release(connection, timeouts).await;
        }
    }

    /// What an upstream that would not go on with a stream said.
    async fn refusal(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut connection: Box<Connection>,
    ) -> Result<ApiError, Failure> {
        let header = connection.session.response_header();
        let status = header.map_or(0, |header| header.status.as_u16());
        let said = match self.read(session, context, &mut connection).await {
            Ok(Read::Whole(body)) => said(&body),
            Ok(Read::TooLarge(_)) | Err(Failure::Refused(_)) => None,
            Err(failure) => return Err(failure),
        };
        let upstream = context.upstream.as_deref().unwrap_or_default();
        let why = said.map_or_else(String::new, |said| format!(": {said}"));
        let message = format!(
            "The upstream `{upstream}` answered {status} when it was given the tools' results{why}"
        );
        Ok(ApiError::bad_gateway(message).code("upstream_error"))
    }

    /// The model was asked without tools, and called one all the same.
    fn exhausted(&self) -> ApiError {
        let rounds = self.after.rounds;
        ApiError::bad_gateway(format!(
            "The model went on calling tools after {rounds} rounds, when it was offered none. \
             Raise `tools.max_rounds` or `tools.total_timeout`, or ask for less at once."
        ))
        .code("tool_rounds_exceeded")
    }
}

/// A whole answer, or what was read of one that is too large.
enum Read {
    Whole(Bytes),
    TooLarge(Vec<Bytes>),
}

/// The client's side of a stream.
struct Client {
    gate: Gate,
    /// Reads what the client sees.
    observer: Observer,
}

impl Client {
    async fn show(&mut self, session: &mut Session, pieces: Vec<Bytes>) -> Result<(), Failure> {
        let pieces = match pieces.len() {
            0 | 1 => pieces,
            _ => coalesce(pieces, PIECE),
        };
        for piece in pieces {
            pass_on(session, piece.clone(), false).await?;
            self.observer.feed(&piece);
        }
        Ok(())
    }

    /// Ends the stream with an error, as OpenAI's API does in the middle of one.
    async fn fail(
        self,
        session: &mut Session,
        context: &mut Context,
        error: ApiError,
    ) -> Result<(), Failure> {
        context.failure = Some(error.to_string());
        let event = [b"data: ", &error.body()[..], b"\n\n"].concat();
        pass_on(session, event.into(), false).await?;
        pass_on(session, Bytes::new(), true).await?;
        context.ledger.enter(Phase::Other);
        Ok(())
    }
}

/// `error.message` of an answer in OpenAI's shape.
fn said(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["error"]["message"].as_str()?.to_owned())
}
