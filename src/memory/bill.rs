//! What memory's own models cost: whoever asks one holds the bill, and hands it to whoever pays.

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Deserialize;

use super::Memory;
use crate::config::prices::Tokens;
use crate::dialect::believed;

/// Bytes that a token is thought to have, where an upstream does not tell.
const BYTES_A_TOKEN: u64 = 4;

/// Pays for what is asked in the background, for a tenant.
#[async_trait]
pub trait Payer: Send + Sync + 'static {
    /// Whether the tenant has any budget left for it.
    async fn can_pay(&self, tenant: &str) -> bool;

    /// Charges what a model used.
    fn pay(&self, tenant: &str, model: &str, tokens: Tokens);
}

/// What was used while something was asked.
#[derive(Debug, Default)]
pub struct Bill(Mutex<Vec<(String, Tokens)>>);

/// As upstreams tell it of completions and of embeddings.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

impl Bill {
    /// Adds what a model used: what it tells, or what `sent` and `given`, in bytes, come to.
    pub fn add(&self, model: &str, usage: Option<Usage>, (sent, given): (usize, usize)) {
        let tokens = |told: Option<u64>, bytes: usize| {
            told.and_then(believed)
                .unwrap_or_else(|| (bytes as u64).div_ceil(BYTES_A_TOKEN))
        };
        let tokens = Tokens {
            input: tokens(usage.and_then(|usage| usage.prompt_tokens), sent),
            cached: 0,
            output: tokens(usage.and_then(|usage| usage.completion_tokens), given),
        };
        self.0.lock().push((model.to_owned(), tokens));
    }

    /// Has it paid by several tenants, each with its share.
    pub fn settle(&self, payer: Option<&dyn Payer>, shares: &[(&str, usize)]) {
        let Some(payer) = payer else { return };
        let whole: usize = shares.iter().map(|(_, share)| share).sum();
        let part = |tokens: u64, share: usize| {
            (u128::from(tokens) * share as u128).div_ceil(whole.max(1) as u128) as u64
        };
        for (model, tokens) in self.0.lock().drain(..) {
            for (tenant, share) in shares {
                let tokens = Tokens {
                    input: part(tokens.input, *share),
                    cached: part(tokens.cached, *share),
                    output: part(tokens.output, *share),
                };
                payer.pay(tenant, &model, tokens);
            }
        }
    }
}

impl Memory {
    /// Has what memory's own models cost paid by tenants. Counts once.
    pub fn bill_to(&self, payer: std::sync::Arc<dyn Payer>) {
        // A second one would be the same.
        let _ = self.counters.payer.set(payer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Purse(Mutex<Vec<(String, Tokens)>>);

    #[async_trait]
    impl Payer for Purse {
        async fn can_pay(&self, _: &str) -> bool {
            true
        }

        fn pay(&self, tenant: &str, _: &str, tokens: Tokens) {
            self.0.lock().push((tenant.to_owned(), tokens));
        }
    }

    #[test]
    fn each_pays_its_share_and_none_of_it_is_paid_twice() {
        let (bill, purse) = (Bill::default(), Purse::default());
        let told = serde_json::from_str(r#"{"prompt_tokens": 90, "total_tokens": 90}"#);
        bill.add("m", told.expect("usage"), (1_000, 0));
        bill.add("m", None, (40, 8));
        for _ in 0..2 {
            bill.settle(Some(&purse), &[("a", 200), ("b", 100)]);
        }
        let paid: Vec<_> = purse
            .0
            .lock()
            .iter()
            .map(|(tenant, tokens)| (tenant.clone(), tokens.input, tokens.output))
            .collect();
        let a = |input, output| ("a".to_owned(), input, output);
        let b = |input, output| ("b".to_owned(), input, output);
        assert_eq!(paid, [a(60, 0), b(30, 0), a(7, 2), b(4, 1)]);
    }
}
