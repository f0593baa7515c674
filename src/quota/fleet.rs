//! Accounts of a fleet, as one of its gateways sees them: asked for within a request's time, charged
//! behind it, and made whole when the store has been away.
//!
//! What is used while the store is away is owed, and charged when it is back. An account that began
//! anew meanwhile has it from the ledger already, as far as the ledger goes: so a debt names the
//! account as it was `born`. Some time after that, when every gateway has paid, accounts that have
//! lost writes are raised to what the ledger says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;

use super::desk::Charge;
use super::valkey::{Born, Seeding, Settled, Valkey};
use super::{Account, Ask, Cost, Decision, LEASE, Ledger, Limit, Settlement};
use crate::shared::{BEHIND, Refusal, Store};

/// How often live reservations are renewed.
const RENEWED: Duration = LEASE.checked_div(3).expect("a third of a minute");
/// After the store came back, when accounts are raised: once every gateway has seen that and paid, which
/// takes longer than any of them waits before it looks again and than usage waits for the ledger; and
/// again when it may be quieter, since of what others use at that moment the ledger knows nothing yet.
const RAISED: [Duration; 3] = [
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(300),
];
/// Born when nobody knows: as no account is.
const NEVER: &str = "0";

/// The accounts.
pub struct Fleet {
    store: Arc<Store>,
    valkey: Valkey,
    ledger: Arc<Ledger>,
    /// Reservations in the store, which live as long as their requests.
    live: Mutex<HashMap<u128, (Account, Cost)>>,
    /// The accounts that were asked for, as they were last seen.
    known: Mutex<HashMap<Account, Known>>,
    /// What was used while the store was away.
    owed: Mutex<HashMap<Account, Debt>>,
    /// What is on its way there. The ledger may have it already.
    charging: Mutex<HashMap<Account, Cost>>,
    /// Settlements that nobody waits for but the end.
    settling: TaskTracker,
    runtime: Handle,
}

struct Known {
    born: Born,
    limits: Arc<[Limit]>,
}

struct Debt {
    charge: Charge,
    /// As the account was when it was incurred.
    born: Born,
}

impl Fleet {
    pub fn new(store: Arc<Store>, ledger: Arc<Ledger>, runtime: Handle) -> Self {
        Self {
            store,
            valkey: Valkey::default(),
            ledger,
            live: Mutex::default(),
            known: Mutex::default(),
            owed: Mutex::default(),
            charging: Mutex::default(),
            settling: TaskTracker::new(),
            runtime,
        }
    }

    pub fn is_up(&self) -> bool {
        self.store.is_up()
    }

    pub async fn greet(&self) -> Result<(), Refusal> {
        self.store
            .greet(self.valkey.try_out(self.store.link()))
            .await
    }

    /// What the store says; `None` where it cannot say it in time.
    pub async fn admit(self: &Arc<Self>, ask: &Ask<'_>) -> Option<Decision> {
        match self.ask(ask).await? {
            Decision::Unknown => {
                self.begin(ask).await?;
                let again = self.ask(ask).await?;
                (again != Decision::Unknown).then_some(again)
            }
            decision => Some(decision),
        }
    }

    async fn ask(&self, ask: &Ask<'_>) -> Option<Decision> {
        let asking = self.valkey.admit(self.store.link(), ask);
        let (decision, born) = self.store.ask(asking).await?;
        if let Some(born) = born {
            self.know(ask.account, born, ask.limits);
        }
        if matches!(decision, Decision::Admitted { .. }) && !ask.limits.is_empty() {
            let held = (ask.account.clone(), ask.cost);
            self.live.lock().insert(ask.id, held);
        }
        Some(decision)
    }

    /// Begins an account from the ledger. Where that takes longer than a request waits, it goes on
    /// behind it.
    async fn begin(self: &Arc<Self>, ask: &Ask<'_>) -> Option<()> {
        let (fleet, account, limits) = (self.clone(), ask.account.clone(), ask.limits.to_vec());
        let beginning = self
            .runtime
            .spawn(async move { fleet.seed((&account, Seeding::Begin), limits.into()).await });
        timeout(self.store.deadline(), beginning).await.ok()?.ok()?
    }

    async fn seed(
        &self,
        (account, seeding): (&Account, Seeding),
        limits: Arc<[Limit]>,
    ) -> Option<()> {
        let link = self.store.link();
        // Its clock says which window it is.
        let now = self.store.later(self.valkey.now(link)).await?;
        let mut spent = self.ledger.spent(account, &limits, now).await;
        // After the ledger was read: what is on its way was noted there before it went, if at all.
        let charging = self.charging.lock().get(account).copied();
        for spent in &mut spent {
            let on_its_way = charging.unwrap_or_default().of(spent.unit);
            spent.amount = spent.amount.saturating_sub(on_its_way);
        }
        let seeding = self.valkey.seed(link, (account, seeding), &spent, now);
        let born = self.store.later(seeding).await?;
        self.know(account, born, &limits);
        Some(())
    }

    /// Ends a reservation and charges what was used; nobody waits for it. It is to be noted in the
    /// ledger after this.
    pub fn settle(self: &Arc<Self>, account: Account, id: u128, charge: Charge) {
        let cost = charge.0;
        self.add_charging(&account, |known| known.plus(cost));
        let fleet = self.clone();
        let settling = async move {
            fleet.settle_now(account.clone(), id, charge).await;
            fleet.add_charging(&account, |known| known.less(cost));
        };
        self.settling.spawn_on(settling, &self.runtime);
    }

    fn add_charging(&self, account: &Account, change: impl FnOnce(Cost) -> Cost) {
        let mut charging = self.charging.lock();
        let known = charging.entry(account.clone()).or_default();
        *known = change(*known);
        if *known == Cost::default() {
            charging.remove(account);
        }
    }

    /// Waits until all is settled, or that has taken too long.
    pub async fn finish(&self) {
        self.settling.close();
        if timeout(BEHIND, self.settling.wait()).await.is_err() {
            tracing::warn!(
                "not all that was used is charged in the shared store; the ledger has it"
            );
        }
    }

    /// What cannot be charged now is owed.
    async fn settle_now(&self, account: Account, id: u128, charge: Charge) {
        let was_shared = self.live.lock().remove(&id).is_some();
        let settlement = Settlement {
            account: &account,
            id: if was_shared { id } else { 0 },
            cost: charge.0,
            limits: &charge.1,
        };
        if !self.charge(&settlement, None).await && charge.0 != Cost::default() {
            self.owe(account, charge);
        }
    }

    async fn charge(&self, settlement: &Settlement<'_>, born: Option<&str>) -> bool {
        let charging = self.valkey.settle(self.store.link(), settlement, born);
        match self.store.later(charging).await {
            Some(Settled::Charged(born)) => {
                self.know(settlement.account, born, settlement.limits);
                true
            }
            // It is seeded from the ledger, cost included.
            Some(Settled::Unknown) => true,
            None => false,
        }
    }

    fn owe(&self, account: Account, (cost, limits): Charge) {
        let born = self.known.lock().get(&account).map(|it| it.born.clone());
        let mut owed = self.owed.lock();
        let debt = owed.entry(account).or_insert_with(|| Debt {
            charge: (Cost::default(), limits),
            born: born.unwrap_or_else(|| NEVER.to_owned()),
        });
        debt.charge.0 = debt.charge.0.plus(cost);
    }

    /// Charges what was used while the store was away.
    async fn pay(&self) {
        let owed = std::mem::take(&mut *self.owed.lock());
        for (account, debt) in owed {
            let settlement = Settlement {
                account: &account,
                id: 0,
                cost: debt.charge.0,
                limits: &debt.charge.1,
            };
            // A ledger of this gateway's own tells no other account of it.
            let born = self.ledger.is_shared().then_some(&*debt.born);
            if !self.charge(&settlement, born).await {
                self.owed.lock().insert(account, debt);
            }
        }
    }

    fn know(&self, account: &Account, born: Born, limits: &[Limit]) {
        let mut known = self.known.lock();
        match known.get_mut(account) {
            Some(known) if known.born == born && *known.limits == *limits => {}
            Some(known) => {
                known.born = born;
                if !limits.is_empty() {
                    known.limits = limits.into();
                }
            }
            None => {
                let limits = limits.into();
                known.insert(account.clone(), Known { born, limits });
            }
        }
    }

    /// Renews reservations, pays debts and raises accounts, for as long as it is polled. `is_back` is
    /// told that the store is there again.
    pub async fn keep(&self, is_back: impl Fn()) {
        let mut renewal = Instant::now() + RENEWED;
        let mut raising: VecDeque<Instant> = VecDeque::new();
        loop {
            let next = raising.front().map_or(renewal, |next| renewal.min(*next));
            tokio::select! {
                () = self.store.keep() => {}
                () = self.store.comes_back() => {
                    is_back();
                    self.pay().await;
                    self.renew(true).await;
                    raising = RAISED.map(|after| Instant::now() + after).into();
                }
                () = sleep_until(next) => {
                    if Instant::now() >= renewal {
                        self.renew(false).await;
                        self.pay().await;
                        renewal = Instant::now() + RENEWED;
                    }
                    if raising.pop_front_if(|next| Instant::now() >= *next).is_some() {
                        self.raise().await;
                    }
                }
            }
        }
    }

    /// Renews what is live; `again` has what the store may have lost be there again.
    async fn renew(&self, again: bool) {
        let live: Vec<_> = {
            let live = self.live.lock();
            let live = live.iter();
            live.map(|(id, held)| (*id, held.clone())).collect()
        };
        for (id, (account, cost)) in live {
            if !self.live.lock().contains_key(&id) {
                continue;
            }
            let (link, again) = (self.store.link(), again.then_some(cost));
            let renewing = self.valkey.renew(link, (&account, id), again, LEASE);
            if self.store.later(renewing).await.is_none() {
                return;
            }
        }
    }

    /// Raises accounts to what the ledger says: the store may have come back without its last
    /// writes.
    async fn raise(&self) {
        let accounts: Vec<_> = {
            let known = self.known.lock();
            let known = known.iter().filter(|(_, known)| !known.limits.is_empty());
            known
                .map(|(account, known)| (account.clone(), known.limits.clone()))
                .collect()
        };
        for (account, limits) in accounts {
            let raising = self.seed((&account, Seeding::Raise), limits);
            if timeout(BEHIND, raising).await.ok().flatten().is_none() {
                return;
            }
        }
    }
}
