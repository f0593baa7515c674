//! Traces, where the configuration says where they go.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::Handle;

use crate::config::model::Traces;
use crate::error::Fault;
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
    let started = client(endpoint.scheme() == "https")
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

fn client(tls: bool) -> Result<reqwest::Client, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    // Plain http needs no authorities, and so none on the machine.
    let config = match tls {
        true => {
            BuilderVerifierExt::with_platform_verifier(config).map_err(|error| error.to_string())?
        }
        false => config.with_root_certificates(RootCertStore::empty()),
    };
    reqwest::Client::builder()
        .tls_backend_preconfigured(config.with_no_client_auth())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(EXPORT)
        .user_agent(concat!("yychat/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())
}
