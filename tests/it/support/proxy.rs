//! The real server, in this process, on free ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Mutex, mpsc};
use yychat::config::Sources;
use yychat::error::{Fault, Faults};
use yychat::server::{self, Bound, Order, Shutdown};
use yychat::snapshot::Store;

use super::Upstream;
use super::client::{Client, Response, chat, get};
use super::eventually;

/// The calculator's manifest, as it comes with the gateway.
pub const CALCULATOR: &str = include_str!("../../../plugins/calculator/plugin.toml");
const SCHEMA: &str = include_str!("../../../plugins/calculator/calculator.json");

/// What a server is started with.
pub struct Setup {
    root: TempDir,
    config: String,
    upstreams: String,
    env: BTreeMap<String, String>,
    set: BTreeMap<String, String>,
}

impl Setup {
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        for folder in ["conf/personalities", "plugins"] {
            std::fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        let inside = |path: &str| root.path().join(path).to_string_lossy().into_owned();
        let set = [
            ("server.listen", "127.0.0.1:0".to_owned()),
            ("server.admin_listen", "127.0.0.1:0".to_owned()),
            ("server.workers", "1".to_owned()),
            ("timeouts.drain", "10s".to_owned()),
            ("personality.dir", inside("conf/personalities")),
            ("tools.dir", inside("plugins")),
            ("memory.path", inside("data/memory")),
        ];
        Self {
            config: String::new(),
            upstreams: String::new(),
            env: BTreeMap::new(),
            set: set.map(|(key, value)| (key.to_owned(), value)).into(),
            root,
        }
    }

    /// Another upstream; `more` are further lines of its table.
    pub fn upstream(self, upstream: &Upstream, more: &str) -> Self {
        self.upstream_at(&format!("http://{}/v1", upstream.address()), more)
    }

    /// Another upstream, named `u0`, `u1` and so on.
    pub fn upstream_at(mut self, base_url: &str, more: &str) -> Self {
        let number = self.upstreams.matches("[[upstreams]]").count();
        self.upstreams.push_str(&format!(
            "[[upstreams]]\nname = \"u{number}\"\nbase_url = \"{base_url}\"\n{more}\n"
        ));
        self
    }

    /// Lines of the configuration file that stand before the upstreams.
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// One of the gateway's own keys.
    pub fn key(mut self, name: &str, key: &str, tenant: &str) -> Self {
        let variable = format!("KEY_{}", name.to_uppercase());
        self.upstreams.push_str(&format!(
            "[[auth.keys]]\nname = \"{name}\"\nkey = {{ env = \"{variable}\" }}\ntenant = \"{tenant}\"\n"
        ));
        self.env(&variable, key)
    }

    /// Further lines of the table that was added last.
    pub fn with(mut self, lines: &str) -> Self {
        self.upstreams.push_str(lines);
        self.upstreams.push('\n');
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A key as the command line sets it.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.set.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves a key to the file.
    pub fn unset(mut self, key: &str) -> Self {
        self.set.remove(key);
        self
    }

    pub fn persona(self, id: &str, system_prompt: &str) -> Self {
        let file = json!({ "id": id, "name": id, "system_prompt": system_prompt });
        let path = format!("conf/personalities/{id}.json");
        self.file(&path, file.to_string().as_bytes())
    }

    /// The calculator that comes with the gateway, as its only tool.
    pub fn calculator(self) -> Self {
        std::fs::create_dir(self.path("plugins/calculator")).expect("a folder");
        self.file("plugins/calculator/plugin.toml", CALCULATOR.as_bytes())
            .file("plugins/calculator/calculator.json", SCHEMA.as_bytes())
    }

    /// A file under the server's own folder.
    pub fn file(self, path: &str, contents: &[u8]) -> Self {
        let path = self.root.path().join(path);
        std::fs::write(path, contents).expect("a folder that can be written");
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The keys that the command line sets.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(key, value)| (&**key, &**value))
    }

    fn sources(&self) -> Sources {
        Sources {
            file: Some(self.path("conf/yychat.toml")),
            env: self.env.clone(),
            overrides: self.set.clone().into_iter().collect(),
        }
    }

    /// Writes the configuration file and loads everything.
    pub fn open(&self) -> Result<(Store, Vec<Fault>), Faults> {
        let file = self.path("conf/yychat.toml");
        // A test may have put it there as a link.
        if file.symlink_metadata().is_err() {
            std::fs::write(&file, self.text()).expect("a folder that can be written");
        }
        Store::open(self.sources())
    }

    /// The text of the configuration file.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.config, self.upstreams)
    }

    /// Starts the server; it can be connected to when this returns.
    pub fn start(self) -> Proxy {
        let (store, _) = self.open().unwrap_or_else(|faults| panic!("{faults}"));
        let bound = Bound::bind(&store.load().config.server).expect("free ports");
        let (api, admin) = (bound.api(), bound.admin());
        let (orders, receiver) = mpsc::unbounded_channel();
        let shutdown = Arc::new(Orders(Mutex::new(receiver)));
        let thread = std::thread::spawn(move || server::run(Arc::new(store), bound, shutdown));
        Proxy {
            api,
            admin,
            orders,
            thread: Some(thread),
            setup: self,
        }
    }
}

struct Orders(Mutex<mpsc::UnboundedReceiver<Order>>);

#[async_trait]
impl Shutdown for Orders {
    async fn next(&self) -> Order {
        let order = self.0.lock().await.recv().await;
        // Without a test there is nobody to serve.
        order.unwrap_or(Order::Drain)
    }
}

/// A running server; it stops when dropped.
pub struct Proxy {
    pub api: SocketAddr,
    pub admin: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<JoinHandle<Result<(), Fault>>>,
    pub setup: Setup,
}

impl Proxy {
    /// A server before one upstream, all else as it comes.
    pub fn before(upstream: &Upstream) -> Self {
        Setup::new().upstream(upstream, "").start()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.api)
    }

    /// One request on a connection of its own.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> Response {
        self.client().exchange(request)
    }

    /// One chat request on a connection of its own.
    pub fn chat(&self, body: impl AsRef<[u8]>) -> Response {
        self.exchange(chat(&[], body))
    }

    /// One GET on the admin listener.
    pub fn admin(&self, path: &str) -> Response {
        Client::connect(self.admin).exchange(get(path, &["Connection: close"]))
    }

    /// The value of the metric that `line` begins, labels included; 0 where it is not there.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let value = text.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Waits until `/readyz?verbose` says `text`; gives all that it says.
    pub fn readyz_says(&self, text: &str) -> String {
        eventually(&format!("/readyz?verbose says {text:?}"), || {
            let said = self.admin("/readyz?verbose").text();
            said.contains(text).then_some(said)
        })
    }

    pub fn order(&self, order: Order) {
        self.orders.send(order).expect("the server listens");
    }

    /// Waits for the server to stop.
    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let stopped = thread.join().expect("the server does not panic");
            stopped.expect("the server starts");
        }
    }

    /// Waits until it has stopped by itself, or says that it has not.
    pub fn has_stopped(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub fn root(&self) -> &Path {
        self.setup.root.path()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.orders.send(Order::Drain);
        if let Some(thread) = self.thread.take() {
            let stopped = thread.join();
            if !std::thread::panicking() {
                stopped
                    .expect("the server does not panic")
                    .expect("the server starts");
            }
        }
    }
}
