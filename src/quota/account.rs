//! Whose rate and budgets they are.

use std::sync::Arc;

/// A key of a tenant, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    pub tenant: Arc<str>,
    pub key: Arc<str>,
}
