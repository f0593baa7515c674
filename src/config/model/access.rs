//! `[auth]` and `[cors]`: who is let in, and what each key may.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use globset::GlobSet;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;

use super::{fingerprint, optional_fingerprint};

/// `[auth]`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Auth {
    /// Empty: loopback only, and callers' own keys go through.
    pub keys: Vec<Key>,
    /// What Open WebUI signs the token of its user with (HS256); absent: no token is believed.
    #[serde(serialize_with = "optional_fingerprint")]
    pub openwebui_jwt_secret: Option<SecretString>,
}

/// One of `[[auth.keys]]`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Key {
    pub name: String,
    #[serde(serialize_with = "fingerprint")]
    pub key: SecretString,
    pub tenant: String,
    /// Absent: as many requests as the gateway serves.
    pub rate: Option<Rate>,
    /// Whose memory, where a request names nobody.
    pub user: Option<String>,
    /// Absent: `personality.default`; empty: none.
    pub personality: Option<String>,
    /// For requests that do not say `use_tools`; absent: `tools.enabled`.
    pub tools: Option<bool>,
    /// For requests that do not say how memory is used.
    pub memory: MemoryMode,
    /// Which models it may ask for; absent: all.
    #[serde(skip)]
    pub models: Option<GlobSet>,
    /// The globs as written, for showing.
    #[serde(rename = "models")]
    pub model_patterns: Vec<String>,
    /// From then on it proves nothing.
    pub expires: Option<Timestamp>,
    pub budgets: Vec<Budget>,
}

/// `auth.keys.memory`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MemoryMode {
    /// Recall and save.
    #[default]
    Full,
    /// Recall only.
    Readonly,
    /// Neither.
    Off,
}

/// One of `auth.keys.budgets`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Budget {
    #[serde(flatten)]
    pub allowance: Allowance,
    pub per: Period,
}

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowance {
    /// Of prompts and answers together.
    Tokens(NonZeroU64),
    /// Dollars, more than 0, by `prices.toml`.
    Usd(f64),
}

/// How long a budget lasts until it is full again: spans of the calendar in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    Minute,
    Hour,
    Day,
    Month,
}

/// `auth.keys.rate` with `auth.keys.burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rate {
    /// One request in this time, on the average; never zero.
    pub period: Duration,
    /// Requests that may come at once after a pause.
    pub burst: NonZeroU32,
}

/// `[cors]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    pub origins: Origins,
}

/// The pages that may use the API from within a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origins {
    /// Those of every site.
    Any,
    /// As a browser writes them in `Origin`: `https://app.example.com`, `http://localhost:3000`.
    Listed(BTreeSet<String>),
}

impl Origins {
    /// Whether a page of `origin`, as the header field has it, may.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(origins) => origins.contains(origin),
        }
    }
}
