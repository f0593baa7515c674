//! Who pays for what memory asks models for by itself: the first key of the tenant, as the
//! configuration has them.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Account, Cost, Expected, Limit, Quota};
use crate::config::prices::Tokens;
use crate::memory::bill::Payer;
use crate::snapshot;

/// Charges tenants by the generation in force.
pub struct Purse {
    snapshots: Arc<snapshot::Store>,
    quota: Arc<Quota>,
}

impl Purse {
    pub fn new(snapshots: Arc<snapshot::Store>, quota: Arc<Quota>) -> Self {
        Self { snapshots, quota }
    }

    /// The account that pays for a tenant, and its budgets. A tenant without keys has none.
    fn account(&self, tenant: &str) -> (Account, Arc<[Limit]>) {
        let snapshot = self.snapshots.load();
        let keys = &snapshot.config.auth.keys;
        let key = keys.iter().find(|key| key.tenant == tenant);
        let account = Account {
            tenant: tenant.into(),
            key: key.map_or("", |key| &*key.name).into(),
        };
        let limits = key.map(|key| key.budgets.iter().map(Limit::from).collect());
        (account, limits.unwrap_or_default())
    }
}

#[async_trait]
impl Payer for Purse {
    async fn can_pay(&self, tenant: &str) -> bool {
        let (account, limits) = self.account(tenant);
        if limits.is_empty() {
            return true;
        }
        let snapshot = self.snapshots.load();
        // What is reserved goes back at once.
        let asked = self.quota.admit(
            account,
            (None, limits),
            &snapshot.prices,
            Expected::default(),
        );
        asked.await.is_ok()
    }

    fn pay(&self, tenant: &str, model: &str, tokens: Tokens) {
        let (account, limits) = self.account(tenant);
        let snapshot = self.snapshots.load();
        let micro_usd = snapshot.prices.cost(model, tokens).unwrap_or_default();
        let counts = [tokens.input, tokens.cached, tokens.output];
        // A model of memory's is one that the configuration names.
        let metrics = &self.quota.metrics.quota;
        metrics.used([tenant, model], counts, micro_usd);
        if !limits.is_empty() {
            let cost = Cost {
                tokens: tokens.total(),
                micro_usd,
            };
            self.quota
                .clone()
                .settle(account.clone(), 0, (cost, limits));
        }
        let ledger = self.quota.ledger();
        ledger.note(&account, model, tokens, micro_usd);
    }
}
