//! `[auth]`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::upstreams::globs;
use super::{budgets, rate, unique};
use crate::config::check::{Asked, Check};
use crate::config::model::{Auth, Key, MemoryMode};
use crate::config::raw;

/// Bytes of a key at least: shorter ones can be guessed.
const MIN_KEY_BYTES: usize = 16;

/// Bytes of a tenant's name at most …
const MAX_TENANT_BYTES: usize = 128;
/// … and of a user's, as memory has it.
const MAX_USER_BYTES: usize = 512;

/// `admin_key` opens what no app may do: it is none of theirs.
pub(super) fn auth(
    raw: &raw::Auth,
    admin_key: Option<&SecretString>,
    check: &mut Check<'_>,
) -> Auth {
    let mut names = BTreeMap::new();
    let mut secrets = BTreeMap::new();
    if let Some(key) = admin_key {
        secrets.insert(key.expose_secret().to_owned(), "server.admin_key".into());
    }
    let keys = raw.keys.iter().enumerate().map(|(index, raw)| {
        let app = app(index, raw, check);
        let at = format!("auth.keys.{index}");
        unique(&format!("{at}.name"), &raw.name, &mut names, check);
        let earlier = secrets.insert(app.key.expose_secret().to_owned(), raw.name.clone());
        if let Some(earlier) = earlier {
            check.fault(
                &format!("{at}.key"),
                format!("is the same as that of {earlier:?}"),
                "give each app a key of its own",
            );
        }
        app
    });
    Auth {
        keys: keys.collect(),
        openwebui_jwt_secret: raw
            .openwebui_jwt_secret
            .as_ref()
            .map(|secret| key("auth.openwebui_jwt_secret", secret, check)),
    }
}

fn app(index: usize, raw: &raw::Key, check: &mut Check<'_>) -> Key {
    let at = |name: &str| format!("auth.keys.{index}.{name}");
    check.asked.push((at("key"), Asked::Needed));
    let secret = raw.key.clone().unwrap_or_default();
    let secret = key(&at("key"), &secret, check);
    check.required(&at("name"), &raw.name);
    check.required(&at("tenant"), &raw.tenant);
    id(
        &at("tenant"),
        &raw.tenant,
        "tenant",
        MAX_TENANT_BYTES,
        check,
    );
    id(&at("user"), &raw.user, "user", MAX_USER_BYTES, check);
    Key {
        name: raw.name.clone(),
        key: secret,
        tenant: raw.tenant.clone(),
        rate: rate::rate(index, raw, check),
        user: (!raw.user.is_empty()).then(|| raw.user.clone()),
        personality: raw.personality.clone(),
        tools: raw.tools,
        memory: check.choice(
            &at("memory"),
            &raw.memory,
            [
                ("full", MemoryMode::Full),
                ("readonly", MemoryMode::Readonly),
                ("off", MemoryMode::Off),
            ],
        ),
        models: (raw.models != ["*"]).then(|| globs(&at("models"), &raw.models, check)),
        model_patterns: raw.models.clone(),
        expires: raw
            .expires
            .as_ref()
            .and_then(|text| moment(&at("expires"), text, check)),
        budgets: budgets::budgets(&at("budgets"), &raw.budgets, check),
    }
}

/// A secret that someone presents, or proves something by.
pub(super) fn key(key: &str, secret: &raw::Secret, check: &mut Check<'_>) -> SecretString {
    let secret = check.secret(key, secret);
    let too_short = secret.expose_secret().len() < MIN_KEY_BYTES;
    if too_short && !check.places.has_fault_in(key) {
        check.fault(
            key,
            format!("is shorter than {MIN_KEY_BYTES} bytes"),
            "make a longer one, such as with `openssl rand -hex 32`",
        );
    }
    secret
}

fn id(key: &str, text: &str, what: &str, most: usize, check: &mut Check<'_>) {
    if text.len() > most || text.contains(char::is_control) {
        check.fault(
            key,
            format!("is {text:?}, not a {what}"),
            format!("give 1 to {most} bytes without control characters"),
        );
    }
}

fn moment(key: &str, text: &str, check: &mut Check<'_>) -> Option<Timestamp> {
    let moment = text.parse().ok();
    if moment.is_none() {
        check.fault(
            key,
            format!("is {text:?}, not a moment"),
            "write date, time and offset, as in 2027-01-31T00:00:00Z",
        );
    }
    moment
}
