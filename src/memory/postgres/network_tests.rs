//! The store through a network that fails, and TLS, with the real server behind it.

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::tests::{Alive, until};
use super::*;
use crate::memory::store_tests::{put, record, scope};
use crate::memory::{Memory, Outcome, RecallQuery};

/// What a client sends before anything else where it wants TLS: eight bytes, big endian.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A TCP port that leads to the server's socket.
struct Front {
    address: SocketAddr,
    /// Nothing more goes through: neither bytes nor the end of them.
    hangs: watch::Sender<bool>,
}

impl Front {
    async fn start(socket: PathBuf, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hangs = watch::Sender::new(false);
        let hang = hangs.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (socket, tls, mut hang) = (socket.clone(), tls.clone(), hang.clone());
                tokio::spawn(async move {
                    // Held on to while it hangs, so that nobody sees its end.
                    let mut serving = Box::pin(serve(client, socket, tls));
                    let hung = async { drop(hang.wait_for(|hangs| *hangs).await) };
                    tokio::select! {
                        () = hung => pending().await,
                        () = &mut serving => {}
                    }
                });
            }
        });
        Self { address, hangs }
    }

    fn url(&self, host: &str, options: &str) -> String {
        let port = self.address.port();
        format!("postgres://yychat@{host}:{port}/postgres?{options}")
    }
}

async fn serve(mut client: TcpStream, socket: PathBuf, tls: Option<TlsAcceptor>) {
    let server = UnixStream::connect(socket).await.unwrap();
    let Some(tls) = tls else {
        return forward(client, server).await;
    };
    let mut request = [0; 8];
    client.read_exact(&mut request).await.unwrap();
    assert_eq!(request, SSL_REQUEST, "nothing is sent in the clear");
    client.write_all(b"S").await.unwrap();
    // A client that does not trust it leaves.
    if let Ok(client) = tls.accept(client).await {
        forward(client, server).await;
    }
}

async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin, mut server: UnixStream) {
    // Whichever side breaks off.
    let _ = copy_bidirectional(&mut client, &mut server).await;
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
