//! The phase ledger: where each microsecond of a request went.
//!
//! Exactly one phase is running at any time, so phases cannot overlap and their sum is the wall
//! time by construction. What no phase claims is [`Phase::Other`].

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

/// The phases of a request, in the order in which it meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Phase {
    /// Reading the request body from the client.
    ReadBody,
    /// Choosing and assembling the personality.
    Personality,
    /// Recalling memory.
    Memory,
    /// Choosing tool schemas.
    Tools,
    /// Splicing the body.
    Compose,
    /// Connecting to the upstream and sending the request.
    UpstreamConnect,
    /// Waiting for the upstream's response header.
    UpstreamTtfb,
    /// From the first response byte to the last.
    Stream,
    /// Running tools that the gateway owns.
    ToolExecution,
    /// All else.
    Other,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Phase; 10] = [
        Phase::ReadBody,
        Phase::Personality,
        Phase::Memory,
        Phase::Tools,
        Phase::Compose,
        Phase::UpstreamConnect,
        Phase::UpstreamTtfb,
        Phase::Stream,
        Phase::ToolExecution,
        Phase::Other,
    ];

    /// The name in metrics, `Server-Timing` and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::ReadBody => "read_body",
            Phase::Personality => "personality",
            Phase::Memory => "memory",
            Phase::Tools => "tools",
            Phase::Compose => "compose",
            Phase::UpstreamConnect => "upstream_connect",
            Phase::UpstreamTtfb => "upstream_ttfb",
            Phase::Stream => "stream",
            Phase::ToolExecution => "tool_execution",
            Phase::Other => "other",
        }
    }

    /// Whether the time is the gateway's own, neither the upstream's nor the client's.
    const fn is_overhead(self) -> bool {
        matches!(
            self,
            Phase::Personality | Phase::Memory | Phase::Tools | Phase::Compose | Phase::Other
        )
    }
}

/// Time by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent([u64; Phase::ALL.len()]);

impl Spent {
    /// The phases in order, each with its nanoseconds.
    fn all(&self) -> impl Iterator<Item = (Phase, u64)> {
        Phase::ALL.into_iter().zip(self.0)
    }

    /// Those of them that took time.
    fn entered(&self) -> impl Iterator<Item = (Phase, u64)> {
        self.all().filter(|&(_, nanos)| nanos > 0)
    }

    /// Seconds spent in `phase`.
    pub fn seconds(&self, phase: Phase) -> f64 {
        Duration::from_nanos(self.0[phase as usize]).as_secs_f64()
    }

    /// The phases that took time, in order, with their seconds.
    pub fn phases(&self) -> impl Iterator<Item = (Phase, f64)> {
        self.entered()
            .map(|(phase, _)| (phase, self.seconds(phase)))
    }

    /// Time that was neither the upstream's nor the client's.
    pub fn overhead(&self) -> Duration {
        let overhead = self.all().filter(|(phase, _)| phase.is_overhead());
        Duration::from_nanos(overhead.map(|(_, nanos)| nanos).sum())
    }

    /// The value of a `Server-Timing` header: each phase with its milliseconds.
    pub fn server_timing(&self) -> String {
        let mut value = String::with_capacity(256);
        for (phase, nanos) in self.entered() {
            if !value.is_empty() {
                value.push_str(", ");
            }
            value.push_str(phase.name());
            value.push_str(";dur=");
            push_thousandths(&mut value, nanos / 1000);
        }
        value
    }
}

/// Seconds by name, of the phases that took time.
impl Serialize for Spent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.phases().map(|(phase, spent)| (phase.name(), spent)))
    }
}

/// One request's ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    started: Instant,
    entered: Instant,
    running: Phase,
    spent: Spent,
    first_chunk: Option<Duration>,
    /// When each phase ran, where that is kept.
    intervals: Option<Vec<Interval>>,
}

/// One run of a phase, counted from the request's first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub phase: Phase,
    pub began: Duration,
    pub ended: Duration,
}

/// Intervals that are kept at most: a dozen are usual, and each round of tools adds six.
const MOST_INTERVALS: usize = 256;

impl Ledger {
    /// Begins at `started`, the arrival of the request's first byte, in [`Phase::Other`].
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            entered: started,
            running: Phase::Other,
            spent: Spent::default(),
            first_chunk: None,
            intervals: None,
        }
    }

    /// Keeps from here on when each phase runs, not its sum alone.
    pub fn keep_intervals(&mut self) {
        self.intervals = Some(Vec::with_capacity(16));
    }

    /// The intervals that were kept.
    pub fn take_intervals(&mut self) -> Vec<Interval> {
        self.intervals.take().unwrap_or_default()
    }

    /// Ends the running phase and begins `phase`; one that is running goes on.
    pub fn enter(&mut self, phase: Phase) {
        if phase != self.running {
            self.bring_up(phase);
        }
    }

    /// Ends the ledger: what follows is of no phase.
    pub fn end(&mut self) {
        self.bring_up(Phase::Other);
    }

    /// Brings the running phase up to now, and begins `phase`.
    fn bring_up(&mut self, phase: Phase) {
        if cfg!(feature = "blind") {
            return;
        }
        let now = Instant::now();
        let spent = now.saturating_duration_since(self.entered).as_nanos();
        // 584 years in nanoseconds.
        self.spent.0[self.running as usize] += u64::try_from(spent).unwrap_or(u64::MAX);
        if let Some(intervals) = &mut self.intervals {
            let since = |at: Instant| at.saturating_duration_since(self.started);
            let interval = Interval {
                phase: self.running,
                began: since(self.entered),
                ended: since(now),
            };
            let has_room = intervals.len() < MOST_INTERVALS;
            match intervals.last_mut() {
                Some(last) if last.phase == self.running => last.ended = interval.ended,
                _ if has_room => intervals.push(interval),
                _ => {}
            }
        }
        self.entered = now;
        self.running = phase;
    }

    /// Marks the first response byte handed to the client; later calls change nothing.
    pub fn mark_first_chunk(&mut self) {
        if self.first_chunk.is_none() && !cfg!(feature = "blind") {
            self.first_chunk = Some(self.started.elapsed());
        }
    }

    /// From the request's first byte to the first response byte handed to the client.
    pub fn first_chunk(&self) -> Option<Duration> {
        self.first_chunk
    }

    /// Time by phase so far, not counting the one that still runs.
    pub fn spent(&self) -> &Spent {
        &self.spent
    }

    /// Wall time up to the last change of phase, by the clock and not by adding phases up.
    pub fn total(&self) -> Duration {
        self.entered.saturating_duration_since(self.started)
    }
}

/// Writes a number that has three decimals, at a fraction of what printing a float costs.
pub(super) fn push_thousandths(out: &mut String, thousandths: u64) {
    let mut digits = itoa::Buffer::new();
    if thousandths < 1000 {
        // A thousand more, so that leading zeros are digits.
        out.push_str("0.");
        return out.push_str(&digits.format(1000 + thousandths)[1..]);
    }
    let digits = digits.format(thousandths);
    let (whole, rest) = digits.split_at(digits.len() - 3);
    out.push_str(whole);
    out.push('.');
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_sum_to_the_wall_time() {
        let started = Instant::now();
        let mut ledger = Ledger::new(started);
        for phase in Phase::ALL {
            ledger.enter(phase);
        }
        ledger.end();
        let sum: u64 = ledger.spent.0.iter().sum();
        assert_eq!(Duration::from_nanos(sum), ledger.total());
        assert!(!ledger.total().is_zero());
    }

    #[test]
    fn intervals_follow_each_other_up_to_a_bound() {
        let mut ledger = Ledger::new(Instant::now());
        ledger.keep_intervals();
        for phase in [Phase::Stream, Phase::Stream, Phase::Other] {
            ledger.enter(phase);
        }
        ledger.end();
        let kept = ledger.intervals.clone().expect("kept");
        let phases: Vec<_> = kept.iter().map(|interval| interval.phase).collect();
        assert_eq!(phases, [Phase::Other, Phase::Stream, Phase::Other]);
        assert_eq!(kept[0].ended, kept[1].began);
        assert_eq!(kept[2].ended, ledger.total());
        for _ in 0..MOST_INTERVALS {
            ledger.enter(Phase::Compose);
            ledger.enter(Phase::Other);
        }
        assert_eq!(ledger.take_intervals().len(), MOST_INTERVALS);
        assert_eq!(ledger.take_intervals(), []);
    }

    #[test]
    fn server_timing_names_only_what_was_spent() {
        let mut spent = Spent::default();
        spent.0[Phase::Compose as usize] = 1_500_000;
        spent.0[Phase::Memory as usize] = 250_999;
        spent.0[Phase::Stream as usize] = 12_000_000_000;
        assert_eq!(
            spent.server_timing(),
            "memory;dur=0.250, compose;dur=1.500, stream;dur=12000.000"
        );
        assert_eq!(spent.overhead(), Duration::from_nanos(1_750_999));
    }
}
