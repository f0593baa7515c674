//! Wiring: listeners, services, signals, drain, upgrade.

mod admin;
mod bind;
mod channel;
mod drain;
mod introduction;
mod orders;
mod predecessor;
mod quota;
mod signals;
mod successor;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pingora::listeners::{L4BufferSettings, ListenerConfig};
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::listening::Service;
use sd_notify::NotifyState;
use tokio::runtime::{Handle, Runtime};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

pub use bind::{Bound, Inherited};
pub use quota::{look as look_at_shared, notes as shared_notes};
pub use signals::{Order, Shutdown, Signals};

use crate::admin::{Admin, router};
use crate::api;
use crate::config::model::{Config, is_reached_by_others};
use crate::error::Fault;
use crate::memory::Memory;
use crate::memory::embedding::{self, Embedder};
use crate::memory::extraction::{self, Extraction};
use crate::proxy::listener::Guard;
use crate::proxy::local::Local;
use crate::proxy::tls::Tls;
use crate::proxy::{Gateway, Shared, system_has_authorities};
use crate::quota::Purse;
use crate::snapshot::{Outcome, Store, Watcher};
use crate::telemetry::{Filing, Metrics, logs};
use crate::turn::HiddenRounds;
use admin::AdminService;
use drain::{Drain, Lingering};
use introduction::introduce;
use orders::{Orders, notify};
use predecessor::Predecessor;
use successor::Succession;

/// Idle connections to upstreams that are kept, over all upstreams.
const KEPT_CONNECTIONS: usize = 1024;

/// How long the store may take to save what is queued at shutdown.
const SAVING: Duration = Duration::from_secs(10);
/// How long what is left of the traces may take at shutdown.
const TRACING: Duration = Duration::from_secs(5);

/// Serves until `shutdown` says that it is enough, then finishes what is live.
///
/// Blocks; must not be called from within a tokio runtime, since pingora makes its own.
///
/// # Errors
///
/// A fault when TLS cannot be set up, when there are no certificate authorities for https upstreams,
/// or when others reach what is bound and the configuration does not know.
pub fn run(store: Arc<Store>, mut bound: Bound, shutdown: Arc<dyn Shutdown>) -> Result<(), Fault> {
    let snapshot = store.load();
    let config = &snapshot.config;
    bound.expect_as_configured(&config.server)?;
    let tls = config.server.tls.as_ref().map(Tls::new).transpose()?;
    let metrics = Arc::new(Metrics::new());
    let filing = Filing::start(metrics.clone())
        .map_err(|error| Fault::new("server", format!("no thread can be made: {error}"), ""))?;
    let mut server = Server::new_with_opt_and_conf(None, server_conf(config)?);
    let conf = server.configuration.clone();
    let draining = Arc::new(AtomicBool::new(false));

    // MCP servers are kept company here, whatever becomes of the requests that call them, and
    // traces are exported.
    let background = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .map_err(|error| Fault::new("server", format!("no runtime can be made: {error}"), ""))?;
    // What may fail or take long comes before another process lets go of the store.
    let tracer = traces::start(&config.traces, &metrics, background.handle())?;
    let minds = Minds::open(config)?;
    let predecessor = released(&mut bound, &background, config)?;
    let memory = minds.remember(config, predecessor.is_some())?;
    let (quota, notes) = quota::start(config, memory.clone(), &metrics, &background)?;
    let hidden_rounds = Arc::new(HiddenRounds::of(notes.clone()));
    if let Some(memory) = &memory {
        memory.share(notes.clone());
        memory.bill_to(Arc::new(Purse::new(store.clone(), quota.clone())));
    }
    let live = TaskTracker::new();
    let drain = Drain::new(
        live.clone(),
        draining.clone(),
        store.clone(),
        metrics.clone(),
    );
    let shared = Shared {
        snapshots: store.clone(),
        metrics: metrics.clone(),
        tracer: tracer.clone(),
        memory: memory.clone(),
        hidden_rounds: hidden_rounds.clone(),
        quota: quota.clone(),
        notes,
        live: live.clone(),
    };
    let preview = api::PreviewSource {
        memory: memory.clone(),
        hidden_rounds,
    };
    let own = local(
        api::owns,
        api::public(preview, metrics.clone(), quota.ledger().clone()),
    );
    let gateway = Gateway::new(shared, own, &conf);
    let follow = gateway.follower();
    follow(&snapshot);
    let mut api_service = service(gateway, &drain, tls);
    api_service.threads = Some(config.server.workers);
    listen(&mut api_service, &bound);

    let admin = router(Admin {
        snapshots: store.clone(),
        metrics: metrics.clone(),
        memory: memory.clone(),
        quota: quota.clone(),
        draining: draining.clone(),
        exposed: is_reached_by_others(bound.admin()),
        started: std::time::Instant::now(),
        figures: Arc::default(),
    });
    let admin_service = AdminService::new(bound.take_admin_listener(), admin, store.clone());

    let connect_tools = {
        let (store, handle) = (store.clone(), background.handle().clone());
        move || store.load().tools.start(&handle)
    };
    connect_tools();
    show_generation(&store, &metrics, Outcome::Applied);
    let reloaded = {
        let (store, metrics, memory) = (store.clone(), metrics.clone(), memory.clone());
        move |outcome| {
            connect_tools();
            follow(&store.load());
            if let Some(memory) = &memory {
                extract(&store, memory);
            }
            show_generation(&store, &metrics, outcome);
        }
    };
    let _watcher = Watcher::start(store.clone(), reloaded.clone())
        .inspect_err(|error| tracing::warn!(%error, "files are not watched; edits need SIGHUP"));

    server.bootstrap();
    server.add_service(drain.first(api_service, bound.fds()));
    // Whoever asks during the drain is told that it drains.
    server.add_service(drain.last(admin_service));
    introduce(&store.load(), &bound);
    let snapshots = store.clone();
    let reload = move || {
        reloaded(store.reload_anyway());
    };
    let succession = Arc::new(Succession::new(
        bound.kept(),
        memory.clone(),
        background.handle().clone(),
    ));
    let started = started(
        (predecessor, live.clone()),
        memory.clone(),
        background.handle().clone(),
    );
    server.run(RunArgs {
        shutdown_signal: Box::new(Orders {
            shutdown,
            started: Mutex::new(Some(started)),
            reload,
            snapshots,
            succession: succession.clone(),
            drain,
        }),
    });
    background.block_on(quota.finish());
    background.block_on(quota.ledger().flush());
    if let Some(memory) = memory {
        background.block_on(finish_saving(&memory, &succession));
    }
    if let Some(tracer) = tracer
        && !background.block_on(tracer.stop(TRACING))
    {
        tracing::warn!(within = ?TRACING, "not all traces were exported");
    }
    background.shutdown_background();
    drop(filing);
    tracing::info!("stopped");
    Ok(())
}

/// The process that this one is to replace, where there is one, once it has closed its store.
fn released(
    bound: &mut Bound,
    background: &Runtime,
    config: &Config,
) -> Result<Option<Predecessor>, Fault> {
    let Some(socket) = bound.predecessor() else {
        return Ok(None);
    };
    background.block_on(async {
        let mut predecessor = Predecessor::new(socket)?;
        predecessor.release(config.memory.enabled).await?;
        Ok(Some(predecessor))
    })
}

/// Tells those who wait for it that this process serves.
fn started(
    (predecessor, live): (Option<Predecessor>, TaskTracker),
    memory: Option<Arc<Memory>>,
    background: Handle,
) -> orders::Started {
    Box::new(move || {
        let Some(predecessor) = predecessor else {
            return notify(&[NotifyState::Ready]);
        };
        // It must know before the old process ends, which is its main one so far.
        notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
        // What is live over there is saved here: this process does not end before it.
        background.spawn(live.track_future(predecessor.succeed(memory)));
    })
}

/// Saves what is still queued, here or in the process that has taken this one's place.
async fn finish_saving(memory: &Memory, succession: &Succession) {
    let saved = memory.drain(SAVING).await && succession.finish(SAVING).await;
    // The other process may have gone, and what it did not save come back.
    if !(saved && memory.drain(SAVING).await) {
        tracing::error!(queue = memory.stats().queue, within = ?SAVING, "not everything was saved");
    }
}

fn server_conf(config: &Config) -> Result<ServerConf, Fault> {
    let mut conf = ServerConf {
        threads: config.server.workers,
        upstream_keepalive_pool_size: KEPT_CONNECTIONS,
        // The drain is our own: by the time pingora is told to stop, nothing is live.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    if !system_has_authorities() {
        let needs_them = |upstream: &&crate::config::model::Upstream| {
            upstream.base_url.scheme() == "https" && upstream.ca.is_none()
        };
        if let Some(upstream) = config.upstreams.iter().find(needs_them) {
            return Err(Fault::new(
                "/etc/ssl/certs",
                format!(
                    "the system has no certificate authorities, and the upstream `{}` is https",
                    upstream.name
                ),
                "install the package ca-certificates, or name a PEM file in `ca`",
            ));
        }
        // pingora would panic for want of authorities that no upstream here needs.
        conf.ca_file = Some("/dev/null".into());
    }
    Ok(conf)
}

/// A router of plain HTTP, as the proxy calls it.
fn local(owns: fn(&str) -> bool, router: axum::Router) -> Local {
    Local::new(owns, move |request| {
        let answering = router.clone().oneshot(request.map(axum::body::Body::from));
        async move {
            // A router answers every request, errors included.
            let Ok(response) = answering.await;
            response.map(http_body_util::BodyExt::boxed_unsync)
        }
    })
}

fn service(
    gateway: Gateway,
    drain: &Drain,
    tls: Option<Tls>,
) -> Service<Lingering<Guard<Gateway>>> {
    let shared = gateway.shared();
    let (store, metrics) = (shared.snapshots.clone(), shared.metrics.clone());
    let guard = Guard::new(gateway, store, metrics, tls);
    Service::new("api".to_owned(), drain.lingering(guard))
}

fn listen<A>(service: &mut Service<A>, bound: &Bound) {
    // The guard gathers what is read and written; pingora's own buffer, 64 KiB for each connection,
    // would hold nothing and be there for as long as its stream.
    let endpoint = ListenerConfig::tcp(bound.api().to_string());
    service.add_listener(endpoint.l4_buffer(L4BufferSettings::unbuffered()));
}

/// The models that memory works with.
struct Minds {
    embedder: Option<Arc<dyn Embedder>>,
    extraction: Option<Extraction>,
}

impl Minds {
    fn open(config: &Config) -> Result<Self, Fault> {
        Ok(Self {
            embedder: match config.memory.enabled {
                true => embedding::open(&config.memory)?,
                false => None,
            },
            extraction: extraction::open(config)?,
        })
    }

    /// Opens memory, whose store another process may just have let go; `None` where it is off.
    fn remember(self, config: &Config, is_heir: bool) -> Result<Option<Arc<Memory>>, Fault> {
        if !config.memory.enabled {
            return Ok(None);
        }
        let open = match is_heir {
            true => Memory::take_over,
            false => Memory::open,
        };
        let memory = open(&config.memory, self.embedder)?;
        memory.extract_with(self.extraction);
        Ok(Some(Arc::new(memory)))
    }
}

/// Has facts extracted as the generation in force says.
fn extract(store: &Store, memory: &Memory) {
    let config = &store.load().config;
    if !config.memory.enabled {
        return memory.extract_with(None);
    }
    match extraction::open(config) {
        Ok(extraction) => memory.extract_with(extraction),
        Err(fault) => tracing::error!(%fault, "facts are extracted as before"),
    }
}

fn show_generation(store: &Store, metrics: &Metrics, outcome: Outcome) {
    let status = store.status();
    let snapshot = store.load();
    if let Err(why) = logs::set_level(&snapshot.config.log.level) {
        tracing::error!(why, "the log's level stays as it was");
    }
    let shown = &metrics.generation;
    shown.open_to_all.set(i64::from(snapshot.is_open_to_all()));
    shown
        .number
        .set(i64::try_from(status.generation).unwrap_or(i64::MAX));
    shown.last_good.set(i64::from(status.is_last_good()));
    shown
        .personalities_broken
        .set(i64::try_from(status.broken.0.len()).unwrap_or(i64::MAX));
    shown.reloaded(match outcome {
        Outcome::Applied => "applied",
        Outcome::Unchanged => "unchanged",
        Outcome::Refused => "refused",
    });
}

/// Sets a flag that others read.
fn raise(flag: &AtomicBool) {
    flag.store(true, Ordering::Release);
}
