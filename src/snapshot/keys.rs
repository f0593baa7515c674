//! Proving a caller's key.

use std::sync::Arc;

use globset::GlobSet;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::model::{Budget, Key, MemoryMode};

/// The tenant of everyone, where no keys are configured.
const OPEN_TENANT: &str = "default";

/// Whom a verified key belongs to, and what holds for his requests where they do not say. Memory
/// never crosses the tenant.
#[derive(Debug, Clone)]
pub struct Caller {
    /// `auth.keys.tenant` of the key; `default` where no keys are configured.
    pub tenant: Arc<str>,
    /// `auth.keys.name` of the key; absent where no keys are configured.
    pub key: Option<Arc<str>>,
    /// Whose memory, where a request names nobody.
    pub user: Option<Arc<str>>,
    /// Absent: `personality.default`; empty: none.
    pub personality: Option<Arc<str>>,
    /// Whether tools are offered; absent: `tools.enabled`.
    pub tools: Option<bool>,
    /// How memory is used.
    pub memory: MemoryMode,
    /// The models that may be asked for; absent: all. [`Caller::may_use`] asks.
    pub models: Option<Arc<GlobSet>>,
    /// From then on the key proves nothing.
    pub expires: Option<Timestamp>,
    pub budgets: Arc<[Budget]>,
}

impl Caller {
    /// Whoever asks where no key is needed.
    pub fn anonymous() -> Self {
        Self {
            tenant: OPEN_TENANT.into(),
            key: None,
            user: None,
            personality: None,
            tools: None,
            memory: MemoryMode::Full,
            models: None,
            expires: None,
            budgets: Arc::default(),
        }
    }

    fn of(key: &Key) -> Self {
        let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
        Self {
            tenant: key.tenant.as_str().into(),
            key: Some(key.name.as_str().into()),
            user: shared(&key.user),
            personality: shared(&key.personality),
            tools: key.tools,
            memory: key.memory,
            models: key.models.clone().map(Arc::new),
            expires: key.expires,
            budgets: key.budgets.as_slice().into(),
        }
    }

    /// Whether the key may ask for `model`.
    pub fn may_use(&self, model: &str) -> bool {
        let models = self.models.as_ref();
        models.is_none_or(|models| models.is_match(model))
    }
}

/// The configured keys as digests, so that comparing takes the same time whatever was presented.
pub struct KeyRing {
    keys: Vec<(KeyDigest, Caller)>,
    /// Whether anyone is let in where there are no keys.
    open: bool,
}

pub(super) type KeyDigest = [u8; 32];

/// Why a presented key proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// It is none of the configured keys.
    Unknown,
    /// It was one until then.
    Expired(Timestamp),
}

impl KeyRing {
    /// Takes the digests of `keys`. Without any nobody is let in.
    pub fn new(keys: &[Key]) -> Self {
        let keys = keys.iter().map(|key| {
            let digest = digest(key.key.expose_secret().as_bytes());
            (digest, Caller::of(key))
        });
        Self {
            keys: keys.collect(),
            open: false,
        }
    }

    /// Lets all in where there are no keys, if `open`.
    pub fn open_without_keys(self, open: bool) -> Self {
        Self { open, ..self }
    }

    /// Whether there are none, and nobody is asked for one.
    pub fn lets_all_in(&self) -> bool {
        self.open && self.keys.is_empty()
    }

    /// The caller whom the presented key proves; any caller where there are no keys, since the
    /// listener is on loopback then, or the operator said so.
    ///
    /// # Errors
    ///
    /// That the key is none of these, or was one.
    pub fn prove(&self, presented: &[u8]) -> Result<Caller, Unproven> {
        if self.lets_all_in() {
            return Ok(Caller::anonymous());
        }
        let caller = self.find(presented).ok_or(Unproven::Unknown)?;
        match caller.expires {
            Some(end) if end <= Timestamp::now() => Err(Unproven::Expired(end)),
            _ => Ok(caller.clone()),
        }
    }

    /// Every key is compared, and found by arithmetic, so that time tells nothing.
    fn find(&self, presented: &[u8]) -> Option<&Caller> {
        let presented = digest(presented);
        let mut found = Choice::from(0);
        let mut place = 0;
        for (index, (known, _)) in (0u64..).zip(&self.keys) {
            let same = known.ct_eq(&presented);
            place.conditional_assign(&index, same);
            found |= same;
        }
        let place = usize::try_from(place).ok()?;
        bool::from(found).then(|| self.keys.get(place).map(|(_, caller)| caller))?
    }
}

pub(super) fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};
    use crate::reading::Reading;

    const A: &str = "name = 'a'\nkey = { env = 'a' }\ntenant = 'one'\n";
    const B: &str = "name = 'b'\nkey = { env = 'b' }\ntenant = 'two'\n";

    /// Keys as the configuration has them.
    fn keys<const N: usize>(tables: [&str; N]) -> KeyRing {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("yychat.toml");
        let tables = tables.map(|table| format!("[[auth.keys]]\n{table}\n"));
        std::fs::write(&file, tables.concat()).unwrap();
        let env = ["a", "b"].map(|name| (name.to_owned(), format!("secret-of-{name}-0123456789")));
        let sources = Sources {
            file: Some(file),
            env: env.into(),
            ..Sources::default()
        };
        let loaded = config::load(&sources, &Reading::default());
        KeyRing::new(
            &loaded
                .unwrap_or_else(|faults| panic!("{faults}"))
                .config
                .auth
                .keys,
        )
    }

    #[test]
    fn each_key_proves_its_own_tenant_and_nothing_else_proves_any() {
        let ring = keys([A, B]);
        let tenant = |presented: &str| ring.prove(presented.as_bytes()).map(|c| c.tenant);
        assert_eq!(tenant("secret-of-a-0123456789").as_deref(), Ok("one"));
        assert_eq!(tenant("secret-of-b-0123456789").as_deref(), Ok("two"));
        for wrong in [
            "",
            "secret-of-a-012345678",
            "Secret-of-a-0123456789",
            "secret-of-a-0123456789 ",
        ] {
            assert_eq!(tenant(wrong), Err(Unproven::Unknown), "{wrong:?}");
        }
    }

    #[test]
    fn without_keys_anyone_is_the_default_tenant_or_nobody_let_in() {
        let none = || KeyRing::new(&[]);
        for presented in ["", "whatever"] {
            let proven = none().prove(presented.as_bytes());
            assert_eq!(proven.err(), Some(Unproven::Unknown));
        }
        let ring = none().open_without_keys(true);
        assert!(ring.lets_all_in() && !none().lets_all_in());
        let caller = ring.prove(b"whatever").expect("let in");
        assert_eq!(&*caller.tenant, "default");
    }

    #[test]
    fn a_key_is_refused_from_the_moment_on_in_which_it_expires() {
        let expiring = |moment: &str| keys([&format!("{A}expires = {moment}"), B]);
        let secret = b"secret-of-a-0123456789";
        let past = expiring("2026-01-31T00:00:00+08:00");
        let end = "2026-01-30T16:00:00Z".parse().unwrap();
        assert_eq!(past.prove(secret).err(), Some(Unproven::Expired(end)));
        assert!(past.prove(b"secret-of-b-0123456789").is_ok());
        assert!(expiring("9999-01-01T00:00:00Z").prove(secret).is_ok());
    }

    #[test]
    fn what_stands_with_a_key_is_its_callers() {
        let ring = keys([
            &format!(
                "{A}user = 'ann'\npersonality = ''\ntools = false\nmemory = 'readonly'\n\
             models = ['gpt-4o*', 'local/*']\n\
             budgets = [{{ tokens = 5, per = 'day' }}, {{ usd = 0.5, per = 'month' }}]"
            ),
            B,
        ]);
        let caller = ring.prove(b"secret-of-a-0123456789").unwrap();
        assert_eq!(caller.user.as_deref(), Some("ann"));
        assert_eq!(caller.personality.as_deref(), Some(""));
        assert_eq!(caller.tools, Some(false));
        assert_eq!(caller.memory, MemoryMode::Readonly);
        assert_eq!(caller.budgets.len(), 2);
        let may = ["gpt-4o", "local/a/b", "gpt-3"].map(|model| caller.may_use(model));
        assert_eq!(may, [true, true, false]);
        let plain = ring.prove(b"secret-of-b-0123456789").unwrap();
        assert_eq!(
            (plain.user, plain.personality, plain.tools),
            (None, None, None)
        );
        assert!(plain.models.is_none() && plain.budgets.is_empty());
    }
}
