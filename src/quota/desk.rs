//! The desk that decides: the shared store where there is one, this process where not.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::runtime::Handle;
use tokio::time::timeout;
use uuid::Uuid;

use super::breaker::Breaker;
use super::means::Means;
use super::process::Process;
use super::refusal::{out_of_reach, over_budget, over_rate};
use super::valkey::{Settled, Valkey};
use super::{
    Account, Ask, Cost, Decision, LEASE, Ledger, Limit, Prices, Reservation, Settlement, Tokens,
};
use crate::config::model::{OnFailure, Rate};
use crate::error::ApiError;
use crate::telemetry::Metrics;

/// How long a reservation stands that ends with this process at the latest.
const HELD: Duration = Duration::from_secs(24 * 3_600);
/// How often live reservations are renewed.
const RENEWED: Duration = LEASE.checked_div(3).expect("a third of a minute");
/// How long settling and renewing may take: no request waits for them.
const BEHIND: Duration = Duration::from_secs(2);

/// Decides what keys may still use.
pub struct Quota {
    process: Process,
    shared: Option<Shared>,
    pub(super) means: Means,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    /// Reservations in the shared store, which live as long as their requests.
    live: Mutex<HashMap<u128, Account>>,
    /// What was used while the shared store was away, by account.
    owed: Mutex<HashMap<Account, Charge>>,
    /// Does what no request waits for.
    runtime: Handle,
}

/// What an account used, and the budgets that it counts against.
type Charge = (Cost, Arc<[Limit]>);

struct Shared {
    url: SecretString,
    /// Made within the runtime that uses it.
    valkey: OnceLock<Option<Valkey>>,
    deadline: Duration,
    on_failure: OnFailure,
    breaker: Breaker,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub model: &'a str,
    /// Bytes of what is sent.
    pub request_bytes: usize,
    /// The limit of output that the request sets.
    pub output_limit: Option<u64>,
    /// Whether the answer is of tokens at all: embeddings are not.
    pub has_output: bool,
}

/// Bytes that a token of a request is thought to have.
const BYTES_A_TOKEN: u64 = 4;

impl Quota {
    /// Decides within this process.
    pub fn new(ledger: Arc<Ledger>, metrics: Arc<Metrics>, runtime: Handle) -> Self {
        Self {
            process: Process::default(),
            shared: None,
            means: Means::default(),
            ledger,
            metrics,
            live: Mutex::default(),
            owed: Mutex::default(),
            runtime,
        }
    }

    /// Decides through the store at `url`, and as `on_failure` says while it is away.
    #[must_use]
    pub fn through(mut self, url: SecretString, deadline: Duration, on_failure: OnFailure) -> Self {
        self.shared = Some(Shared {
            url,
            valkey: OnceLock::new(),
            deadline,
            on_failure,
            breaker: Breaker::default(),
        });
        self.metrics.quota.shared_up.set(1);
        self
    }

    /// Whether rates hold over several gateways, so that they are decided here.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
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
        let output = match (expected.has_output, expected.output_limit) {
            (false, _) => 0,
            (true, Some(limit)) => limit,
            (true, None) => self.means.expect(account, expected.model),
        };
        Tokens {
            input: (expected.request_bytes as u64).div_ceil(BYTES_A_TOKEN),
            cached: 0,
            output,
        }
    }

    async fn decide(self: &Arc<Self>, ask: &Ask<'_>) -> Result<Decision, ApiError> {
        if let Some(shared) = &self.shared {
            match self.ask_shared(shared, ask).await {
                Some(decision) => return Ok(decision),
                None => self.metrics.quota.shared_fallback.inc(),
            }
            match shared.on_failure {
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
                let spent = self.ledger.spent(ask.account, ask.limits).await;
                let now = Timestamp::now();
                self.process.seed(ask.account, &spent, now);
                Ok(self.process.admit(ask, now))
            }
            decision => Ok(decision),
        }
    }

    /// What the shared store says; `None` where it cannot say it in time.
    async fn ask_shared(self: &Arc<Self>, shared: &Shared, ask: &Ask<'_>) -> Option<Decision> {
        if !shared.breaker.lets_through(Instant::now()) {
            return None;
        }
        let valkey = shared.valkey()?;
        match timeout(shared.deadline, valkey.admit(ask)).await {
            Ok(Ok(Decision::Unknown)) => {
                self.answered(shared);
                self.seed(shared, ask).await
            }
            Ok(Ok(decision)) => {
                self.answered(shared);
                if matches!(decision, Decision::Admitted { .. }) && !ask.limits.is_empty() {
                    self.live.lock().insert(ask.id, ask.account.clone());
                }
                Some(decision)
            }
            Ok(Err(error)) => {
                self.failed(shared, &error.to_string());
                None
            }
            Err(_) => {
                self.failed(shared, "no answer in time");
                None
            }
        }
    }

    /// Begins an account in the shared store from the ledger, and asks again; where that takes
    /// longer than a request waits, it goes on behind it.
    async fn seed(self: &Arc<Self>, shared: &Shared, ask: &Ask<'_>) -> Option<Decision> {
        let (quota, account, limits) = (self.clone(), ask.account.clone(), ask.limits.to_vec());
        let seeding = self.runtime.spawn(async move {
            let spent = quota.ledger.spent(&account, &limits).await;
            // The ledger has what was used meanwhile, too.
            quota.owed.lock().remove(&account);
            let valkey = quota.shared.as_ref().and_then(Shared::valkey)?;
            valkey.seed(&account, &spent).await.ok()
        });
        timeout(shared.deadline, seeding).await.ok()?.ok()??;
        let valkey = shared.valkey()?;
        match timeout(shared.deadline, valkey.admit(ask)).await {
            Ok(Ok(Decision::Unknown)) | Ok(Err(_)) | Err(_) => None,
            Ok(Ok(decision)) => {
                if matches!(decision, Decision::Admitted { .. }) && !ask.limits.is_empty() {
                    self.live.lock().insert(ask.id, ask.account.clone());
                }
                Some(decision)
            }
        }
    }

    /// Ends a reservation and charges what was used; nobody waits for it.
    pub(super) fn settle(self: Arc<Self>, account: Account, id: u128, (cost, limits): Charge) {
        let settlement = Settlement {
            account: &account,
            id,
            cost,
            limits: &limits,
        };
        // Decided here, or unknown here: then it changes nothing.
        self.process.settle(&settlement, Timestamp::now());
        if self.shared.is_none() {
            return;
        }
        let was_shared = self.live.lock().remove(&id).is_some();
        let quota = self.clone();
        self.runtime.spawn(async move {
            let id = if was_shared { id } else { 0 };
            quota.charge(account, id, (cost, limits)).await;
        });
    }

    /// Charges an account in the shared store; what cannot be charged now is owed.
    async fn charge(&self, account: Account, id: u128, (cost, limits): Charge) {
        let Some(shared) = &self.shared else { return };
        let settlement = Settlement {
            account: &account,
            id,
            cost,
            limits: &limits,
        };
        if shared.breaker.is_closed()
            && let Some(valkey) = shared.valkey()
        {
            match timeout(BEHIND, valkey.settle(&settlement)).await {
                // An account that is unknown is seeded from the ledger, cost included.
                Ok(Ok(Settled::Charged | Settled::Unknown)) => return,
                Ok(Err(error)) => self.failed(shared, &error.to_string()),
                Err(_) => self.failed(shared, "no answer in time"),
            }
        }
        if cost != Cost::default() {
            let mut owed = self.owed.lock();
            let (sum, _) = owed
                .entry(account)
                .or_insert_with(|| (Cost::default(), limits));
            *sum = sum.plus(cost);
        }
    }

    fn answered(self: &Arc<Self>, shared: &Shared) {
        if shared.breaker.answered() {
            tracing::info!("shared store is back");
            self.metrics.quota.shared_up.set(1);
            self.pay();
        }
    }

    /// Charges what was used while the shared store was away.
    fn pay(self: &Arc<Self>) {
        let owed = std::mem::take(&mut *self.owed.lock());
        let quota = self.clone();
        self.runtime.spawn(async move {
            for (account, owed) in owed {
                quota.charge(account, 0, owed).await;
            }
        });
    }

    fn failed(&self, shared: &Shared, why: &str) {
        if shared.breaker.failed(Instant::now()) {
            tracing::error!(why, "shared store is out of reach");
        }
        self.metrics.quota.shared_up.set(0);
    }

    /// Asks the shared store whether it is there, and says so where it is not.
    pub async fn greet(&self) {
        let Some(shared) = &self.shared else { return };
        let Some(valkey) = shared.valkey() else {
            return;
        };
        match timeout(BEHIND, valkey.ping()).await {
            Ok(Ok(())) => tracing::info!("shared store reached"),
            Ok(Err(error)) => self.failed(shared, &error.to_string()),
            Err(_) => self.failed(shared, "no answer in time"),
        }
    }

    /// Renews what is reserved in the shared store, for as long as it is polled.
    pub async fn keep(self: Arc<Self>) {
        let Some(shared) = &self.shared else { return };
        loop {
            tokio::time::sleep(RENEWED).await;
            let live: Vec<_> = {
                let live = self.live.lock();
                live.iter()
                    .map(|(id, account)| (*id, account.clone()))
                    .collect()
            };
            for (id, account) in live {
                let Some(valkey) = shared.valkey().filter(|_| shared.breaker.is_closed()) else {
                    break;
                };
                if let Err(error) = valkey.renew(&account, id, LEASE).await {
                    self.failed(shared, &error.to_string());
                    break;
                }
            }
        }
    }

    /// Why the shared store cannot be used at present, where there is one.
    pub fn trouble(&self) -> Option<&'static str> {
        let shared = self.shared.as_ref()?;
        (!shared.breaker.is_closed()).then_some("the shared store is out of reach")
    }
}

impl Shared {
    fn valkey(&self) -> Option<&Valkey> {
        let made = self.valkey.get_or_init(|| {
            Valkey::new(&self.url, self.deadline.max(BEHIND))
                .inspect_err(|error| tracing::error!(%error, "shared.url cannot be used"))
                .ok()
        });
        made.as_ref()
    }
}
