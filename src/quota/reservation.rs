//! One request's place in its account.

use std::sync::Arc;

use super::{Account, Cost, Limit, Quota, Tokens};

/// What a request has reserved. Dropped without being settled, all of it goes back.
pub struct Reservation {
    pub(super) quota: Arc<Quota>,
    pub(super) account: Account,
    pub(super) model: String,
    /// 0 where nothing is reserved, since the key has no budgets.
    pub(super) id: u128,
    pub(super) limits: Arc<[Limit]>,
    /// What of the nearest budget of tokens is left beside what this request has reserved.
    pub(super) tokens_left: Option<u64>,
    /// What is charged where the upstream does not say what it used.
    pub(super) expected: Tokens,
    pub(super) settled: bool,
}

impl Reservation {
    /// The value of `x-yychat-budget-remaining`.
    pub fn tokens_left(&self) -> Option<u64> {
        self.tokens_left
    }

    /// Whether the key has budgets, so that usage must be known.
    pub fn needs_usage(&self) -> bool {
        !self.limits.is_empty()
    }

    /// What is charged where the upstream does not say what was used.
    pub fn expected(&self) -> Tokens {
        self.expected
    }

    /// Charges what was used and gives the rest back.
    pub fn settle(mut self, tokens: Tokens, micro_usd: u64) {
        self.settled = true;
        self.quota
            .means
            .note(&self.account, &self.model, tokens.output);
        let cost = Cost {
            tokens: tokens.total(),
            micro_usd,
        };
        self.end(cost);
    }

    fn end(&self, cost: Cost) {
        if self.id != 0 {
            self.quota
                .clone()
                .settle(self.account.clone(), self.id, (cost, self.limits.clone()));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.settled {
            self.end(Cost::default());
        }
    }
}
