//! The store through a network that fails, and TLS, with the real server behind it.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::tests::{Alive, Server, until};
use super::*;
use crate::memory::store_tests::{put, record, scope};
use crate::memory::{Memory, Outcome, RecallQuery};

/// What a client sends before anything else where it wants TLS: eight bytes, big endian.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A TCP port that leads to a server's socket.
struct Front {
    address: SocketAddr,
    /// Nothing more goes through: neither bytes nor the end of them.
    hangs: watch::Sender<bool>,
    /// Where new connections lead to; nowhere, if to nothing.
    leads_to: watch::Sender<Option<PathBuf>>,
    /// No notification comes through.
    deaf: watch::Sender<bool>,
}

impl Front {
    async fn start(socket: PathBuf, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hangs = watch::Sender::new(false);
        let leads_to = watch::Sender::new(Some(socket));
        let deaf = watch::Sender::new(false);
        let (hang, lead, is_deaf) = (hangs.subscribe(), leads_to.subscribe(), deaf.subscribe());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (tls, is_deaf, mut hang) = (tls.clone(), is_deaf.clone(), hang.clone());
                let Some(socket) = lead.borrow().clone() else {
                    continue;
                };
                tokio::spawn(async move {
                    // Held on to while it hangs, so that nobody sees its end.
                    let mut serving = Box::pin(serve(client, socket, (tls, is_deaf)));
                    let hung = async { drop(hang.wait_for(|hangs| *hangs).await) };
                    tokio::select! {
                        () = hung => pending().await,
                        () = &mut serving => {}
                    }
                });
            }
        });
        Self {
            address,
            hangs,
            leads_to,
            deaf,
        }
    }

    fn url(&self, host: &str, options: &str) -> String {
        let port = self.address.port();
        format!("postgres://yychat@{host}:{port}/postgres?{options}")
    }
}

async fn serve(
    mut client: TcpStream,
    socket: PathBuf,
    (tls, deaf): (Option<TlsAcceptor>, watch::Receiver<bool>),
) {
    let server = UnixStream::connect(socket).await.unwrap();
    let Some(tls) = tls else {
        return forward(client, server, deaf).await;
    };
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    assert_eq!(request, SSL_REQUEST, "nothing is sent in the clear");
    client.write_all(b"S").await.unwrap();
    // A client that does not trust it leaves.
    if let Ok(client) = tls.accept(client).await {
        forward(client, server, deaf).await;
    }
}

/// Until either side breaks off.
async fn forward(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: UnixStream,
    deaf: watch::Receiver<bool>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let asked = tokio::io::copy(&mut from_client, &mut to_server);
    tokio::select! {
        _ = asked => {}
        _ = answer(&mut from_server, &mut to_client, deaf) => {}
    }
}

/// Passes the server's messages on: a letter, the length of the rest, and the rest.
async fn answer(
    server: &mut (impl AsyncRead + Unpin),
    client: &mut (impl AsyncWrite + Unpin),
    deaf: watch::Receiver<bool>,
) -> std::io::Result<()> {
    loop {
        let mut message = vec![0; 5];
        server.read_exact(&mut message).await?;
        let length = u32::from_be_bytes(message[1..].try_into().unwrap());
        message.resize(length as usize + 1, 0);
        server.read_exact(&mut message[5..]).await?;
        if message[0] == b'A' && *deaf.borrow() {
            continue;
        }
        client.write_all(&message).await?;
        client.flush().await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_holds_up_neither_recall_nor_its_recovery() {
    let mut alive = Alive::start();
    let front = Front::start(alive.server.socket(), None).await;
    let store = alive.open_at(&front.url("127.0.0.1", "")).unwrap();
    put(&store, &[record("ann", 1)]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = crate::memory::tests::config(folder.path());
    let memory = Memory::with_store(Arc::new(store.clone()), &config, None).unwrap();
    let query = RecallQuery {
        question: Arc::new("record".into()),
        limit: 5,
        deadline: Duration::from_millis(50),
        ..RecallQuery::default()
    };
    front.hangs.send_replace(true);
    let recall = memory.recall(&scope("ann"), &query).await;
    assert_eq!(recall.outcome, Outcome::Timeout);
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.apply(vec![Change::Put(record("ann", 2))]).await }
    });
    store.inner.link.suspect.notify_one();
    // Both hang until the link's question has had no answer.
    let refused = writing.await.unwrap();
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let recall = memory.recall(&scope("ann"), &query).await;
    assert_eq!(recall.outcome, Outcome::Error, "once it is known, at once");
    front.hangs.send_replace(false);
    until(&store, true).await;
    put(&store, &[record("ann", 3)]).await;
}

/// A memory over a store, and what it answers to a question about what [`record`] says.
async fn recalls(memory: &Memory, user: &str) -> Outcome {
    let query = RecallQuery {
        question: Arc::new("record".into()),
        limit: 5,
        deadline: Duration::from_secs(10),
        ..RecallQuery::default()
    };
    memory.recall(&scope(user), &query).await.outcome
}

fn over(store: &Postgres) -> Memory {
    let config = crate::memory::tests::config(std::path::Path::new("unused"));
    Memory::with_store(Arc::new(store.clone()), &config, None).unwrap()
}

/// Does it again until it succeeds.
async fn at_last<T>(mut work: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    loop {
        match work().await {
            Ok(value) => return value,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Another server that follows this one.
fn follower(of: &Server) -> Server {
    let follower = Server::bare();
    let copied = follower.run("pg_basebackup", |command| {
        let socket = of.socket();
        command.arg("-h").arg(socket.parent().unwrap());
        command.args(["-U", "yychat", "-X", "stream", "-c", "fast", "-R"]);
        command.arg("-D").arg(follower.data());
    });
    assert!(copied, "pg_basebackup failed");
    follower.start_again();
    follower
}

/// Has a follower take writes from now on.
fn promote(follower: &Server) {
    assert!(follower.pg_ctl(&["promote"]), "it follows");
}

/// Two gateways at a server whose place another takes, while it lives on as `demote` leaves it.
async fn switched_over(demote: &[&str]) {
    let mut alive = Alive::start();
    let front = Front::start(alive.server.socket(), None).await;
    let (one, two) = (
        alive.open_at(&front.url("127.0.0.1", "")).unwrap(),
        alive.open_at(&front.url("127.0.0.1", "")).unwrap(),
    );
    let records = [record("ann", 1), record("bob", 2)];
    put(&one, &records).await;
    let memory = over(&two);
    assert_eq!(recalls(&memory, "ann").await, Outcome::Hit);

    let follower = follower(&alive.server);
    promote(&follower);
    front.leads_to.send_replace(Some(follower.socket()));
    for demote in demote {
        alive.client().await.batch_execute(demote).await.unwrap();
    }
    let mut heard = two.elsewhere();
    // Who erases may be told no first, since his connections lead to the old one still.
    one.inner.link.suspect.notify_one();
    let url = follower.url("postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let all = Selection::Scope(scope("ann"));
    loop {
        at_last(async || one.erase("tenant", &all).await).await;
        let left = "SELECT count(*) FROM yychat.records";
        let left: i64 = client.query_one(left, &[]).await.unwrap().get(0);
        if left == 1 {
            break;
        }
        // The old one took it, which nobody here can know yet.
        one.inner.link.suspect.notify_one();
    }
    // Nobody tells the other, whose connection is as good as ever: it finds out by itself.
    while !matches!(heard.recv().await, Ok(Elsewhere::Everything)) {}
    until(&two, true).await;
    while recalls(&memory, "ann").await != Outcome::Miss {}
    assert_eq!(recalls(&memory, "bob").await, Outcome::Hit);
    put(&two, &[record("eve", 3)]).await;
    assert_eq!(two.trouble(), None);
    // What is written through one is heard through the other again.
    let mut heard = one.elsewhere();
    put(&two, &[record("ann", 4)]).await;
    while !matches!(heard.recv().await, Ok(Elsewhere::Scope(of)) if of == scope("ann")) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_replaced_and_lives_on_read_only_is_left() {
    let set = "ALTER SYSTEM SET default_transaction_read_only = on";
    switched_over(&[set, "SELECT pg_reload_conf()"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_replaced_and_still_takes_writes_is_left() {
    switched_over(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_no_store_until_it_is_promoted() {
    let mut alive = Alive::start();
    let first = alive.open_at(&alive.server.url("postgres")).unwrap();
    put(&first, &[record("ann", 1)]).await;
    let follower = follower(&alive.server);
    let store = alive.open_at(&follower.url("postgres")).unwrap();
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("standby"), "{trouble}");
    promote(&follower);
    until(&store, true).await;
    put(&store, &[record("bob", 2)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_can_no_more_be_made_are_shown_while_those_that_are_there_serve() {
    let mut alive = Alive::start();
    let front = Front::start(alive.server.socket(), None).await;
    let store = alive.open_at(&front.url("127.0.0.1", "")).unwrap();
    put(&store, &[record("ann", 1)]).await;
    front.leads_to.send_replace(None);
    while store.trouble().is_none() {
        store.inner.link.suspect.notify_one();
        tokio::task::yield_now().await;
    }
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("no new connection"), "{trouble}");
    put(&store, &[record("ann", 2)]).await;
    front.leads_to.send_replace(Some(alive.server.socket()));
    while store.trouble().is_some() {
        store.inner.link.suspect.notify_one();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_told_nothing_knows_it() {
    let mut alive = Alive::start();
    let front = Front::start(alive.server.socket(), None).await;
    let store = alive.open_at(&front.url("127.0.0.1", "")).unwrap();
    let memory = over(&store);
    put(&store, &[record("ann", 1)]).await;
    assert_eq!(recalls(&memory, "ann").await, Outcome::Hit);
    // It answers whatever it is asked, and tells of nothing.
    front.deaf.send_replace(true);
    until(&store, false).await;
    let trouble = store.trouble().unwrap();
    assert!(trouble.contains("no notifications"), "{trouble}");
    let other = alive.open_at(&alive.server.url("postgres")).unwrap();
    let all = Selection::Scope(scope("ann"));
    other.erase("tenant", &all).await.unwrap();
    let mut heard = store.elsewhere();
    front.deaf.send_replace(false);
    while !matches!(heard.recv().await, Ok(Elsewhere::Everything)) {}
    until(&store, true).await;
    // The indexes hear of it at the same time as the test.
    while recalls(&memory, "ann").await != Outcome::Miss {}
}

/// An authority's certificate in a file, and a server that has one of it, made out to `name`.
fn authority(folder: &std::path::Path, name: &str) -> (PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let file = folder.join(format!("{name}.pem"));
    std::fs::write(&file, issuer.pem()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (file, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_spoken_with_whom_an_authority_vouches_for_and_nobody_else() {
    let mut alive = Alive::start();
    let folder = tempfile::tempdir().unwrap();
    let (trusted, acceptor) = authority(folder.path(), "localhost");
    let (other, _) = authority(folder.path(), "other");
    let front = Front::start(alive.server.socket(), Some(acceptor)).await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let root = |file: &PathBuf| format!("sslmode={mode}&sslrootcert={}", file.display());
        let store = alive
            .open_at(&front.url("localhost", &root(&trusted)))
            .unwrap();
        assert_eq!(store.trouble(), None, "{mode}");
        put(&store, &[record("ann", 1)]).await;
        let store = alive
            .open_at(&front.url("localhost", &root(&other)))
            .unwrap();
        let why = store.trouble().unwrap();
        assert!(why.contains("certificate"), "{mode}: {why}");
        let store = alive
            .open_at(&front.url("127.0.0.1", &root(&trusted)))
            .unwrap();
        let why = store.trouble().unwrap();
        assert!(why.contains("certificate"), "another name, {mode}: {why}");
    }
}

#[test]
fn a_url_that_cannot_be_read_is_a_fault_without_its_secret() {
    let urls = [
        "postgres://u:sk-canary@host:port/db",
        "postgres://u:sk-canary@/db",
        "postgres://u:sk-canary@host/db?sk-canary=1",
        "postgres://u:sk-canary@host/db?sk-canary",
        "postgres://u:sk-canary@host/db?sslmode=prefer",
        "postgres://u:sk-canary@host/db?sslmode=sk-canary",
        "postgres://u:sk-canary@host/db?sslrootcert=/does/not/exist",
        "postgres://u:sk-canary@host/db?connect_timeout=sk-canary",
        "postgres:sk-canary",
    ];
    for url in urls {
        let Err(fault) = Target::parse(url) else {
            panic!("{url} was read");
        };
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains("canary"), "{url}: {shown}");
        assert!(!fault.mend.is_empty(), "{url}");
    }
}

#[test]
fn tls_is_the_rule_where_the_network_is_used() {
    use tokio_postgres::config::SslMode;
    let cases = [
        ("postgres://u@db.example/d", SslMode::Require),
        ("postgres://u@10.0.0.7,localhost/d", SslMode::Require),
        (
            "postgres://u@db.example/d?sslmode=disable",
            SslMode::Disable,
        ),
        ("postgres://u@localhost/d", SslMode::Disable),
        ("postgres://u@127.0.0.1:6432/d", SslMode::Disable),
        ("postgres://u@[::1]/d", SslMode::Disable),
        ("postgresql://u@%2Frun%2Fpostgresql/d", SslMode::Disable),
        (
            "postgres://u@localhost/d?sslmode=verify-full",
            SslMode::Require,
        ),
    ];
    for (url, mode) in cases {
        let target = Target::parse(url).unwrap();
        assert_eq!(target.config.get_ssl_mode(), mode, "{url}");
    }
}
