//! `auth.keys.budgets`.

use std::num::NonZeroU64;

use crate::config::check::Check;
use crate::config::model::{Allowance, Budget, Period};
use crate::config::raw;

/// What a budget may be at most: more tokens and dollars than there are.
const MOST_TOKENS: u64 = 1_000_000_000_000_000;
const MOST_DOLLARS: f64 = 1e9;

pub(super) fn budgets(key: &str, raw: &[raw::Budget], check: &mut Check<'_>) -> Vec<Budget> {
    let budgets = raw.iter().enumerate();
    let budgets = budgets.filter_map(|(index, raw)| budget(&format!("{key}.{index}"), raw, check));
    budgets.collect()
}

/// `None` goes with a fault.
fn budget(key: &str, raw: &raw::Budget, check: &mut Check<'_>) -> Option<Budget> {
    let allowance = match (raw.tokens, raw.usd) {
        (Some(tokens), None) => {
            let key = format!("{key}.tokens");
            let tokens = check.number(&key, tokens, 1..=MOST_TOKENS);
            NonZeroU64::new(tokens).map(Allowance::Tokens)
        }
        (None, Some(usd)) if usd > 0.0 && usd <= MOST_DOLLARS => Some(Allowance::Usd(usd)),
        (None, Some(usd)) => {
            check.fault(
                &format!("{key}.usd"),
                format!("is {usd}, out of range"),
                format!("give more than 0 and at most {MOST_DOLLARS} dollars"),
            );
            None
        }
        _ => {
            if !check.places.has_fault_in(key) {
                check.fault(
                    key,
                    "is not one of tokens or of dollars",
                    "write it as in `{ tokens = 2_000_000, per = \"day\" }` or \
                     `{ usd = 50, per = \"month\" }`",
                );
            }
            None
        }
    };
    let per = check.choice(
        &format!("{key}.per"),
        &raw.per,
        [
            ("minute", Period::Minute),
            ("hour", Period::Hour),
            ("day", Period::Day),
            ("month", Period::Month),
        ],
    );
    Some(Budget {
        allowance: allowance?,
        per,
    })
}
