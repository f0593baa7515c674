//! Who may look at the admin listener through a browser: pages of other sites may not, whatever
//! name they give this address (DNS rebinding), and none of them may change anything.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, header};

use crate::error::ApiError;
use crate::snapshot::Store;

/// What programs ask for, by whatever name they know the host.
pub const OPEN: [&str; 3] = ["/metrics", "/livez", "/readyz"];

/// Answers 403 where a browser may have been led here.
pub async fn guard(State(store): State<Arc<Store>>, request: Request, next: Next) -> Response {
    let snapshot = store.load();
    let names = &snapshot.config.server.admin_hosts;
    if !OPEN.contains(&request.uri().path())
        && let Err(why) = judge(request.method(), request.headers(), names)
    {
        return ApiError::new(StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

fn judge(method: &Method, headers: &HeaderMap, names: &BTreeSet<String>) -> Result<(), String> {
    let text = |name| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let host = text(header::HOST).unwrap_or_default();
    if !names_an_address(host) && !is_among(names, host) {
        return Err(format!(
            "The dashboard is not served under the name `{host}`, which another site could have \
             given this address. Ask for it by address or as localhost, or add the name to \
             server.admin_hosts."
        ));
    }
    let is_same = |origin: &str| origin.split_once("://").is_some_and(|(_, at)| at == host);
    let changes = ![Method::GET, Method::HEAD].contains(method);
    match text(header::ORIGIN) {
        Some(origin) if changes && !is_same(origin) => Err(format!(
            "A page of `{origin}` may not change anything here."
        )),
        _ => Ok(()),
    }
}

/// A `Host` without its port.
fn without_port(host: &str) -> &str {
    let port = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    match host.rsplit_once(':') {
        Some((name, rest)) if port(rest) => name,
        _ => host,
    }
}

/// Whether a `Host` is one of `server.admin_hosts`.
fn is_among(names: &BTreeSet<String>, host: &str) -> bool {
    let name = without_port(host);
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a `Host` is an IP address or localhost, which no other site can be.
fn names_an_address(host: &str) -> bool {
    let name = without_port(host);
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || bare.unwrap_or(name).parse::<IpAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_be_another_sites_is_refused() {
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "localhost:9090",
            "LOCALHOST",
            "10.0.0.7",
        ] {
            assert!(names_an_address(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9090",
            "127.0.0.1.evil.example",
            "localhost.evil.example:1",
        ] {
            assert!(!names_an_address(host), "{host}");
        }
    }

    #[test]
    fn a_name_that_the_operator_gave_it_is_served() {
        let names = BTreeSet::from(["gateway.example.com".to_owned()]);
        let asked = |host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
            judge(&Method::GET, &headers, &names)
        };
        assert_eq!(asked("Gateway.example.com:9090"), Ok(()));
        assert_eq!(asked("gateway.example.com"), Ok(()));
        for host in ["evil.example", "gateway.example.com.evil.example:9090", ""] {
            let refusal = asked(host).unwrap_err();
            assert!(refusal.contains("server.admin_hosts"), "{refusal}");
        }
    }
}
