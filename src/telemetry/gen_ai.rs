//! OpenTelemetry's metrics of generative models, by its names, beside the gateway's own.

use prometheus::local::LocalHistogram;
use prometheus::{HistogramOpts, HistogramVec, Registry};

use super::metrics::OTHER;
use super::registry::{histograms, register};
use super::ring::{CHAT, Entry};
use super::tally::find_or_add;

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
    tokens: HistogramVec,
    first_token: HistogramVec,
    output_token: HistogramVec,
    duration: HistogramVec,
    /// Those in use, found by comparing: they are as few as the configuration names.
    series: Vec<Series>,
}

/// What one model of one upstream was seen to do since it was handed over last. What was never seen
/// has no histogram.
struct Series {
    provider: String,
    model: String,
    duration: LocalHistogram,
    input: Option<LocalHistogram>,
    output: Option<LocalHistogram>,
    first_token: Option<LocalHistogram>,
    output_token: Option<LocalHistogram>,
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
            series: Vec::new(),
            tokens: register(registry, tokens),
            first_token: histograms(
                registry,
                "gen_ai_server_time_to_first_token_seconds",
                "From a streamed request's first byte to the first byte of its answer",
                &LABELS,
            ),
            output_token: histograms(
                registry,
                "gen_ai_server_time_per_output_token_seconds",
                "Time of a streamed answer after its first byte, by each token but the first",
                &LABELS,
            ),
            duration: histograms(
                registry,
                "gen_ai_server_request_duration_seconds",
                "A chat completion from its first byte to its last",
                &LABELS,
            ),
        }
    }

    /// Hands over what was counted.
    pub(super) fn flush(&self) {
        for series in &self.series {
            series.duration.flush();
            let rest = [
                &series.input,
                &series.output,
                &series.first_token,
                &series.output_token,
            ];
            rest.into_iter().flatten().for_each(LocalHistogram::flush);
        }
    }

    /// Counts a request, if it is a chat completion that an upstream answered.
    pub(super) fn observe(&mut self, entry: &Entry) {
        let (CHAT, 200..=299, Some(provider)) = (entry.route, entry.status, &entry.upstream) else {
            return;
        };
        let model = entry.model.as_deref().filter(|_| entry.is_model_named);
        let labels @ [operation, provider, model] = [CHAT, provider, model.unwrap_or(OTHER)];
        let same = |series: &Series| series.provider == provider && series.model == model;
        let series = find_or_add(&mut self.series, same, || Series {
            provider: provider.to_owned(),
            model: model.to_owned(),
            duration: self.duration.with_label_values(&labels).local(),
            input: None,
            output: None,
            first_token: None,
            output_token: None,
        });
        series.duration.observe(entry.total);
        for (histogram, kind, tokens) in [
            (&mut series.input, "input", entry.prompt_tokens),
            (&mut series.output, "output", entry.completion_tokens),
        ] {
            if let Some(tokens) = tokens {
                let labels = [operation, provider, model, kind];
                let made = || self.tokens.with_label_values(&labels).local();
                histogram.get_or_insert_with(made).observe(count(tokens));
            }
        }
        let Some(first) = entry.first_chunk.filter(|_| entry.stream) else {
            return;
        };
        let made = || self.first_token.with_label_values(&labels).local();
        series.first_token.get_or_insert_with(made).observe(first);
        if let Some(tokens) = entry.completion_tokens.filter(|&tokens| tokens > 1) {
            let each = (entry.total - first).max(0.0) / count(tokens - 1);
            let made = || self.output_token.with_label_values(&labels).local();
            series.output_token.get_or_insert_with(made).observe(each);
        }
    }
}

/// Within 2^53 exactly; no answer has so many tokens.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn count(tokens: u64) -> f64 {
    tokens as f64
}
