//! The desk that decides: the shared store where there is one, this process where not.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::fleet::Fleet;
use super::means::Means;
use super::process::Process;
use super::refusal::{out_of_reach, over_budget, over_rate};
use super::{
    Account, Ask, Cost, Decision, LEASE, Ledger, Limit, Prices, Reservation, Settlement, Tokens,
};
use crate::config::model::{OnFailure, Rate};
use crate::dialect::believed;
use crate::error::ApiError;
use crate::shared::{Refusal, Store};
use crate::telemetry::Metrics;

/// How long a reservation stands that ends with this process at the latest.
const HELD: Duration = Duration::from_secs(24 * 3_600);
/// Decides what keys may still use.
pub struct Quota {
    process: Process,
    fleet: Option<Arc<Fleet>>,
    on_failure: OnFailure,
    pub(super) means: Means,
    ledger: Arc<Ledger>,
    pub(super) metrics: Arc<Metrics>,
    /// Does what no request waits for.
    runtime: Handle,
}

/// What an account used, and the budgets that it counts against.
pub type Charge = (Cost, Arc<[Limit]>);

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub model: &'a str,
    /// Bytes of what is sent.
    pub request_bytes: usize,
    /// The limit of output that the request sets for each answer.
    pub output_limit: Option<u64>,
    /// Answers that are asked for.
    pub answers: u64,
    /// Whether the answer is of tokens at all: embeddings are not.
    pub has_output: bool,
}

impl Default for Expected<'_> {
    /// Nothing.
    fn default() -> Self {
        Self {
            model: "",
            request_bytes: 0,
            output_limit: None,
            answers: 1,
            has_output: false,
        }
    }
}

/// Upstreams give no more answers to one request.
const MOST_ANSWERS: u64 = 128;
/// Bytes that a token of a request is thought to have.
const BYTES_A_TOKEN: u64 = 4;

impl Quota {
    /// Decides within this process.
    pub fn new(ledger: Arc<Ledger>, metrics: Arc<Metrics>, runtime: Handle) -> Self {
        Self {
            process: Process::default(),
            fleet: None,
            on_failure: OnFailure::Local,
            means: Means::default(),
            ledger,
            metrics,
            runtime,
        }
    }

    /// Decides through a store that gateways share, and as `on_failure` says while it is away.
    #[must_use]
    pub fn through(mut self, store: Arc<Store>, on_failure: OnFailure) -> Self {
        let fleet = Fleet::new(store, self.ledger.clone(), self.runtime.clone());
        self.fleet = Some(Arc::new(fleet));
        self.on_failure = on_failure;
        self
    }

    /// Whether rates hold over several gateways, so that they are decided here.
    pub fn is_shared(&self) -> bool {
        self.fleet.is_some()
    }

    /// What keys used.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Takes a request's rate and reserves what it may cost, or refuses it.
    ///
    /// # Errors
    ///
    /// 429 `rate_limit_exceeded` or `budget_exceeded`, with the time to wait; 503 where the shared
    /// store is away and `shared.on_failure` is `closed`.
    pub async fn admit(
        self: &Arc<Self>,
        account: Account,
        (rate, limits): (Option<Rate>, Arc<[Limit]>),
        prices: &Prices,
        expected: Expected<'_>,
    ) -> Result<Reservation, ApiError> {
        let rate = rate.filter(|_| self.is_shared());
        let tokens = self.tokens(&account, expected);
        let micro_usd = prices.cost(expected.model, tokens).unwrap_or_default();
        let mut reservation = Reservation {
            quota: self.clone(),
            account,
            model: expected.model.to_owned(),
            id: 0,
            limits,
            tokens_left: None,
            expected: tokens,
            settled: false,
        };
        if rate.is_none() && reservation.limits.is_empty() {
            return Ok(reservation);
        }
        let id = Uuid::new_v4().as_u128();
        let ask = Ask {
            account: &reservation.account,
            id,
            cost: Cost {
                tokens: tokens.total(),
                micro_usd,
            },
            lease: LEASE,
            rate,
            limits: &reservation.limits,
        };
        match self.decide(&ask).await? {
            Decision::Admitted { tokens_left } => {
                reservation.tokens_left = tokens_left;
                if !reservation.limits.is_empty() {
                    reservation.id = id;
                }
                Ok(reservation)
            }
            Decision::OverBudget(which) => {
                self.metrics.quota.budget_refused.inc();
                Err(over_budget(
                    &reservation.account,
                    &reservation.limits[which],
                ))
            }
            Decision::OverRate(wait) => Err(over_rate(&reservation.account, wait)),
            // `decide` seeds it.
            Decision::Unknown => Ok(reservation),
        }
    }

    fn tokens(&self, account: &Account, expected: Expected<'_>) -> Tokens {
        // A limit that nobody keeps is none.
        let output = match (
            expected.has_output,
            expected.output_limit.and_then(believed),
        ) {
            (false, _) => 0,
            (true, Some(limit)) => limit.saturating_mul(expected.answers.clamp(1, MOST_ANSWERS)),
            (true, None) => self.means.expect(account, expected.model),
        };
        Tokens {
            input: (expected.request_bytes as u64).div_ceil(BYTES_A_TOKEN),
            cached: 0,
            output,
        }
    }

    async fn decide(&self, ask: &Ask<'_>) -> Result<Decision, ApiError> {
        if let Some(fleet) = &self.fleet {
            if let Some(decision) = fleet.admit(ask).await {
                return Ok(decision);
            }
            match self.on_failure {
                OnFailure::Local => {}
                OnFailure::Open => return Ok(Decision::Admitted { tokens_left: None }),
                OnFailure::Closed => return Err(out_of_reach()),
            }
        }
        let ask = &Ask {
            lease: HELD,
            ..*ask
        };
        match self.process.admit(ask, Timestamp::now()) {
            Decision::Unknown => {
                let now = Timestamp::now();
                let spent = self.ledger.spent(ask.account, ask.limits, now).await;
                self.process.seed(ask.account, &spent, now);
                Ok(self.process.admit(ask, now))
            }
            decision => Ok(decision),
        }
    }

    /// Ends a reservation and charges what was used; nobody waits for it.
    pub(super) fn settle(self: Arc<Self>, account: Account, id: u128, charge: Charge) {
        let settlement = Settlement {
            account: &account,
            id,
            cost: charge.0,
            limits: &charge.1,
        };
        // Decided here, or unknown here: then it changes nothing.
        self.process.settle(&settlement, Timestamp::now());
        if let Some(fleet) = &self.fleet {
            fleet.settle(account, id, charge);
        }
    }

    /// Looks whether the shared store does what is asked of it.
    ///
    /// # Errors
    ///
    /// What it refuses, which waiting does not change.
    pub async fn greet(&self) -> Result<(), Refusal> {
        match &self.fleet {
            Some(fleet) => fleet.greet().await,
            None => Ok(()),
        }
    }

    /// Renews what is reserved in the shared store, and pays what is owed there, for as long as it
    /// is polled.
    pub async fn keep(self: Arc<Self>) {
        if let Some(fleet) = &self.fleet {
            // What was counted here lacks what the others used: it begins anew next time.
            fleet.keep(|| self.process.forget()).await;
        }
    }

    /// Waits until what was used is charged, within a bound: nothing more is.
    pub async fn finish(&self) {
        if let Some(fleet) = &self.fleet {
            fleet.finish().await;
        }
    }

    /// Why the shared store cannot be used at present, where there is one.
    pub fn trouble(&self) -> Option<&'static str> {
        let fleet = self.fleet.as_ref()?;
        (!fleet.is_up()).then_some("the shared store is out of reach")
    }
}
