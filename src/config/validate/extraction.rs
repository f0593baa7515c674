//! `[memory.extraction]`.

use std::time::Duration;

use super::MINUTE;
use super::upstreams::is_loopback;
use crate::config::check::Check;
use crate::config::extract::nearest;
use crate::config::model::{Extraction, Upstream};
use crate::config::raw;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn extraction(
    raw: &raw::Extraction,
    upstreams: &[Upstream],
    check: &mut Check<'_>,
) -> Extraction {
    let names = || upstreams.iter().map(|upstream| upstream.name.as_str());
    if !raw.upstream.is_empty() && !names().any(|name| name == raw.upstream) {
        let mend = match nearest(&raw.upstream, names()) {
            Some(name) => format!("did you mean \"{name}\"?"),
            None => format!(
                "give the name of one of [[upstreams]]: \"{}\"",
                names().collect::<Vec<_>>().join("\", \"")
            ),
        };
        check.fault(
            "memory.extraction.upstream",
            format!("is {:?}, which is none of the upstreams", raw.upstream),
            mend,
        );
    }
    for (key, text, mend) in [
        (
            "upstream",
            &raw.upstream,
            "give the name of one of [[upstreams]]",
        ),
        (
            "model",
            &raw.model,
            "give the name of a model that the upstream serves",
        ),
    ] {
        if raw.enabled && text.is_empty() {
            check.fault(
                &format!("memory.extraction.{key}"),
                "is missing or empty, and extraction is enabled",
                mend,
            );
        }
    }
    let chosen = upstreams
        .iter()
        .find(|upstream| upstream.name == raw.upstream);
    if raw.enabled
        && let Some(upstream) = chosen
        && upstream.api_key.is_none()
        && !is_loopback(&upstream.base_url)
    {
        check.warn(
            "memory.extraction.upstream",
            "names an upstream without `api_key`, so that it is asked without one",
            "give that upstream an `api_key` where it wants one: callers' own keys are not kept",
        );
    }
    Extraction {
        enabled: raw.enabled,
        upstream: raw.upstream.clone(),
        model: raw.model.clone(),
        per_minute: check.number("memory.extraction.per_minute", raw.per_minute, 1..=6000),
        timeout: check.duration(
            "memory.extraction.timeout",
            &raw.timeout,
            SECOND..=10 * MINUTE,
        ),
        max_facts: check.number("memory.extraction.max_facts", raw.max_facts, 1..=20),
    }
}
