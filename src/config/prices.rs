//! `prices.toml`: what a model's tokens cost.
//!
//! ```toml
//! [[prices]]
//! model = "gpt-4o*"       # a glob; the first that matches counts
//! input = 2.50            # dollars a million tokens
//! cached_input = 1.25     # absent: as input
//! output = 10.00
//! ```

use std::path::Path;

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use crate::error::{Fault, Faults};
use crate::reading::Reading;

/// Dollars that nobody asks for a million tokens: such a price is a slip of the pen.
const MOST: f64 = 100_000.0;

/// The prices of all models, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Prices(Vec<Price>);

#[derive(Debug, Clone)]
struct Price {
    model: GlobMatcher,
    input: f64,
    cached_input: f64,
    output: f64,
}

/// What an answer used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Of the request, the cached ones included.
    pub input: u64,
    /// Those of the input that the upstream had cached.
    pub cached: u64,
    pub output: u64,
}

impl Tokens {
    /// All that count against a budget of tokens.
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    prices: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    model: String,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
}

impl Prices {
    /// Reads `file`; where there is none, there are no prices.
    ///
    /// # Errors
    ///
    /// A fault for each row that cannot be a price, with its place.
    pub fn load(file: &Path, reading: &Reading) -> Result<Self, Faults> {
        let text = reading.optional(file);
        match text.map_err(|unread| unread.fault(file))? {
            Some(text) => Self::parse(file, &text),
            None => Ok(Self::default()),
        }
    }

    /// Reads the text of `file`.
    ///
    /// # Errors
    ///
    /// A fault for each row that cannot be a price, with its place.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let read: File = match toml::from_str(text) {
            Ok(read) => read,
            Err(error) => {
                let what = error.message().to_owned();
                let mend = "each [[prices]] has `model`, `input`, `output` and, if you like, \
                            `cached_input`, in dollars a million tokens";
                let fault = Fault::new(file, what, mend);
                let line = error
                    .span()
                    .map(|span| text[..span.start].matches('\n').count() + 1);
                faults.push(match line {
                    Some(line) => fault.at_line(line),
                    None => fault,
                });
                return Err(faults);
            }
        };
        let mut prices = Vec::with_capacity(read.prices.len());
        for row in &read.prices {
            match price(row) {
                Ok(price) => prices.push(price),
                Err((what, mend)) => {
                    let what = format!("the price of `{}`: {what}", row.model);
                    faults.push(Fault::new(file, what, mend));
                }
            }
        }
        match faults.0.is_empty() {
            true => Ok(Self(prices)),
            false => Err(faults),
        }
    }

    /// What `tokens` of `model` cost, in millionths of a dollar; `None` where it has no price.
    pub fn cost(&self, model: &str, tokens: Tokens) -> Option<u64> {
        let price = self.0.iter().find(|price| price.model.is_match(model))?;
        let cached = tokens.cached.min(tokens.input);
        // Dollars a million tokens are millionths of a dollar a token.
        let micro = count(tokens.input - cached) * price.input
            + count(cached) * price.cached_input
            + count(tokens.output) * price.output;
        Some(rounded(micro))
    }

    /// Whether one names the model in full.
    pub fn names(&self, model: &str) -> bool {
        self.0
            .iter()
            .any(|price| price.model.glob().glob() == model)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn price(row: &Row) -> Result<Price, (String, &'static str)> {
    for (name, dollars) in [
        ("input", Some(row.input)),
        ("cached_input", row.cached_input),
        ("output", Some(row.output)),
    ] {
        if dollars.is_some_and(|dollars| !(0.0..=MOST).contains(&dollars)) {
            let what = format!("`{name}` is no price");
            return Err((what, "give dollars a million tokens, such as 2.50"));
        }
    }
    let model = Glob::new(&row.model).map_err(|error| {
        let what = format!("`model` is no glob: {}", error.kind());
        (what, "name a model, or a pattern such as \"gpt-4o*\"")
    })?;
    Ok(Price {
        model: model.compile_matcher(),
        input: row.input,
        cached_input: row.cached_input.unwrap_or(row.input),
        output: row.output,
    })
}

/// Within 2^53 exactly; no answer has so many tokens.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prices and counts are not negative, and a float that is too large becomes the largest"
)]
fn rounded(micro: f64) -> u64 {
    micro.ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prices(text: &str) -> Result<Prices, Faults> {
        Prices::parse(Path::new("prices.toml"), text)
    }

    #[test]
    fn the_first_pattern_that_matches_is_the_price_and_cached_tokens_have_their_own() {
        let prices = prices(
            "[[prices]]\nmodel = \"gpt-4o-mini\"\ninput = 1\noutput = 2\n\
             [[prices]]\nmodel = \"gpt-*\"\ninput = 2.5\ncached_input = 1.25\noutput = 10\n",
        )
        .expect("prices");
        let tokens = Tokens {
            input: 1_000,
            cached: 400,
            output: 100,
        };
        assert_eq!(prices.cost("gpt-4o-mini", tokens), Some(1_200));
        assert_eq!(prices.cost("gpt-4o", tokens), Some(1_500 + 500 + 1_000));
        assert_eq!(prices.cost("llama", tokens), None);
        let odd = Tokens {
            input: 1,
            cached: 5,
            output: 0,
        };
        assert_eq!(prices.cost("gpt-4o", odd), Some(2));
    }

    #[test]
    fn what_is_no_price_is_a_fault_that_names_it() {
        for (text, said) in [
            (
                "[[prices]]\nmodel = \"a\"\ninput = -1\noutput = 2\n",
                "`input` is no price",
            ),
            (
                "[[prices]]\nmodel = \"a[\"\ninput = 1\noutput = 2\n",
                "no glob",
            ),
            (
                "[[prices]]\nmodel = \"a\"\ninput = 1\noutput = nan\n",
                "`output` is no price",
            ),
            ("[[prices]]\nmodel = \"a\"\ninput = 1\n", "output"),
            (
                "[[prices]]\nmodel = \"a\"\ninput = 1\noutput = 1\nper = 3\n",
                "per",
            ),
        ] {
            let faults = prices(text).expect_err(text);
            assert!(faults.to_string().contains(said), "{faults}");
        }
    }
}
