//! The upstreams that may serve a request, in the order in which they are tried.

use crate::config::model::{Config, Dialect, Upstream};
use crate::error::ApiError;
use crate::snapshot::Caller;

/// What decides which upstreams these are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sought<'a> {
    pub model: Option<&'a str>,
    /// Whose API the path is, where it is not everyone's.
    pub dialect: Option<Dialect>,
    /// The upstream that an id in the request is from.
    pub origin: Option<&'a str>,
}

/// Places in `config.upstreams`, at least one.
///
/// The first that serves comes first, the others stand in for it. A caller's own key goes with the
/// request, so without a model they are only those that serve all that the first one does; and
/// what an id is of is known to one alone.
///
/// # Errors
///
/// 404 for a model that nobody serves, or that is not for this key, and for a dialect that none
/// of them speaks.
pub fn choose(
    config: &Config,
    caller: &Caller,
    sought: Sought<'_>,
) -> Result<Vec<usize>, ApiError> {
    let mut chosen: Vec<_> = (0..config.upstreams.len()).collect();
    if let Some(model) = sought.model {
        expect_allowed(caller, model)?;
        chosen.retain(|place| config.upstreams[*place].models.is_match(model));
        if chosen.is_empty() {
            return Err(unserved(model));
        }
    }
    chosen.retain(|place| speaks(&config.upstreams[*place], sought.dialect));
    let Some(&first) = chosen.first() else {
        return Err(unspoken(sought));
    };
    let from = |place: &usize| sought.origin == Some(config.upstreams[*place].name.as_str());
    let origin = chosen.iter().copied().find(from);
    match (sought.model, origin) {
        (None, Some(origin)) => chosen = vec![origin],
        (None, None) => {
            let first = &config.upstreams[first];
            chosen.retain(|&place| stands_in(&config.upstreams[place], first));
        }
        (Some(_), Some(origin)) => {
            chosen.retain(|place| *place != origin);
            chosen.insert(0, origin);
        }
        (Some(_), None) => {}
    }
    Ok(chosen)
}

/// The places of those that speak a dialect.
pub fn speaking(upstreams: &[Upstream], dialect: Option<Dialect>) -> Vec<usize> {
    let places = upstreams.iter().enumerate();
    let speaking = places.filter(|(_, upstream)| speaks(upstream, dialect));
    speaking.map(|(place, _)| place).collect()
}

/// What the model that a body names decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decides {
    /// Which upstream it goes to, or whether to any.
    pub route: bool,
    /// Whether one has to be put in.
    pub default: bool,
}

/// What a model decides in this configuration, for this key.
pub fn depends_on_model(config: &Config, caller: &Caller, dialect: Option<Dialect>) -> Decides {
    let speaking = speaking(&config.upstreams, dialect);
    let has_default = |place: &usize| config.upstreams[*place].default_model.is_some();
    Decides {
        route: caller.models.is_some()
            || !matches!(speaking[..], [only] if serves_all(&config.upstreams[only])),
        default: speaking.iter().any(has_default),
    }
}

/// Refuses a model that is not for the caller's key.
pub fn expect_allowed(caller: &Caller, model: &str) -> Result<(), ApiError> {
    match caller.may_use(model) {
        true => Ok(()),
        false => Err(not_for_key(model)),
    }
}

/// Of the upstreams that may serve a request which names no model, those that will ask one which is
/// for the caller's key: their `default_model`. What an upstream without one asks nobody here knows.
///
/// # Errors
///
/// 404 where the defaults are not for this key, 400 where there are none.
pub fn with_allowed_default(
    config: &Config,
    caller: &Caller,
    mut places: Vec<usize>,
) -> Result<Vec<usize>, ApiError> {
    if caller.models.is_none() {
        return Ok(places);
    }
    let default = |place: &usize| config.upstreams[*place].default_model.as_deref();
    let refused = places.iter().find_map(default);
    let refusal = refused.map_or_else(untold, not_for_key);
    places.retain(|place| default(place).is_some_and(|model| caller.may_use(model)));
    match places.is_empty() {
        true => Err(refusal),
        false => Ok(places),
    }
}

/// The model that a request which names none is taken to be for: the default of the first upstream that
/// it may go to.
pub fn default_model<'a>(
    config: &'a Config,
    caller: &Caller,
    sought: Sought<'_>,
) -> Option<&'a str> {
    let places = choose(config, caller, sought).ok()?;
    let places = with_allowed_default(config, caller, places).ok()?;
    config.upstreams[*places.first()?].default_model.as_deref()
}

/// 400 for a key for some models alone, where nobody can tell which model would be asked.
pub fn untold() -> ApiError {
    ApiError::bad_request(
        "The request names no model that can be read, and this key is for some models alone. Name \
         one in `model`; GET /v1/models lists them.",
    )
    .param("model")
}

fn speaks(upstream: &Upstream, dialect: Option<Dialect>) -> bool {
    dialect.is_none_or(|dialect| upstream.dialects.contains(&dialect))
}

/// Whether an upstream serves all that another one does, as far as their globs tell.
fn stands_in(upstream: &Upstream, for_one: &Upstream) -> bool {
    serves_all(upstream) || upstream.model_patterns == for_one.model_patterns
}

/// Whether it lists every model there is as its own.
pub fn serves_all(upstream: &Upstream) -> bool {
    upstream.model_patterns.iter().any(|glob| glob == "*")
}

fn not_for_key(model: &str) -> ApiError {
    ApiError::not_found(format!(
        "The model `{model}` is not for this key. GET /v1/models lists those that are."
    ))
    .param("model")
    .code("model_not_found")
}

fn unserved(model: &str) -> ApiError {
    ApiError::not_found(format!(
        "No upstream serves the model `{model}`. Name it in the `models` of one of [[upstreams]]."
    ))
    .param("model")
    .code("model_not_found")
}

fn unspoken(sought: Sought<'_>) -> ApiError {
    let (dialect, path) = match sought.dialect {
        Some(Dialect::Responses) => ("responses", "/v1/responses"),
        Some(Dialect::Messages) => ("messages", "/v1/messages"),
        Some(Dialect::Chat) | None => ("chat", "/v1/chat/completions"),
    };
    let whose = sought.model.map_or_else(
        || "No upstream".to_owned(),
        |model| format!("No upstream of the model `{model}`"),
    );
    ApiError::not_found(format!(
        "{whose} speaks the API of {path}. Add \"{dialect}\" to the `dialects` of one of \
         [[upstreams]] that does."
    ))
    .code("dialect_not_served")
}
