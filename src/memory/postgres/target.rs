//! Where the database is and how it is reached: `memory.url`, which is never printed.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::config::{Config, Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::Fault;

/// How long a connection may take, the server's greeting included.
pub const CONNECT: Duration = Duration::from_secs(5);

/// A database, and the TLS by which it is spoken to.
#[derive(Clone)]
pub struct Target {
    pub config: Config,
    pub tls: MakeRustlsConnect,
}

/// `sslmode`, of which libpq's weaker kinds are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    Plain,
    /// With a certificate of an authority that is trusted, made out to the host's name.
    Verified,
}

impl Target {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
    ///
    /// # Errors
    ///
    /// A fault that holds nothing of the URL.
    pub fn parse(url: &str) -> Result<Self, Fault> {
        let (rest, options) = split_query(url);
        let mut tls = None;
        let mut authorities = None;
        let mut left = Vec::new();
        for option in options {
            match option.split_once('=') {
                Some(("sslmode", mode)) => tls = Some(ssl_mode(mode)?),
                Some(("sslrootcert", path)) => authorities = Some(file(path)?),
                _ => left.push(option),
            }
        }
        let url = format!("{rest}?{}", left.join("&"));
        // Neither the error nor what it names is shown: a password that is not encoded may have
        // become the name of an option.
        let mut config: Config = url.parse().map_err(|_| malformed("cannot be read"))?;
        if config.get_hosts().is_empty() {
            return Err(malformed("names no host"));
        }
        let tls = tls.unwrap_or_else(|| match config.get_hosts().iter().all(is_local) {
            true => Tls::Plain,
            false => Tls::Verified,
        });
        config
            .ssl_mode(match tls {
                Tls::Plain => SslMode::Disable,
                Tls::Verified => SslMode::Require,
            })
            .connect_timeout(CONNECT)
            .tcp_user_timeout(Duration::from_secs(30))
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("yychat");
        }
        let tls = MakeRustlsConnect::new(client(tls, authorities.as_deref())?);
        Ok(Self { config, tls })
    }
}

fn malformed(what: &str) -> Fault {
    fault(
        what,
        "write it as in \"postgres://user:password@host:5432/database?sslmode=verify-full\", with \
         %-escapes for special characters of the password, and options of libpq's behind the ?",
    )
}

fn fault(what: &str, mend: &str) -> Fault {
    Fault::new("memory", format!("memory.url {what}"), mend)
}

/// The options behind the `?`, which is looked for behind the password.
fn split_query(url: &str) -> (&str, Vec<&str>) {
    let host = url.find('@').unwrap_or(0);
    match url[host..].find('?') {
        None => (url, Vec::new()),
        Some(at) => {
            let options = &url[host + at + 1..];
            let options = options.split('&').filter(|option| !option.is_empty());
            (&url[..host + at], options.collect())
        }
    }
}

fn ssl_mode(mode: &str) -> Result<Tls, Fault> {
    match mode {
        "disable" => Ok(Tls::Plain),
        "require" | "verify-ca" | "verify-full" => Ok(Tls::Verified),
        _ => Err(fault(
            "has an sslmode that is neither plain nor safe",
            "give verify-full, or disable where the network is trusted",
        )),
    }
}

fn file(path: &str) -> Result<PathBuf, Fault> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8();
    let path = path.map_err(|_| malformed("has an sslrootcert that is not UTF-8"))?;
    Ok(PathBuf::from(&*path))
}

/// What goes there does not leave the machine.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        }
    }
}

fn client(tls: Tls, authorities: Option<&Path>) -> Result<ClientConfig, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| without_tls(&error.to_string()))?;
    let builder = match (tls, authorities) {
        // Never used: it need not trust anybody.
        (Tls::Plain, _) => builder.with_root_certificates(RootCertStore::empty()),
        (Tls::Verified, None) => builder
            .with_platform_verifier()
            .map_err(|error| without_tls(&error.to_string()))?,
        (Tls::Verified, Some(file)) => {
            let roots = Arc::new(roots(file)?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            builder.with_webpki_verifier(verifier.map_err(|e| bad_authorities(file, &e))?)
        }
    };
    Ok(builder.with_no_client_auth())
}

fn without_tls(what: &str) -> Fault {
    fault(
        &format!("asks for TLS, which cannot be had: {what}"),
        "install the system's certificate authorities (ca-certificates), or name a PEM file as \
         sslrootcert",
    )
}

fn roots(file: &Path) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad_authorities(file, &error))?;
    for certificate in certificates {
        roots
            .add(certificate)
            .map_err(|error| bad_authorities(file, &error))?;
    }
    Ok(roots)
}

fn bad_authorities(file: &Path, error: &dyn std::fmt::Display) -> Fault {
    Fault::new(
        file,
        format!("the sslrootcert of memory.url cannot be used: {error}"),
        "name a PEM file with the certificates of authorities",
    )
}
