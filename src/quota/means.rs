//! How long answers usually are, by key and model: what is reserved where a request sets no limit.

use moka::sync::Cache;

use super::Account;

/// Taken for a key and model that nothing is known of yet.
const AT_FIRST: u64 = 1_000;
/// How much of the old mean stands against a new answer.
const WEIGHT: u64 = 7;
/// Keys and models that are remembered.
const MOST: u64 = 10_000;

/// Running means of the tokens of answers.
#[derive(Debug)]
pub struct Means(Cache<(Account, String), u64>);

impl Default for Means {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Means {
    /// What an answer is thought to take.
    pub fn expect(&self, account: &Account, model: &str) -> u64 {
        let known = self.0.get(&(account.clone(), model.to_owned()));
        known.unwrap_or(AT_FIRST)
    }

    /// Takes an answer into the mean.
    pub fn note(&self, account: &Account, model: &str, output: u64) {
        let key = (account.clone(), model.to_owned());
        let mean = match self.0.get(&key) {
            None => output,
            Some(mean) => (mean * WEIGHT + output).div_ceil(WEIGHT + 1),
        };
        self.0.insert(key, mean);
    }
}
