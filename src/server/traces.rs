//! Traces, where the configuration says where they go.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use url::Url;

use crate::config::model::Traces;
use crate::error::Fault;
use crate::outbound;
use crate::telemetry::Metrics;
use crate::telemetry::traces::{Settings, Tracer};

/// How long one export may take.
const EXPORT: Duration = Duration::from_secs(10);

/// Starts exporting on `runtime`; `None` where traces are off.
///
/// # Errors
///
/// Says what the exporter cannot do without, or make sense of.
pub fn start(
    config: &Traces,
    metrics: &Arc<Metrics>,
    runtime: &Handle,
) -> Result<Option<Arc<Tracer>>, Fault> {
    let Some(endpoint) = &config.endpoint else {
        return Ok(None);
    };
    let settings = Settings {
        endpoint: format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/')),
        headers: match &config.headers {
            Some(headers) => Traces::fields(headers).unwrap_or_default(),
            None => Default::default(),
        },
        service_name: config.service_name.clone(),
    };
    let started = client(endpoint)
        .and_then(|client| Tracer::start(&settings, client, metrics.clone(), runtime));
    let tracer = started.map_err(|why| {
        Fault::new(
            "traces",
            format!("traces cannot be exported: {why}"),
            "mend it, or take `traces.endpoint` out",
        )
    })?;
    Ok(Some(Arc::new(tracer)))
}

fn client(endpoint: &Url) -> Result<reqwest::Client, String> {
    let client = outbound::trusting(endpoint, None)?.timeout(EXPORT);
    client.build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_print_no_field() {
        let headers = "authorization=Bearer%20canary-0123456789".into();
        let settings = Settings {
            endpoint: "http://127.0.0.1:4318/v1/traces".to_owned(),
            headers: Traces::fields(&headers).expect("fields"),
            service_name: "yychat".to_owned(),
        };
        let shown = format!("{settings:?}");
        assert!(
            shown.contains("authorization") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
