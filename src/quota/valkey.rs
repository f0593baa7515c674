//! Accounts that several gateways share: one script for each decision, by the server's clock. All
//! keys of an account have one hash tag, so that a cluster keeps them together.

use std::time::Duration;

use jiff::Timestamp;
use redis::{RedisError, Script, Value};

use super::budget::{name, window};
use super::{Account, Ask, Cost, Decision, Limit, Settlement, Spent, Unit};
use crate::shared::{Link, encoded};

const ADMIT: &str = concat!(include_str!("common.lua"), include_str!("admit.lua"));
const SETTLE: &str = concat!(include_str!("common.lua"), include_str!("settle.lua"));
const SEED: &str = concat!(include_str!("common.lua"), include_str!("seed.lua"));
const RENEW: &str = concat!(include_str!("common.lua"), include_str!("renew.lua"));

/// The shared accounts.
pub struct Valkey {
    admit: Script,
    settle: Script,
    seed: Script,
    renew: Script,
}

/// When an account began in the store, in its own words: one that was lost and began anew is another.
pub type Born = String;

/// Whether the server had the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Charged(Born),
    /// It had not: when it is seeded, the ledger brings this cost too.
    Unknown,
}

/// How the ledger comes into an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seeding {
    /// The account begins, unless it is there.
    Begin,
    /// The account has lost some.
    Raise,
}

impl Default for Valkey {
    fn default() -> Self {
        Self {
            admit: Script::new(ADMIT),
            settle: Script::new(SETTLE),
            seed: Script::new(SEED),
            renew: Script::new(RENEW),
        }
    }
}

impl Valkey {
    /// Decides and takes; with it comes when the account began, where it did.
    pub async fn admit(
        &self,
        link: &Link,
        ask: &Ask<'_>,
    ) -> Result<(Decision, Option<Born>), RedisError> {
        let [account, leases, held] = keys(ask.account);
        let mut call = self.admit.prepare_invoke();
        call.key(account).key(leases).key(held);
        call.arg(id(ask.id))
            .arg(ask.cost.tokens)
            .arg(ask.cost.micro_usd);
        call.arg(millis(ask.lease));
        let rate = ask.rate.map(|rate| (micros(rate.period), rate.burst.get()));
        let (period, burst) = rate.unwrap_or_default();
        call.arg(period).arg(burst);
        for limit in ask.limits {
            call.arg(limit.unit.name())
                .arg(name(limit.per))
                .arg(limit.amount);
        }
        let answer = link.invoke(&call).await?;
        let decision = decision(&answer).ok_or_else(|| unexpected(&answer))?;
        Ok((decision, text(&answer, 2)))
    }

    /// Ends a reservation and charges what was used, when the account was `born` so.
    pub async fn settle(
        &self,
        link: &Link,
        ask: &Settlement<'_>,
        born: Option<&str>,
    ) -> Result<Settled, RedisError> {
        let [account, leases, held] = keys(ask.account);
        let mut call = self.settle.prepare_invoke();
        call.key(account).key(leases).key(held);
        call.arg(id(ask.id))
            .arg(born.unwrap_or_default())
            .arg(ask.cost.tokens)
            .arg(ask.cost.micro_usd);
        for limit in ask.limits {
            call.arg(limit.unit.name()).arg(name(limit.per));
        }
        let answer = link.invoke(&call).await?;
        match (text(&answer, 0).as_deref(), text(&answer, 1)) {
            (Some("ok"), Some(born)) => Ok(Settled::Charged(born)),
            (Some("new"), _) => Ok(Settled::Unknown),
            _ => Err(unexpected(&answer)),
        }
    }

    /// Gives an account what the ledger says was used as of `now`; tells when it began.
    pub async fn seed(
        &self,
        link: &Link,
        (account, seeding): (&Account, Seeding),
        used: &[Spent],
        now: Timestamp,
    ) -> Result<Born, RedisError> {
        let [account, leases, held] = keys(account);
        let mut call = self.seed.prepare_invoke();
        call.key(account).key(leases).key(held);
        call.arg(match seeding {
            Seeding::Begin => "begin",
            Seeding::Raise => "raise",
        });
        for spent in used {
            call.arg(spent.unit.name())
                .arg(name(spent.per))
                .arg(window(spent.per, now))
                .arg(spent.amount);
        }
        let answer = link.invoke(&call).await?;
        text(&answer, 1).ok_or_else(|| unexpected(&answer))
    }

    /// Moves the end of a reservation; one that is gone is there `again`, where its cost is told.
    pub async fn renew(
        &self,
        link: &Link,
        (account, reservation): (&Account, u128),
        again: Option<Cost>,
        lease: Duration,
    ) -> Result<(), RedisError> {
        let [account, leases, held] = keys(account);
        let mut call = self.renew.prepare_invoke();
        call.key(account).key(leases).key(held);
        call.arg(id(reservation)).arg(millis(lease));
        if let Some(cost) = again {
            call.arg(cost.tokens).arg(cost.micro_usd);
        }
        link.invoke::<Value>(&call).await.map(drop)
    }

    /// By the server's clock.
    pub async fn now(&self, link: &Link) -> Result<Timestamp, RedisError> {
        let (seconds, micros): (i64, i32) = link.query(&redis::cmd("TIME")).await?;
        let time = Timestamp::new(seconds, micros.saturating_mul(1_000));
        Ok(time.unwrap_or_else(|_| Timestamp::now()))
    }

    /// Does once what is done for every request, with an account of nobody's.
    pub async fn try_out(&self, link: &Link) -> Result<(), RedisError> {
        let account = Account {
            tenant: "".into(),
            key: "".into(),
        };
        let limits = [Limit {
            unit: Unit::Tokens,
            amount: 1,
            per: crate::config::model::Period::Minute,
        }];
        let now = self.now(link).await?;
        self.seed(link, (&account, Seeding::Begin), &[], now)
            .await?;
        let ask = Ask {
            account: &account,
            id: 1,
            cost: Cost::default(),
            lease: Duration::from_secs(1),
            rate: None,
            limits: &limits,
        };
        self.admit(link, &ask).await?;
        self.renew(link, (&account, 1), None, ask.lease).await?;
        let settlement = Settlement {
            account: &account,
            id: 1,
            cost: Cost::default(),
            limits: &limits,
        };
        self.settle(link, &settlement, None).await.map(drop)
    }
}

/// The account's keys: its counters, its leases by their ends, and what each lease holds.
fn keys(account: &Account) -> [String; 3] {
    let [tenant, key] = [&account.tenant, &account.key].map(|name| encoded(name));
    ["account", "leases", "held"].map(|part| format!("yychat:{{{tenant}/{key}}}:{part}"))
}

fn id(id: u128) -> String {
    match id {
        0 => String::new(),
        id => format!("{id:x}"),
    }
}

fn micros(period: Duration) -> u64 {
    u64::try_from(period.as_micros()).unwrap_or(u64::MAX)
}

fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
}

fn decision(answer: &Value) -> Option<Decision> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let number = |at: usize| match parts.get(at) {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    };
    match &*text(answer, 0)? {
        "ok" => Some(Decision::Admitted {
            tokens_left: u64::try_from(number(1)?).ok(),
        }),
        "rate" => {
            let wait = u64::try_from(number(1)?).ok()?;
            Some(Decision::OverRate(Duration::from_micros(wait)))
        }
        "budget" => Some(Decision::OverBudget(usize::try_from(number(1)?).ok()?)),
        "new" => Some(Decision::Unknown),
        _ => None,
    }
}

/// The text at a place of an answer.
fn text(answer: &Value, at: usize) -> Option<String> {
    let Value::Array(parts) = answer else {
        return None;
    };
    match parts.get(at)? {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

fn unexpected(answer: &Value) -> RedisError {
    let what = format!("{answer:?}");
    (
        redis::ErrorKind::UnexpectedReturnType,
        "the script gave",
        what,
    )
        .into()
}
