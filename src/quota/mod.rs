//! What a key may use: its rate, and its budgets of tokens and dollars.
//!
//! ```text
//! admit ── one step decides and takes: rate and budgets, all or none
//!   │        a reservation stands for what the request may cost, a lease that ends by itself
//!   ▼
//! serve ── streams renew the lease
//!   │
//! settle ─ what was really used is charged, and goes to the ledger
//! ```
//!
//! Several gateways decide together through Valkey (`shared.store`); one alone, or one whose
//! Valkey is away, decides by itself. Which of the two it was, nothing above can tell.

mod account;
pub mod budget;
mod desk;
mod fleet;
mod ledger;
mod means;
mod process;
mod purse;
mod refusal;

pub mod report;
mod reservation;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
mod valkey;

use std::time::Duration;

pub use account::Account;
pub use budget::{Cost, Limit, Unit};
pub use desk::{Expected, Quota};
pub use ledger::Ledger;
pub use purse::Purse;
pub use reservation::Reservation;

use crate::config::model::{Period, Rate};
pub use crate::config::prices::{Prices, Tokens};

/// How long a reservation stands without being renewed: what a gateway that dies has reserved is
/// back after that.
pub const LEASE: Duration = Duration::from_secs(60);

/// What is asked of an account.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    pub account: &'a Account,
    /// Names the reservation.
    pub id: u128,
    /// What is reserved.
    pub cost: Cost,
    pub lease: Duration,
    pub rate: Option<Rate>,
    pub limits: &'a [Limit],
}

/// What ends a reservation: what was used.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    pub account: &'a Account,
    pub id: u128,
    pub cost: Cost,
    pub limits: &'a [Limit],
}

/// What an account has used in the current window of a period, by the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    pub unit: Unit,
    pub per: Period,
    pub amount: u64,
}

/// What comes of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It was taken; what is left of the budget of tokens that has least, where there is one.
    Admitted { tokens_left: Option<u64> },
    /// The rate holds it back for so long.
    OverRate(Duration),
    /// The budget of that place is used up.
    OverBudget(usize),
    /// Nobody has told yet what the account has used: seed it, and ask again.
    Unknown,
}
