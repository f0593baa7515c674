//! OpenTelemetry's metrics of generative models, by its names, beside the gateway's own.

use prometheus::local::LocalHistogramVec;
use prometheus::{HistogramOpts, HistogramVec, Registry};

use super::metrics::OTHER;
use super::registry::{histograms, register};
use super::ring::{CHAT, Entry};

/// Bounds in tokens, as OpenTelemetry's conventions advise.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// What they are labelled with. A model is one that the configuration names in full, or `other`.
const LABELS: [&str; 3] = [
    "gen_ai_operation_name",
    "gen_ai_provider_name",
    "gen_ai_request_model",
];

/// The metrics.
pub struct GenAi {
    tokens: LocalHistogramVec,
    first_token: LocalHistogramVec,
    output_token: LocalHistogramVec,
    duration: LocalHistogramVec,
}

impl GenAi {
    pub(super) fn new(registry: &Registry) -> Self {
        let mut labels = LABELS.to_vec();
        labels.push("gen_ai_token_type");
        let tokens = HistogramOpts::new(
            "gen_ai_client_token_usage",
            "Tokens of a chat completion, as its upstream counts them",
        );
        let tokens = HistogramVec::new(tokens.buckets(TOKENS.to_vec()), &labels);
        Self {
            tokens: register(registry, tokens).local(),
            first_token: histograms(
                registry,
                "gen_ai_server_time_to_first_token_seconds",
                "From a streamed request's first byte to the first byte of its answer",
                &LABELS,
            )
            .local(),
            output_token: histograms(
                registry,
                "gen_ai_server_time_per_output_token_seconds",
                "Time of a streamed answer after its first byte, by each token but the first",
                &LABELS,
            )
            .local(),
            duration: histograms(
                registry,
                "gen_ai_server_request_duration_seconds",
                "A chat completion from its first byte to its last",
                &LABELS,
            )
            .local(),
        }
    }

    /// Hands over what was counted.
    pub(super) fn flush(&self) {
        for histograms in [
            &self.tokens,
            &self.first_token,
            &self.output_token,
            &self.duration,
        ] {
            histograms.flush();
        }
    }

    /// Counts a request, if it is a chat completion that an upstream answered.
    pub(super) fn observe(&mut self, entry: &Entry) {
        let (CHAT, 200..=299, Some(provider)) = (entry.route, entry.status, &entry.upstream) else {
            return;
        };
        let model = entry.model.as_deref().filter(|_| entry.is_model_named);
        let labels = [CHAT, provider, model.unwrap_or(OTHER)];
        self.duration
            .with_label_values(&labels)
            .observe(entry.total);
        for (kind, tokens) in [
            ("input", entry.prompt_tokens),
            ("output", entry.completion_tokens),
        ] {
            if let Some(tokens) = tokens {
                let [operation, provider, model] = labels;
                let histogram = self
                    .tokens
                    .with_label_values(&[operation, provider, model, kind]);
                histogram.observe(count(tokens));
            }
        }
        let Some(first) = entry.first_chunk.filter(|_| entry.stream) else {
            return;
        };
        self.first_token.with_label_values(&labels).observe(first);
        if let Some(tokens) = entry.completion_tokens.filter(|&tokens| tokens > 1) {
            let each = (entry.total - first).max(0.0) / count(tokens - 1);
            self.output_token.with_label_values(&labels).observe(each);
        }
    }
}

/// Within 2^53 exactly; no answer has so many tokens.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}
