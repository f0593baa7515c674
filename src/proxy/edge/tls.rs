//! TLS with clients. pingora's listener hands over what it has accepted, and the handshake is held
//! here: within the count of connections, and within a deadline of its own.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::timeout;

use crate::config::model;
use crate::error::Fault;

/// What clients may choose from, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What `server.tls` names, ready for handshakes.
pub struct Tls(Acceptor);

impl Tls {
    /// Reads certificates and key.
    ///
    /// # Errors
    ///
    /// A fault where they cannot be read, or do not belong together.
    pub fn new(tls: &model::Tls) -> Result<Self, Fault> {
        let certificates = CertificateDer::pem_file_iter(&tls.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| fault(&tls.cert, error))?;
        let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| fault(&tls.key, error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS12, &TLS13])
            .map_err(|error| fault(&tls.cert, error))?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(|error| fault(&tls.cert, error))?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Self(Acceptor::from_server_config(Arc::new(config))))
    }

    /// Shakes hands with a client that was accepted, `within` that time.
    ///
    /// # Errors
    ///
    /// That the client was late, or spoke no TLS that is spoken here.
    pub async fn accept(&self, stream: Stream, within: Duration) -> io::Result<Stream> {
        let socket = stream.into_any().downcast::<Socket>();
        let socket = socket.map_err(|_| io::Error::other("it is no socket"))?;
        let shaken = timeout(within, self.0.tls_handshake(*socket)).await?;
        let stream = shaken.map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Box::new(stream))
    }
}

fn fault(file: &Path, error: impl Display) -> Fault {
    Fault::new(
        file,
        format!("TLS cannot be set up: {error}"),
        "check server.tls: `cert` is a PEM chain and `key` its private key",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_certificate_are_a_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cert.pem");
        for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
            std::fs::write(&file, text).unwrap();
            let (cert, key) = (file.clone(), file.clone());
            let fault = Tls::new(&model::Tls { cert, key }).err().expect("a fault");
            let fault = fault.to_string();
            assert!(fault.contains("cert.pem: TLS cannot be set up"), "{fault}");
        }
    }
}
