//! The task that exports ended requests in batches.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use secrecy::ExposeSecret;
use tokio::sync::Notify;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Ended, Settings, span};
use crate::telemetry::metrics::Metrics;

/// Requests that are exported together at most …
pub(super) const BATCH: usize = 256;
/// … and how long the first of them waits for others.
const DELAY: Duration = Duration::from_secs(1);

/// Exports until it is told to stop.
pub(super) struct Exporter {
    otlp: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    metrics: Arc<Metrics>,
    /// Whether the last batch was lost.
    is_failing: bool,
}

impl Exporter {
    pub fn new(
        settings: &Settings,
        client: reqwest::Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, String> {
        let headers = settings.headers.iter();
        let headers = headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
        let mut otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&settings.endpoint)
            .with_headers(headers.collect())
            .with_http_client(client)
            .build()
            .map_err(|error| error.to_string())?;
        let resource = Resource::builder()
            .with_service_name(settings.service_name.clone())
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                env!("CARGO_PKG_VERSION"),
            ))
            .build();
        otlp.set_resource(&resource);
        Ok(Self {
            otlp,
            endpoint: settings.endpoint.clone(),
            metrics,
            is_failing: false,
        })
    }

    /// Exports what comes through `queue`, early when there are `many`; after `stop` what is left in it,
    /// and ends.
    pub async fn run(
        mut self,
        mut queue: Receiver<Ended>,
        many: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                first = queue.recv_many(&mut batch, BATCH) => if first == 0 { return },
                () = stop.cancelled(), if !queue.is_closed() => queue.close(),
            }
            // To be woken for each of the others would cost more than all else that is done for it.
            if (1..BATCH).contains(&batch.len()) && !queue.is_closed() {
                tokio::select! {
                    () = sleep(DELAY) => {}
                    () = many.notified() => {}
                    () = stop.cancelled() => queue.close(),
                }
            }
            while batch.len() < BATCH
                && let Ok(more) = queue.try_recv()
            {
                batch.push(more);
            }
            if !batch.is_empty() {
                self.export(std::mem::take(&mut batch)).await;
            }
        }
    }

    async fn export(&mut self, batch: Vec<Ended>) {
        let count = batch.len();
        let spans = batch.iter().flat_map(span::spans).collect();
        match self.otlp.export(spans).await {
            Ok(()) => {
                self.metrics.traces("exported", count);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = self.endpoint, "traces are exported again");
                }
            }
            Err(error) => {
                self.metrics.traces("failed", count);
                // A collector that stays away is told of once.
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(endpoint = self.endpoint, %error, "traces cannot be exported; those that follow are only counted");
                }
            }
        }
    }
}
