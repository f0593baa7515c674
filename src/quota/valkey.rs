//! Accounts that several gateways share, in Valkey or Redis: one script for each decision, by the
//! server's clock. All keys of an account have one hash tag, so that a cluster keeps them together.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script, ScriptInvocation, Value};
use secrecy::{ExposeSecret, SecretString};

use super::budget::name;
use super::{Account, Ask, Decision, Settlement, Spent};

const ADMIT: &str = concat!(include_str!("window.lua"), include_str!("admit.lua"));
const SETTLE: &str = concat!(include_str!("window.lua"), include_str!("settle.lua"));
const SEED: &str = concat!(include_str!("window.lua"), include_str!("seed.lua"));
const RENEW: &str = include_str!("renew.lua");

/// How long a connection may take to come about; requests do not wait for it.
const CONNECTING: Duration = Duration::from_secs(2);

/// The shared accounts. Connects when it is first used, and again when the connection broke.
pub struct Valkey {
    connection: ConnectionManager,
    admit: Script,
    settle: Script,
    seed: Script,
    renew: Script,
}

/// Whether the server had the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Charged,
    /// It had not: when it is seeded, the ledger brings this cost too.
    Unknown,
}

impl Valkey {
    /// Reads `url`. Must be called within the runtime that the connection is to live in.
    ///
    /// # Errors
    ///
    /// Says what of the URL cannot be used.
    pub fn new(url: &SecretString, answer_within: Duration) -> Result<Self, RedisError> {
        let client = Client::open(url.expose_secret())?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECTING))
            .set_response_timeout(Some(answer_within))
            .set_number_of_retries(0);
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client, config)?,
            admit: Script::new(ADMIT),
            settle: Script::new(SETTLE),
            seed: Script::new(SEED),
            renew: Script::new(RENEW),
        })
    }

    /// Decides and takes.
    pub async fn admit(&self, ask: &Ask<'_>) -> Result<Decision, RedisError> {
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
        let answer = self.invoke(&call).await?;
        decision(&answer).ok_or_else(|| unexpected(&answer))
    }

    /// Ends a reservation and charges what was used.
    pub async fn settle(&self, ask: &Settlement<'_>) -> Result<Settled, RedisError> {
        let [account, leases, held] = keys(ask.account);
        let mut call = self.settle.prepare_invoke();
        call.key(account).key(leases).key(held);
        call.arg(id(ask.id))
            .arg(ask.cost.tokens)
            .arg(ask.cost.micro_usd);
        for limit in ask.limits {
            call.arg(limit.unit.name()).arg(name(limit.per));
        }
        let answer = self.invoke(&call).await?;
        Ok(match first(&answer) {
            Some(b"ok") => Settled::Charged,
            _ => Settled::Unknown,
        })
    }

    /// Begins an account with what the ledger says was used, unless it is there.
    pub async fn seed(&self, account: &Account, used: &[Spent]) -> Result<(), RedisError> {
        let [account, ..] = keys(account);
        let mut call = self.seed.prepare_invoke();
        call.key(account);
        for spent in used {
            call.arg(spent.unit.name())
                .arg(name(spent.per))
                .arg(spent.amount);
        }
        self.invoke(&call).await.map(drop)
    }

    /// Moves the end of a reservation.
    pub async fn renew(
        &self,
        account: &Account,
        reservation: u128,
        lease: Duration,
    ) -> Result<(), RedisError> {
        let [_, leases, _] = keys(account);
        let mut call = self.renew.prepare_invoke();
        call.key(leases).arg(id(reservation)).arg(millis(lease));
        self.invoke(&call).await.map(drop)
    }

    /// Asks whether it is there.
    pub async fn ping(&self) -> Result<(), RedisError> {
        let mut connection = self.connection.clone();
        redis::cmd("PING")
            .query_async::<Value>(&mut connection)
            .await
            .map(drop)
    }

    async fn invoke(&self, call: &ScriptInvocation<'_>) -> Result<Value, RedisError> {
        let mut connection = self.connection.clone();
        call.invoke_async(&mut connection).await
    }
}

/// The account's keys: its counters, its leases by their ends, and what each lease holds. Names
/// are percent-encoded, so that neither can end the hash tag or be read as another's.
fn keys(account: &Account) -> [String; 3] {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    let [tenant, key] =
        [&account.tenant, &account.key].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
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
    match first(answer)? {
        b"ok" => Some(Decision::Admitted {
            tokens_left: u64::try_from(number(1)?).ok(),
        }),
        b"rate" => {
            let wait = u64::try_from(number(1)?).ok()?;
            Some(Decision::OverRate(Duration::from_micros(wait)))
        }
        b"budget" => Some(Decision::OverBudget(usize::try_from(number(1)?).ok()?)),
        b"new" => Some(Decision::Unknown),
        _ => None,
    }
}

fn first(answer: &Value) -> Option<&[u8]> {
    match answer {
        Value::Array(parts) => match parts.first()? {
            Value::BulkString(word) => Some(word),
            Value::SimpleString(word) => Some(word.as_bytes()),
            _ => None,
        },
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
