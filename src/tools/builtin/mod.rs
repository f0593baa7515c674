//! The tools that are functions of this program: pure, and told the time.

mod calculator;
mod gettime;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::call::{Failure, Outcome};
use super::manifest::{Section, Source};
use super::nearest;
use gettime::Clock;

/// One of them, with what its plugin configures.
#[derive(Debug, Clone)]
pub(super) enum Builtin {
    Calculator,
    GetTime(Clock),
}

const NAMES: [&str; 2] = ["calculator", "gettime"];

impl Builtin {
    /// The function of that name, with the plugin's `[config]`.
    pub fn read(
        source: &Source<'_>,
        name: &str,
        at: usize,
        config: Option<&mut Section<'_>>,
    ) -> Option<Self> {
        match name {
            "calculator" => Some(Self::Calculator),
            "gettime" => Some(Self::GetTime(Clock::read(config))),
            "" => None,
            other => {
                let mend = match nearest(other, NAMES.into_iter()) {
                    Some(name) => format!("did you mean \"{name}\"?"),
                    None => format!("there are: {}", NAMES.join(", ")),
                };
                source.fault(at, format!("there is no builtin tool {other:?}"), mend);
                None
            }
        }
    }

    /// Computes the answer.
    pub fn call(&self, arguments: &Map<String, Value>) -> Result<String, Failure> {
        let answer = match self {
            Self::Calculator => calculator::calculate(arguments),
            Self::GetTime(clock) => clock.tell(arguments, Timestamp::now()),
        };
        let answer = answer.map_err(|why| Failure::new(Outcome::InvalidArguments, why))?;
        Ok(answer.to_string())
    }
}
