//! `MODEL@PERSONALITY` where a path or a query names the model: upstreams know the model alone.

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;

use super::endpoint::{self, Endpoint, Model};
use crate::personality::Personalities;

/// How `@` is written in a path or a query.
const MARKS: [&str; 2] = ["@", "%40"];

/// The address without the personality, and the name that stood there; `None` where no personality
/// is named in it.
pub fn without_personality(uri: &Uri, known: &Personalities) -> Option<(Uri, String)> {
    let (path, query) = (uri.path(), uri.query());
    let (target, name) = match in_path(path, known) {
        Some((path, name)) => (joined(&path, query), name),
        None => {
            let (query, name) = in_query(query?, known)?;
            (joined(path, Some(&query)), name)
        }
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Some((Uri::from_parts(parts).ok()?, name))
}

fn joined(path: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => [path, "?", query].concat(),
        None => path.to_owned(),
    }
}

fn in_path(path: &str, known: &Personalities) -> Option<(String, String)> {
    let endpoint = Endpoint::at(path);
    if endpoint.model != Model::Path {
        return None;
    }
    // What stands before the model is in each such path the same.
    let start = endpoint.path.find('{')?;
    let rest = path.get(start..)?;
    let end = match endpoint.path.contains("{*model}") {
        true => rest.len() - endpoint::method_of(rest).map_or(0, str::len),
        false => rest.find('/').unwrap_or(rest.len()),
    };
    let (model, name) = split(&rest[..end], known)?;
    Some(([&path[..start], model, &rest[end..]].concat(), name))
}

fn in_query(query: &str, known: &Personalities) -> Option<(String, String)> {
    let fields: Vec<_> = query.split('&').collect();
    let is_model = |field: &&str| {
        field
            .strip_prefix("model=")
            .is_some_and(|it| !it.is_empty())
    };
    let at = fields.iter().position(is_model)?;
    let (model, name) = split(fields[at], known)?;
    let name = name.strip_prefix("model=")?.to_owned();
    let query = [&fields[..at], &[model], &fields[at + 1..]].concat();
    Some((query.join("&"), name))
}

/// What stands before the personality as it is written, and all of it decoded.
fn split<'a>(written: &'a str, known: &Personalities) -> Option<(&'a str, String)> {
    let name = percent_decode_str(written).decode_utf8().ok()?;
    known.split_model(&name)?;
    let mark = MARKS.iter().filter_map(|mark| written.rfind(mark)).max()?;
    Some((&written[..mark], name.into_owned()))
}
