//! `[memory.embedding]`: an upstream or a folder, and only the keys of the one that is chosen.

use std::path::Path;
use std::time::Duration;

use super::upstreams::{base_url, warn_of_path, warn_of_plain_http};
use super::{MILLISECOND, MINUTE};
use crate::config::check::Check;
use crate::config::model::{Embedding, EmbeddingFolder, EmbeddingUpstream, MODEL_FILES};
use crate::config::raw;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Numbers in a vector at most.
const MOST_DIMENSIONS: u64 = 8192;

/// `None` goes with a fault.
pub(super) fn embedding(raw: &raw::Embedding, check: &mut Check<'_>) -> Option<Embedding> {
    match (&raw.base_url, &raw.model_dir) {
        (Some(url), None) => Some(Embedding::Upstream(upstream(url, raw, check))),
        (None, Some(dir)) => Some(Embedding::Folder(folder(dir, raw, check))),
        (Some(_), Some(_)) => {
            check.fault(
                "memory.embedding.model_dir",
                "stands beside `base_url`, and only one of them can embed",
                "keep `base_url` for an upstream, or `model_dir` for a model in this process",
            );
            None
        }
        (None, None) => {
            if !check.places.has_fault_in("memory.embedding") {
                check.fault(
                    "memory.embedding",
                    "says neither `base_url` nor `model_dir`",
                    "give the `base_url` and `model` of an upstream, or the `model_dir` of a model \
                     that runs in this process; without the section recall is by words alone",
                );
            }
            None
        }
    }
}

fn upstream(url: &str, raw: &raw::Embedding, check: &mut Check<'_>) -> EmbeddingUpstream {
    let base_url = base_url(
        "memory.embedding.base_url",
        url,
        "https://api.openai.com/v1",
        check,
    );
    warn_of_path("memory.embedding.base_url", &base_url, check);
    let api_key = raw
        .api_key
        .as_ref()
        .map(|secret| check.secret("memory.embedding.api_key", secret));
    if api_key.is_some() {
        warn_of_plain_http("memory.embedding.base_url", &base_url, check);
    }
    let model = raw.model.clone().unwrap_or_default();
    check.required("memory.embedding.model", &model);
    if let Some(query_model) = &raw.query_model {
        check.required("memory.embedding.query_model", query_model);
    }
    EmbeddingUpstream {
        base_url,
        api_key,
        query_model: raw.query_model.clone().unwrap_or_else(|| model.clone()),
        model,
        dimensions: raw
            .dimensions
            .map(|number| check.number("memory.embedding.dimensions", number, 1..=MOST_DIMENSIONS)),
        query_prefix: raw.query_prefix.clone(),
        passage_prefix: raw.passage_prefix.clone(),
        timeout: raw.timeout.as_ref().map_or(TIMEOUT, |text| {
            check.duration("memory.embedding.timeout", text, MILLISECOND..=5 * MINUTE)
        }),
    }
}

fn folder(dir: &str, raw: &raw::Embedding, check: &mut Check<'_>) -> EmbeddingFolder {
    let of_upstreams = [
        ("api_key", raw.api_key.is_some()),
        ("model", raw.model.is_some()),
        ("query_model", raw.query_model.is_some()),
        ("dimensions", raw.dimensions.is_some()),
        ("timeout", raw.timeout.is_some()),
    ];
    for (key, _) in of_upstreams.iter().filter(|(_, given)| *given) {
        check.fault(
            &format!("memory.embedding.{key}"),
            "is of an upstream, and `model_dir` names a model in this process",
            "take it out, or give `base_url` in the place of `model_dir`",
        );
    }
    let key = "memory.embedding.model_dir";
    let model_dir = check.path(key, dir);
    let missing: Vec<_> = MODEL_FILES
        .into_iter()
        .filter(|name| !model_dir.join(name).is_file())
        .collect();
    if !missing.is_empty() {
        let what = if Path::new(dir).is_dir() {
            format!("names {dir:?}, which has no {}", missing.join(", "))
        } else {
            format!("names {dir:?}, which is no folder")
        };
        check.fault(
            key,
            what,
            format!(
                "name the folder of a BERT or XLM-RoBERTa sentence model, with {}; a relative path \
                 starts at the working directory",
                MODEL_FILES.join(", ")
            ),
        );
    }
    EmbeddingFolder {
        model_dir,
        query_prefix: raw.query_prefix.clone(),
        passage_prefix: raw.passage_prefix.clone(),
    }
}
