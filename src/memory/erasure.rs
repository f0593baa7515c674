//! Erasing is a fact with a time: what began before it is not saved after it, by whomever.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::scope::Scope;
use super::store::{Changed, Selection};

/// For how long it is known what was erased when, in microseconds. What began before that is not
/// saved either, so no turn outlives what is known: none takes as long.
pub const KEPT: i64 = 30 * 24 * 60 * 60 * 1_000_000;

/// When something began that ends in a change, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Unix microseconds, by this machine's clock.
    pub at: i64,
    pub conversation: Option<Arc<str>>,
}

/// What was erased of a tenant, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    pub of: Selection,
    /// Unix microseconds, by the store's clock.
    pub at: i64,
}

impl Erasure {
    fn concerns(&self, scope: &Scope, begun: &Begun) -> bool {
        let is_user = |user: &String| scope.user().is_some_and(|of| **of == **user);
        begun.at <= self.at
            && match &self.of {
                Selection::All => true,
                Selection::Scope(of) => of == scope,
                Selection::Conversation { id, user } => {
                    begun.conversation.as_deref() == Some(id) && user.iter().all(is_user)
                }
            }
    }
}

/// The erasures that changes have to mind.
#[derive(Debug, Default)]
pub struct Erasures {
    of_tenant: HashMap<String, Vec<Erasure>>,
    /// What began before is not saved.
    oldest: i64,
    /// Microseconds that the store's clock is ahead of this machine's.
    ahead: i64,
}

impl Erasures {
    /// As of `now` by the store's clock, which is `ahead` of this machine's; in microseconds.
    pub fn new(now: i64, ahead: i64) -> Self {
        Self {
            of_tenant: HashMap::new(),
            oldest: now.saturating_sub(KEPT),
            ahead,
        }
    }

    pub fn add(&mut self, tenant: String, erasure: Erasure) {
        self.of_tenant.entry(tenant).or_default().push(erasure);
    }

    /// Whether what a change of the scope belongs to was erased after it had begun.
    pub fn concern(&self, scope: &Scope, begun: &Begun) -> bool {
        let at = begun.at.saturating_add(self.ahead);
        if at < self.oldest {
            return true;
        }
        let Some(erasures) = self.of_tenant.get(scope.tenant()) else {
            return false;
        };
        let conversation = begun.conversation.clone();
        let begun = Begun { at, conversation };
        erasures.iter().any(|it| it.concerns(scope, &begun))
    }
}

/// What an erasure took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    pub records: u64,
    /// The scopes that it touched.
    pub changed: Vec<Changed>,
    /// Unix microseconds, by the store's clock.
    pub at: i64,
}

/// Unix microseconds.
pub fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
