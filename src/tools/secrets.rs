//! The secrets of one plugin.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Value;
use percent_encoding::utf8_percent_encode;
use secrecy::{ExposeSecret, SecretString};

use super::template::COMPONENT;

/// Bytes of a secret that is looked for in foreign text: shorter ones are part of plain words.
const MIN_BYTES: usize = 8;

/// By the names that templates call them by.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets(Arc<BTreeMap<String, SecretString>>);

impl Secrets {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What templates see.
    pub fn value(&self) -> Value {
        let secrets = self.0.iter();
        Value::from_pairs(secrets.map(|(name, secret)| (name.as_str(), secret.expose_secret())))
    }

    /// Takes the secrets out of what a server said.
    pub fn redact(&self, mut text: String) -> String {
        for secret in self.0.values().map(ExposeSecret::expose_secret) {
            let in_url = utf8_percent_encode(secret, COMPONENT).to_string();
            for written in [secret, &in_url] {
                if secret.len() >= MIN_BYTES && text.contains(written) {
                    text = text.replace(written, "[redacted]");
                }
            }
        }
        text
    }
}

impl FromIterator<(String, SecretString)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (String, SecretString)>>(secrets: I) -> Self {
        Self(Arc::new(secrets.into_iter().collect()))
    }
}
