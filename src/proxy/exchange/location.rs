//! Where an answer sends the client: an upstream's own address, which clients may be unable to reach
//! and have no business to know, does not show. What is under the upstream's `base_url` is under the
//! gateway's `/v1`, and is told so.

use http::{HeaderName, Uri, header};
use pingora::http::ResponseHeader;
use url::{Host, Url};

use crate::config::model::Upstream;
use crate::error::ApiError;
use crate::proxy::edge::path;
use crate::tools::is_public;

/// Fields that hold one URL: the second of what was asked for, the others of a job (Azure's).
const URLS: [HeaderName; 4] = [
    header::LOCATION,
    header::CONTENT_LOCATION,
    HeaderName::from_static("operation-location"),
    HeaderName::from_static("azure-asyncoperation"),
];

/// Ends of names that mean something within a network alone.
const INNER_NAMES: [&str; 9] = [
    ".local",
    ".internal",
    ".localhost",
    ".lan",
    ".home",
    ".corp",
    ".intranet",
    ".svc",
    ".home.arpa",
];

/// Rewrites the URLs in an upstream's answer to the request for `asked`, and takes out those that
/// nobody outside can follow. `all` are the gateway's upstreams.
///
/// # Errors
///
/// 502 where a redirect leads to such a place, or to what was asked for.
pub fn hide(
    answer: &mut ResponseHeader,
    upstream: &Upstream,
    all: &[Upstream],
    asked: &Uri,
) -> Result<(), ApiError> {
    // Another URL, behind a time to wait.
    answer.remove_header("refresh");
    if upstream.api_key.is_some() {
        // A session that the gateway's own key has opened is no client's.
        answer.remove_header(&header::SET_COOKIE);
    }
    let shows = |link: &str| {
        let inner = |url: &str| !matches!(Place::of(url, upstream, all, asked), Place::Elsewhere);
        let urls = link.split('<').skip(1);
        let mut urls = urls.map(|it| it.split('>').next().unwrap_or_default());
        // One without a host is of this address as well as of the upstream's.
        urls.any(|url| url.contains("//") && inner(url))
    };
    let mut links = answer.headers.get_all(header::LINK).iter();
    if links.any(|link| link.to_str().is_ok_and(shows)) {
        answer.remove_header(&header::LINK);
    }
    for name in &URLS {
        let Some(value) = answer.headers.get(name) else {
            continue;
        };
        let location = value.to_str().ok();
        let place = location.map_or(Place::Inner, |it| Place::of(it, upstream, all, asked));
        let redirects = answer.status.is_redirection() && name == header::LOCATION;
        match place {
            Place::Elsewhere => {}
            Place::Here(target) if redirects && is_asked(&target, asked) => {
                return Err(refusal(upstream, location, "to another address of its own"));
            }
            Place::Here(target) => {
                // It is a path of visible letters.
                let _ = answer.insert_header(name, target);
            }
            Place::Inner if redirects => {
                return Err(refusal(
                    upstream,
                    location,
                    "to a place outside of its base_url",
                ));
            }
            Place::Inner => drop(answer.remove_header(name)),
        }
    }
    Ok(())
}

fn is_asked(target: &str, asked: &Uri) -> bool {
    asked.path_and_query().is_some_and(|asked| asked == target)
}

/// What a URL leads to.
enum Place {
    /// Something that the gateway serves, as it is asked for here.
    Here(String),
    /// A public place that is no upstream's.
    Elsewhere,
    /// Nothing that a client should hear of.
    Inner,
}

impl Place {
    fn of(location: &str, upstream: &Upstream, all: &[Upstream], asked: &Uri) -> Self {
        let base = &upstream.base_url;
        let mut sent = base.clone();
        let path = path::under(asked, base);
        sent.set_path(path.split('?').next().unwrap_or_default());
        let Ok(url) = sent.join(location) else {
            return Self::Inner;
        };
        if is_same_place(&url, base)
            && let Some(rest) = below(url.path(), base.path().trim_end_matches('/'))
        {
            let query = url.query().map(|query| ["?", query].concat());
            let fragment = url.fragment().map(|fragment| ["#", fragment].concat());
            let ends = [query, fragment].map(Option::unwrap_or_default);
            return Self::Here(["/v1", rest, &ends[0], &ends[1]].concat());
        }
        let is_an_upstreams = || all.iter().any(|it| it.base_url.host() == url.host());
        match url.host() {
            Some(host) if is_outer(&host) && !is_an_upstreams() => Self::Elsewhere,
            _ => Self::Inner,
        }
    }
}

/// Whether the URL is of the upstream's host and port. One that is on the port of its scheme may
/// send the client to the other scheme.
fn is_same_place(url: &Url, base: &Url) -> bool {
    let usual = |url: &Url| url.port().is_none() && ["http", "https"].contains(&url.scheme());
    url.host() == base.host()
        && (url.port_or_known_default() == base.port_or_known_default()
            || (usual(url) && usual(base)))
}

/// What follows `prefix` in the path, where it is under it.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    path.strip_prefix(prefix)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a host means the same to everyone.
fn is_outer(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(ip) => is_public((*ip).into()),
        Host::Ipv6(ip) => is_public((*ip).into()),
        Host::Domain(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name.contains('.') && !INNER_NAMES.iter().any(|end| name.ends_with(end))
        }
    }
}

fn refusal(upstream: &Upstream, location: Option<&str>, whither: &str) -> ApiError {
    // Operators may know the address that clients may not.
    tracing::warn!(upstream = upstream.name, location, "redirect refused");
    ApiError::bad_gateway(format!(
        "The upstream `{}` redirects {whither}. Whoever runs this gateway finds the address in its \
         log: set the upstream's base_url to where it serves its API.",
        upstream.name
    ))
    .code("upstream_error")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Config;
    use crate::config::{self, Sources};
    use crate::reading::Reading;

    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("yychat.toml");
        let upstreams = [
            ("a", "http://10.0.0.5:8000/openai/v1"),
            ("b", "http://models.example.com/v1"),
        ];
        let tables = upstreams.map(|(name, base_url)| {
            format!("[[upstreams]]\nname = '{name}'\nbase_url = '{base_url}'\n")
        });
        std::fs::write(&file, tables.concat()).unwrap();
        let sources = Sources {
            file: Some(file),
            ..Sources::default()
        };
        let loaded = config::load(&sources, &Reading::default());
        loaded.unwrap_or_else(|faults| panic!("{faults}")).config
    }

    /// What becomes of a field of an answer of that status.
    fn hidden(status: u16, name: &'static str, value: &str, at: usize) -> Option<String> {
        let config = config();
        let asked = Uri::from_static("/v1/files/a?x=y");
        let mut answer = ResponseHeader::build(status, None).unwrap();
        answer.insert_header(name, value).unwrap();
        let upstream = &config.upstreams[at];
        match hide(&mut answer, upstream, &config.upstreams, &asked) {
            Err(error) => {
                assert!(!error.message.contains("10.0.0."), "{}", error.message);
                Some(format!("{}", error.status.as_u16()))
            }
            Ok(()) => {
                let value = answer.headers.get(name);
                value.map(|value| value.to_str().unwrap().to_owned())
            }
        }
    }

    #[test]
    fn what_is_under_the_base_url_is_under_v1() {
        for (location, expected) in [
            ("http://10.0.0.5:8000/openai/v1/files/a/", "/v1/files/a/"),
            ("http://10.0.0.5:8000/openai/v1", "/v1"),
            ("HTTP://10.0.0.5:8000/openai/v1/b?c=d#e", "/v1/b?c=d#e"),
            ("//10.0.0.5:8000/openai/v1/b", "/v1/b"),
            ("http://user:word@10.0.0.5:8000/openai/v1/b", "/v1/b"),
            ("http://0x0a000005:8000/openai/v1/b", "/v1/b"),
            ("/openai/v1/b", "/v1/b"),
            ("b", "/v1/files/b"),
            ("../models", "/v1/models"),
            ("?z", "/v1/files/a?z"),
        ] {
            let told = hidden(307, "location", location, 0);
            assert_eq!(told.as_deref(), Some(expected), "{location}");
        }
        let https = hidden(301, "location", "https://models.example.com/v1/b", 1);
        assert_eq!(https.as_deref(), Some("/v1/b"));
        let created = hidden(201, "location", "http://10.0.0.5:8000/openai/v1/b", 0);
        assert_eq!(created.as_deref(), Some("/v1/b"));
    }

    #[test]
    fn a_redirect_that_nobody_outside_can_follow_is_refused() {
        for location in [
            "http://10.0.0.5:8000/login",
            "http://10.0.0.5:8000/openai/v1x",
            "http://10.0.0.5:9000/openai/v1/a",
            "https://10.0.0.5/openai/v1/a",
            "//10.0.0.6/openai/v1/a",
            "http://[::1]/",
            "http://127.0.0.1:1/",
            "http://vllm:8000/v1/a",
            "http://vllm.models.svc.cluster.local/v1/a",
            "http://models.example.com/v1/a",
            "http://192.168.1.2.:80/",
            "file:///etc/passwd",
            "\\\\10.0.0.6\\a",
            "http://",
            "/login",
            "../../../login",
            "/openai/v1/files/a?x=y",
        ] {
            let told = hidden(302, "location", location, 0);
            assert_eq!(told.as_deref(), Some("502"), "{location}");
        }
    }

    #[test]
    fn what_leads_elsewhere_stays_and_other_fields_are_no_reason_to_refuse() {
        let signed = "https://store.example.net/a?signature=b";
        assert_eq!(hidden(302, "location", signed, 0).as_deref(), Some(signed));
        assert_eq!(hidden(201, "location", "http://10.0.0.6/", 0), None);
        assert_eq!(hidden(302, "content-location", "http://10.0.0.6/", 0), None);
        assert_eq!(
            hidden(202, "operation-location", "//10.0.0.5:8000/openai/v1/o", 0).as_deref(),
            Some("/v1/o")
        );
        assert_eq!(hidden(200, "refresh", "0; url=http://10.0.0.5/", 0), None);
    }
}
