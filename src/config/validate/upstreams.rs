//! `[[upstreams]]`.

use std::collections::{BTreeMap, BTreeSet};

use globset::{Glob, GlobSet, GlobSetBuilder};
use url::{Host, ParseError, Url};

use super::unique;
use crate::config::check::Check;
use crate::config::model::{Dialect, HttpVersion, KeyHeader, Upstream};
use crate::config::raw;

pub(super) fn upstreams(raw: &[raw::Upstream], check: &mut Check<'_>) -> Vec<Upstream> {
    if raw.is_empty() {
        check.fault("upstreams", "is empty", "add one [[upstreams]] at least");
    }
    let mut names = BTreeMap::new();
    raw.iter()
        .enumerate()
        .map(|(index, raw)| {
            let upstream = upstream(index, raw, check);
            unique(
                &format!("upstreams.{index}.name"),
                &raw.name,
                &mut names,
                check,
            );
            upstream
        })
        .collect()
}

fn upstream(index: usize, raw: &raw::Upstream, check: &mut Check<'_>) -> Upstream {
    let key = |name: &str| format!("upstreams.{index}.{name}");
    check.required(&key("name"), &raw.name);
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !(1..=64).contains(&raw.name.len()) || !raw.name.bytes().all(plain) {
        check.fault(
            &key("name"),
            format!("is {:?}, not a name", raw.name),
            "give 1 to 64 of a-z, 0-9, `_` and `-`",
        );
    }
    let example = "https://api.openai.com/v1";
    let base_url = base_url(&key("base_url"), &raw.base_url, example, check);
    warn_of_path(&key("base_url"), &base_url, check);
    let api_key = raw
        .api_key
        .as_ref()
        .map(|secret| check.secret(&key("api_key"), secret));
    if api_key.is_some() {
        warn_of_plain_http(&key("base_url"), &base_url, check);
    }
    Upstream {
        name: raw.name.clone(),
        base_url,
        api_key,
        models: globs(&key("models"), &raw.models, check),
        model_patterns: raw.models.clone(),
        dialects: dialects(&key("dialects"), &raw.dialects, check),
        auth: raw.auth.as_ref().map(|text| {
            let choices = [
                ("bearer", KeyHeader::Bearer),
                ("x-api-key", KeyHeader::XApiKey),
                ("api-key", KeyHeader::ApiKey),
            ];
            check.choice(&key("auth"), text, choices)
        }),
        tools: raw.tools,
        default_model: (!raw.default_model.is_empty()).then(|| raw.default_model.clone()),
        strict_roles: raw.strict_roles,
        http: check.choice(
            &key("http"),
            &raw.http,
            [
                ("auto", HttpVersion::Auto),
                ("h1", HttpVersion::H1),
                ("h2", HttpVersion::H2),
            ],
        ),
        ca: raw.ca.as_ref().map(|path| check.file(&key("ca"), path)),
    }
}

fn dialects(key: &str, names: &[String], check: &mut Check<'_>) -> BTreeSet<Dialect> {
    if names.is_empty() {
        check.fault(
            key,
            "is empty, so that it serves nothing",
            "name at least one of \"chat\", \"responses\", \"messages\"",
        );
    }
    let choices = [
        ("chat", Dialect::Chat),
        ("responses", Dialect::Responses),
        ("messages", Dialect::Messages),
    ];
    let names = names.iter().enumerate();
    let dialects =
        names.map(|(index, name)| check.choice(&format!("{key}.{index}"), name, choices));
    dialects.collect()
}

/// The URL is not shown in faults: it may hold a password.
pub(super) fn base_url(key: &str, text: &str, example: &str, check: &mut Check<'_>) -> Url {
    check.required(key, text);
    let what = match Url::parse(text) {
        Err(ParseError::RelativeUrlWithoutBase) => {
            "starts with neither http:// nor https://".to_owned()
        }
        Err(error) => format!("is not a URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            "starts with neither http:// nor https://".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "holds a user or password; a key goes into `api_key`".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "holds a query or fragment".to_owned()
        }
        Ok(mut url) => {
            let path = url.path().trim_end_matches('/').to_owned();
            url.set_path(&path);
            return url;
        }
    };
    check.fault(key, what, format!("write it as in \"{example}\""));
    Url::parse("https://invalid.invalid").expect("a constant URL parses")
}

/// Ends of paths that are put behind a base URL.
const ENDPOINTS: [&str; 6] = [
    "/chat/completions",
    "/completions",
    "/responses",
    "/messages",
    "/embeddings",
    "/models",
];

/// Servers whose API is at their root.
const AT_THE_ROOT: [&str; 2] = ["api.deepseek.com", "api.perplexity.ai"];

/// Warns of the two ways in which a base URL is most often not one.
pub(super) fn warn_of_path(key: &str, base_url: &Url, check: &mut Check<'_>) {
    let path = base_url.path().trim_end_matches('/');
    if let Some(end) = ENDPOINTS.iter().find(|end| path.ends_with(*end)) {
        let what = format!("ends in `{end}`, which requests bring themselves");
        return check.warn(
            key,
            &what,
            "leave that off, as in \"https://api.openai.com/v1\"",
        );
    }
    let is_version = |part: &str| {
        let number = part.strip_prefix('v').unwrap_or_default();
        number.starts_with(|first: char| first.is_ascii_digit())
    };
    let at_the_root = base_url
        .host_str()
        .is_some_and(|host| AT_THE_ROOT.contains(&host));
    if !at_the_root && !path.split('/').any(is_version) {
        check.warn(
            key,
            "has no `/v1`, under which most servers have their API",
            "add it, unless yours has /chat/completions right there",
        );
    }
}

/// Warns where an API key would be sent unencrypted over a network.
pub(super) fn warn_of_plain_http(key: &str, base_url: &Url, check: &mut Check<'_>) {
    if base_url.scheme() == "http" && !is_loopback(base_url) {
        check.warn(
            key,
            "sends the API key over plain http",
            "use https where the upstream has it",
        );
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

pub(super) fn globs(key: &str, patterns: &[String], check: &mut Check<'_>) -> GlobSet {
    if patterns.is_empty() {
        check.fault(
            key,
            "is empty, so that no model matches",
            "write [\"*\"] for all",
        );
    }
    let mut set = GlobSetBuilder::new();
    for (index, pattern) in patterns.iter().enumerate() {
        match Glob::new(pattern) {
            Ok(glob) => {
                set.add(glob);
            }
            Err(error) => check.fault(
                &format!("{key}.{index}"),
                format!("is {pattern:?}, not a glob: {}", error.kind()),
                "write it as in \"gpt-4*\" or \"{gpt,o3}-*\"",
            ),
        }
    }
    set.build().unwrap_or_else(|error| {
        check.fault(
            key,
            format!("cannot be matched: {error}"),
            "simplify the globs",
        );
        GlobSet::empty()
    })
}
