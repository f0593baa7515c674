//! Proving a caller's key.

use std::sync::Arc;

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::config::model::Key;

/// The tenant of everyone, where no keys are configured.
const OPEN_TENANT: &str = "default";

/// Whom a verified key belongs to. Memory never crosses the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// `auth.keys.tenant` of the key; `default` where no keys are configured.
    pub tenant: Arc<str>,
    /// `auth.keys.name` of the key; absent where no keys are configured.
    pub key: Option<Arc<str>>,
    /// The gateway's key came in `Authorization`, so that header must not reach an upstream.
    pub key_in_authorization: bool,
}

impl Caller {
    /// Whoever asks where no key is needed.
    pub fn anonymous() -> Self {
        Self {
            tenant: OPEN_TENANT.into(),
            key: None,
            key_in_authorization: false,
        }
    }
}

/// The configured keys as digests, so that comparing takes the same time whatever was presented.
pub struct KeyRing(Vec<(KeyDigest, Caller)>);

type KeyDigest = [u8; 32];

impl KeyRing {
    /// Takes the digests of `keys`.
    pub fn new(keys: &[Key]) -> Self {
        Self(
            keys.iter()
                .map(|key| {
                    let caller = Caller {
                        tenant: key.tenant.as_str().into(),
                        key: Some(key.name.as_str().into()),
                        key_in_authorization: true,
                    };
                    (digest(key.key.expose_secret().as_bytes()), caller)
                })
                .collect(),
        )
    }

    /// The caller whom the presented key proves. Without configured keys anyone is let in: the
    /// listener is on loopback then, or the operator said so.
    pub fn prove(&self, presented: &[u8]) -> Option<Caller> {
        if self.0.is_empty() {
            return Some(Caller::anonymous());
        }
        let presented = digest(presented);
        // Every key is compared, and found by arithmetic, so that time tells nothing.
        let mut found = Choice::from(0);
        let mut place = 0;
        for (index, (known, _)) in (0u64..).zip(&self.0) {
            let same = known.ct_eq(&presented);
            place.conditional_assign(&index, same);
            found |= same;
        }
        let place = usize::try_from(place).ok()?;
        bool::from(found).then(|| self.0.get(place).map(|(_, caller)| caller.clone()))?
    }
}

fn digest(key: &[u8]) -> KeyDigest {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, key: &str, tenant: &str) -> Key {
        Key {
            name: name.into(),
            key: key.into(),
            tenant: tenant.into(),
            rate: None,
        }
    }

    #[test]
    fn each_key_proves_its_own_tenant_and_nothing_else_proves_any() {
        let ring = KeyRing::new(&[key("a", "secret-a", "one"), key("b", "secret-b", "two")]);
        let tenant = |presented: &str| ring.prove(presented.as_bytes()).map(|c| c.tenant);
        assert_eq!(tenant("secret-a").as_deref(), Some("one"));
        assert_eq!(tenant("secret-b").as_deref(), Some("two"));
        for wrong in ["", "secret-", "secret-A", "secret-a ", "secret-ab"] {
            assert_eq!(tenant(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn without_keys_anyone_is_the_default_tenant() {
        let caller = KeyRing::new(&[]).prove(b"whatever").expect("let in");
        assert_eq!(
            (&*caller.tenant, caller.key_in_authorization),
            ("default", false)
        );
    }
}
