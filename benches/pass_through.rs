//! Bare pingora: the baseline that the gateway is measured against. It reads nothing, adds
//! nothing and sends every request on, with the same workers and profile as yychat.
//!
//! `cargo bench --bench pass_through -- LISTEN UPSTREAM` serves until it is killed;
//! `benches/overhead.sh` runs it beside the gateway.

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::RunArgs;
use pingora::server::configuration::ServerConf;

struct PassThrough {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(
            &self.upstream,
            false,
            String::new(),
        )))
    }
}

fn main() {
    let mut addresses = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let (Some(listen), Some(upstream)) = (addresses.next(), addresses.next()) else {
        eprintln!("usage: pass_through LISTEN UPSTREAM, such as 127.0.0.1:8001 127.0.0.1:9100");
        return;
    };
    let conf = ServerConf {
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        upstream_keepalive_pool_size: 1024,
        // No authorities are needed for plain http, and pingora panics where it finds none.
        ca_file: Some("/dev/null".into()),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, PassThrough { upstream });
    service.add_tcp(&listen);
    service.threads = Some(server.configuration.threads);
    server.add_service(service);
    server.run(RunArgs::default());
}
