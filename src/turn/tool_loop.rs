//! How an answer goes on in which the gateway's tools are called: rounds and time are bounded here,
//! without a socket and without a clock.
//!
//! ```text
//! leg_ended ─┬─▶ Run ──▶ ran ─┬─▶ Ask ──▶ (another leg) ──▶ leg_ended
//!            │                └─▶ Finish   the client has calls of its own to answer first
//!            ├─▶ Finish
//!            └─▶ Fail
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::hidden_rounds::HiddenRound;
use crate::dialect::{Call, Dialect, Leg, Round};
use crate::error::ApiError;

/// The rounds of one answer.
#[derive(Debug)]
pub struct ToolLoop {
    dialect: Dialect,
    max_rounds: u32,
    /// When the model has to come to its answer.
    deadline: Instant,
    /// The round whose calls are being run.
    round: Round,
    after: Continuation,
    hidden: Option<HiddenRound>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Run these calls.
    Run(Vec<Call>),
    /// Ask the model again, after [`ToolLoop::after`].
    Ask,
    /// The answer ends with what its last leg ended with.
    Finish,
    /// It ends with an error.
    Fail(ApiError),
}

/// How a request goes on after its first leg.
#[derive(Debug, Clone, Default)]
pub struct Continuation {
    /// The model's turns with calls and the results of these, in order: items of the dialect.
    pub(super) items: Vec<Bytes>,
    /// Rounds of calls that have been run.
    pub rounds: u32,
    /// The model is to answer now, and call nothing more.
    pub last: bool,
}

impl ToolLoop {
    /// A loop of `max_rounds` that begins `now` and may take `total`.
    pub fn new(dialect: Dialect, max_rounds: u32, total: Duration, now: Instant) -> Self {
        Self {
            dialect,
            max_rounds,
            deadline: now + total,
            round: Round::default(),
            after: Continuation::default(),
            hidden: None,
        }
    }

    /// What the next leg goes on after.
    pub fn after(&self) -> &Continuation {
        &self.after
    }

    /// How long calls may still take.
    pub fn left(&self, now: Instant) -> Duration {
        self.deadline.saturating_duration_since(now)
    }

    /// What the client's next request does not tell: the rounds of an answer that ends with calls of
    /// the client's own.
    pub fn take_hidden(&mut self) -> Option<HiddenRound> {
        self.hidden.take()
    }

    /// A leg came to its end.
    pub fn leg_ended(&mut self, leg: Leg) -> Step {
        match leg {
            Leg::Complete => {
                if self.dialect != Dialect::Chat && !self.after.items.is_empty() {
                    // The client repeats what the model thought, and the upstream wants to see what
                    // it called upon that.
                    self.hidden = Some(HiddenRound {
                        before: std::mem::take(&mut self.after.items),
                        round: Round::default(),
                        results: Vec::new(),
                    });
                }
                Step::Finish
            }
            Leg::Calls(_) if self.after.last => Step::Fail(self.exhausted()),
            Leg::Calls(round) => {
                let calls = round.calls.clone();
                self.round = round;
                Step::Run(calls)
            }
            Leg::Truncated => Step::Fail(broken(
                "The upstream's answer ended within a call of the gateway's tools. Ask again.",
            )),
            Leg::Unreadable => Step::Fail(broken(
                "The upstream's answer holds a call of the gateway's tools and something that cannot be \
                 read, or is too large to be. Ask again, or for less at once.",
            )),
        }
    }

    /// The calls have been run: what each of them gave, in their order.
    pub fn ran(&mut self, results: &[String], now: Instant) -> Step {
        let round = std::mem::take(&mut self.round);
        self.after.rounds += 1;
        if !round.client_calls.is_empty() {
            self.hidden = Some(HiddenRound {
                before: std::mem::take(&mut self.after.items),
                round,
                results: results.to_vec(),
            });
            return Step::Finish;
        }
        let items = self.dialect.follow_up(&round, results);
        self.after.items.extend(items);
        self.after.last = self.after.rounds >= self.max_rounds || now >= self.deadline;
        Step::Ask
    }

    /// The model was asked to call nothing, and called a tool all the same.
    fn exhausted(&self) -> ApiError {
        let rounds = self.after.rounds;
        ApiError::bad_gateway(format!(
            "The model went on calling tools after {rounds} rounds, when it was to call none. \
             Raise `tools.max_rounds` or `tools.total_timeout`, or ask for less at once."
        ))
        .code("tool_rounds_exceeded")
    }
}

fn broken(message: &str) -> ApiError {
    ApiError::bad_gateway(message).code("upstream_error")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: Duration = Duration::from_secs(60);

    fn round(client_calls: &[&str]) -> Round {
        Round {
            calls: vec![Call {
                id: "call_1".into(),
                name: "calculator".into(),
                arguments: "{}".into(),
            }],
            client_calls: client_calls.iter().map(|id| (*id).to_owned()).collect(),
            said: vec![Bytes::from_static(b"{}")],
            ..Round::default()
        }
    }

    #[test]
    fn rounds_are_run_up_to_the_bound_and_the_last_leg_has_to_answer() {
        let now = Instant::now();
        let mut rounds = ToolLoop::new(Dialect::Chat, 2, TOTAL, now);
        for last in [false, true] {
            let step = rounds.leg_ended(Leg::Calls(round(&[])));
            assert_eq!(step, Step::Run(round(&[]).calls));
            assert_eq!(rounds.ran(&["1".into()], now), Step::Ask);
            assert_eq!(rounds.after().last, last);
        }
        let Step::Fail(error) = rounds.leg_ended(Leg::Calls(round(&[]))) else {
            panic!("it goes on for ever");
        };
        assert_eq!(error.code, Some("tool_rounds_exceeded"));
    }

    #[test]
    fn time_ends_the_rounds_too() {
        let now = Instant::now();
        let mut rounds = ToolLoop::new(Dialect::Chat, 8, TOTAL, now);
        rounds.leg_ended(Leg::Calls(round(&[])));
        assert_eq!(rounds.ran(&["1".into()], now + TOTAL), Step::Ask);
        assert!(rounds.after().last);
        assert_eq!(rounds.left(now + TOTAL), Duration::ZERO);
        assert_eq!(rounds.leg_ended(Leg::Complete), Step::Finish);
    }

    #[test]
    fn calls_of_both_sides_end_the_answer_and_leave_the_gateways_hidden() {
        let now = Instant::now();
        let mut rounds = ToolLoop::new(Dialect::Chat, 8, TOTAL, now);
        rounds.leg_ended(Leg::Calls(round(&[])));
        rounds.ran(&["1".into()], now);
        rounds.leg_ended(Leg::Calls(round(&["theirs"])));
        assert_eq!(rounds.ran(&["2".into()], now), Step::Finish);
        let hidden = rounds.take_hidden().expect("a hidden round");
        assert_eq!(hidden.before.len(), 2, "the first round");
        assert_eq!(hidden.results, ["2"]);
    }

    #[test]
    fn a_leg_that_broke_off_within_a_call_is_an_error() {
        for leg in [Leg::Truncated, Leg::Unreadable] {
            let mut rounds = ToolLoop::new(Dialect::Chat, 8, TOTAL, Instant::now());
            assert!(matches!(rounds.leg_ended(leg), Step::Fail(_)));
        }
    }
}
