//! What a path asks for. The set is closed, so that a path may stand in a log and in what is
//! shown; what it does not know is `other`, and goes on all the same.

use std::borrow::Cow;
use std::sync::LazyLock;

use http::Method;
use matchit::Router;
use percent_encoding::percent_decode_str;

use crate::config::model::Dialect;
use crate::proxy::context::Route;
use crate::turn::Wish;

/// One endpoint of the APIs that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// With names in place of what differs.
    pub path: &'static str,
    /// Whose it is; others are everyone's.
    pub dialect: Option<Dialect>,
    pub model: Model,
}

/// Where an endpoint's model is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// In the body, which is refused upstream without one.
    Required,
    /// In the body, or nowhere: the upstream has a default of its own.
    Optional,
    /// In the path.
    Path,
    /// Deeper in the body, or in a file that it names, where nobody looks.
    Within,
    /// Nowhere, as far as is known. JSON is looked at all the same.
    Unknown,
}

/// The list of models, …
pub const MODELS: &str = "/v1/models";
/// … and one of them.
pub const ONE_MODEL: &str = "/v1/models/{*model}";

/// What is not in the list, and what has no path at all.
pub const OTHER: Endpoint = Endpoint {
    path: "other",
    dialect: None,
    model: Model::Unknown,
};

/// The methods that a model takes in Gemini's API, behind its name.
const METHODS: [&str; 6] = [
    ":generateContent",
    ":streamGenerateContent",
    ":countTokens",
    ":embedContent",
    ":batchEmbedContents",
    ":predict",
];

const CHAT: Option<Dialect> = Some(Dialect::Chat);
const RESPONSES: Option<Dialect> = Some(Dialect::Responses);
const MESSAGES: Option<Dialect> = Some(Dialect::Messages);

/// OpenAI's API (<https://platform.openai.com/docs/api-reference>), Anthropic's
/// (<https://docs.anthropic.com/en/api>), and what servers of models have beside them.
const KNOWN: &[(&str, Option<Dialect>, Model)] = &[
    // The gateway's own.
    ("/v1/personalities", None, Model::Unknown),
    ("/v1/personalities/{id}", None, Model::Unknown),
    ("/v1/tools", None, Model::Unknown),
    ("/v1/tools/call", None, Model::Unknown),
    ("/v1/memories", None, Model::Unknown),
    ("/v1/memories/search", None, Model::Unknown),
    ("/v1/memories/export", None, Model::Unknown),
    ("/v1/memories/{id}", None, Model::Unknown),
    ("/v1/conversations/{id}/memory", None, Model::Unknown),
    ("/v1/preview", None, Model::Unknown),
    ("/v1/performance/stats", None, Model::Unknown),
    ("/v1/performance/recent", None, Model::Unknown),
    ("/v1/performance/clear", None, Model::Unknown),
    ("/v1/usage", None, Model::Unknown),
    // Everyone else's.
    ("/v1/chat/completions", CHAT, Model::Required),
    ("/v1/chat/completions/{id}", CHAT, Model::Unknown),
    ("/v1/chat/completions/{id}/messages", CHAT, Model::Unknown),
    ("/v1/responses", RESPONSES, Model::Required),
    ("/v1/responses/input_tokens", RESPONSES, Model::Required),
    ("/v1/responses/compact", RESPONSES, Model::Required),
    ("/v1/responses/{id}", RESPONSES, Model::Unknown),
    ("/v1/responses/{id}/cancel", RESPONSES, Model::Unknown),
    ("/v1/responses/{id}/input_items", RESPONSES, Model::Unknown),
    ("/v1/conversations", RESPONSES, Model::Unknown),
    ("/v1/conversations/{id}", RESPONSES, Model::Unknown),
    ("/v1/conversations/{id}/items", RESPONSES, Model::Unknown),
    (
        "/v1/conversations/{id}/items/{item}",
        RESPONSES,
        Model::Unknown,
    ),
    ("/v1/messages", MESSAGES, Model::Required),
    ("/v1/messages/count_tokens", MESSAGES, Model::Required),
    ("/v1/messages/batches", MESSAGES, Model::Within),
    ("/v1/messages/batches/{id}", MESSAGES, Model::Unknown),
    ("/v1/messages/batches/{id}/cancel", MESSAGES, Model::Unknown),
    (
        "/v1/messages/batches/{id}/results",
        MESSAGES,
        Model::Unknown,
    ),
    ("/v1/complete", MESSAGES, Model::Required),
    (MODELS, None, Model::Unknown),
    (ONE_MODEL, None, Model::Path),
    // Azure's, where a base_url ends in `/openai`, and where it does not.
    ("/v1/deployments/{model}/{*rest}", None, Model::Path),
    ("/v1/openai/deployments/{model}/{*rest}", None, Model::Path),
    ("/v1/engines/{model}", None, Model::Path),
    ("/v1/engines/{model}/{*rest}", None, Model::Path),
    ("/v1/completions", None, Model::Required),
    ("/v1/embeddings", None, Model::Required),
    ("/v1/moderations", None, Model::Optional),
    ("/v1/rerank", None, Model::Required),
    ("/v1/score", None, Model::Required),
    ("/v1/pooling", None, Model::Required),
    ("/v1/classify", None, Model::Required),
    ("/v1/tokenize", None, Model::Optional),
    ("/v1/detokenize", None, Model::Optional),
    ("/v1/fim/completions", None, Model::Required),
    ("/v1/ocr", None, Model::Required),
    ("/v1/audio/speech", None, Model::Required),
    ("/v1/audio/transcriptions", None, Model::Required),
    ("/v1/audio/translations", None, Model::Required),
    ("/v1/audio/voices", None, Model::Unknown),
    ("/v1/images/generations", None, Model::Optional),
    ("/v1/images/edits", None, Model::Optional),
    ("/v1/images/variations", None, Model::Optional),
    ("/v1/videos", None, Model::Optional),
    ("/v1/videos/{id}", None, Model::Unknown),
    ("/v1/videos/{id}/content", None, Model::Unknown),
    ("/v1/videos/{id}/remix", None, Model::Unknown),
    ("/v1/realtime", None, Model::Unknown),
    ("/v1/realtime/calls", None, Model::Within),
    ("/v1/realtime/client_secrets", None, Model::Within),
    ("/v1/realtime/sessions", None, Model::Within),
    ("/v1/realtime/transcription_sessions", None, Model::Within),
    ("/v1/files", None, Model::Unknown),
    ("/v1/files/{id}", None, Model::Unknown),
    ("/v1/files/{id}/content", None, Model::Unknown),
    ("/v1/uploads", None, Model::Unknown),
    ("/v1/uploads/{id}/parts", None, Model::Unknown),
    ("/v1/uploads/{id}/complete", None, Model::Unknown),
    ("/v1/uploads/{id}/cancel", None, Model::Unknown),
    ("/v1/batches", None, Model::Within),
    ("/v1/batches/{id}", None, Model::Unknown),
    ("/v1/batches/{id}/cancel", None, Model::Unknown),
    ("/v1/fine_tuning/jobs", None, Model::Within),
    ("/v1/fine_tuning/jobs/{id}", None, Model::Unknown),
    ("/v1/fine_tuning/jobs/{id}/{*rest}", None, Model::Unknown),
    ("/v1/vector_stores", None, Model::Unknown),
    ("/v1/vector_stores/{id}", None, Model::Unknown),
    ("/v1/vector_stores/{id}/{*rest}", None, Model::Unknown),
    ("/v1/assistants", None, Model::Unknown),
    ("/v1/assistants/{id}", None, Model::Unknown),
    ("/v1/threads", None, Model::Unknown),
    ("/v1/threads/runs", None, Model::Within),
    ("/v1/threads/{id}", None, Model::Unknown),
    ("/v1/threads/{id}/runs", None, Model::Within),
    ("/v1/threads/{id}/{*rest}", None, Model::Unknown),
    ("/v1/containers", None, Model::Unknown),
    ("/v1/containers/{id}", None, Model::Unknown),
    ("/v1/containers/{id}/{*rest}", None, Model::Unknown),
    ("/v1/evals", None, Model::Unknown),
    ("/v1/evals/{id}", None, Model::Unknown),
    ("/v1/evals/{id}/runs", None, Model::Within),
    ("/v1/evals/{id}/{*rest}", None, Model::Unknown),
    ("/v1/skills", None, Model::Unknown),
    ("/v1/skills/{id}", None, Model::Unknown),
    ("/v1/skills/{id}/{*rest}", None, Model::Unknown),
];

static ENDPOINTS: LazyLock<Router<Endpoint>> = LazyLock::new(|| {
    let mut router = Router::new();
    for &(path, dialect, model) in KNOWN {
        // A test holds that the paths are of valid form and none stands there twice.
        let _ = router.insert(
            path,
            Endpoint {
                path,
                dialect,
                model,
            },
        );
    }
    router
});

impl Endpoint {
    /// What is at `path`.
    pub fn at(path: &str) -> Self {
        ENDPOINTS.at(path).map_or(OTHER, |found| *found.value)
    }

    /// Whether it is one of those that are known.
    pub fn is_known(self) -> bool {
        self != OTHER
    }

    /// The route that a request of this method takes.
    pub fn route(self, method: &Method) -> Route {
        match self.path {
            "/v1/chat/completions" if method == Method::POST => Route::Chat,
            // Its WebSocket begins as a GET.
            "/v1/responses" if method == Method::POST => Route::Responses,
            "/v1/messages" if method == Method::POST => Route::Messages,
            _ => Route::Other,
        }
    }

    /// What of a conversation is asked here, where a turn has to be prepared for it.
    pub fn turn(self, method: &Method) -> Option<(Dialect, Wish)> {
        if method != Method::POST {
            return None;
        }
        match self.path {
            "/v1/chat/completions" => Some((Dialect::Chat, Wish::Answer)),
            "/v1/responses" => Some((Dialect::Responses, Wish::Answer)),
            "/v1/messages" => Some((Dialect::Messages, Wish::Answer)),
            "/v1/responses/input_tokens" => Some((Dialect::Responses, Wish::Count)),
            "/v1/messages/count_tokens" => Some((Dialect::Messages, Wish::Count)),
            _ => None,
        }
    }

    /// Whether a request of this method may have a model work, as far as anybody knows here.
    pub fn may_cost(self, method: &Method) -> bool {
        method == Method::POST && (self.model != Model::Unknown || self == OTHER)
    }

    /// Whether what it costs is told elsewhere than in its answer.
    pub fn is_uncounted(self, method: &Method) -> bool {
        method == Method::POST && self.model == Model::Within
    }

    /// Whether its answers are kept by the upstream and asked for again, though it names a model.
    pub fn keeps_answers(self) -> bool {
        self.dialect == RESPONSES || self.path.starts_with("/v1/videos")
    }

    /// Whether it is about one thing that has an id.
    pub fn is_by_id(self) -> bool {
        self.path.contains("{id}")
    }
}

/// The model that `path` names.
pub fn model_of(path: &str) -> Option<String> {
    let found = ENDPOINTS.at(path).ok()?;
    if found.value.model != Model::Path {
        return None;
    }
    let name = decode(found.params.get("model")?);
    let method = method_of(&name).map_or(0, str::len);
    Some(name[..name.len() - method].to_owned())
}

/// The method of Gemini's API that a path ends with.
pub fn method_of(path: &str) -> Option<&'static str> {
    let mut methods = METHODS.into_iter();
    methods.find(|method| path.ends_with(method))
}

/// The models that a query names, each once: of several, some servers take the first and some the last.
pub fn models_in(query: &str) -> Vec<String> {
    let mut models = Vec::new();
    let fields = url::form_urlencoded::parse(query.as_bytes());
    for (_, model) in fields.filter(|(name, value)| name == "model" && !value.is_empty()) {
        if !models.iter().any(|known| *known == *model) {
            models.push(model.into_owned());
        }
    }
    models
}

/// What may be ids in a path and its query.
pub fn ids<'a>(path: &'a str, query: Option<&'a str>) -> impl Iterator<Item = Cow<'a, str>> {
    let segments = path.split('/').skip(3).map(decode);
    let fields = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    segments.chain(fields.map(|(_, value)| value))
}

fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_list_is_found() {
        for (path, dialect, model) in KNOWN {
            let asked = path.replace("{*rest}", "a/b").replace("{*model}", "a/b");
            let found = Endpoint::at(&asked.replace(['{', '}'], ""));
            assert_eq!(
                (found.path, found.dialect, found.model),
                (*path, *dialect, *model)
            );
        }
        assert_eq!(Endpoint::at("/v1/something/new"), OTHER);
        assert_eq!(Endpoint::at("/v1"), OTHER);
    }

    #[test]
    fn models_are_named_in_paths_and_queries() {
        for (path, model) in [
            ("/v1/models/gpt-4o", Some("gpt-4o")),
            ("/v1/models/org/name", Some("org/name")),
            ("/v1/models/org%2Fname%20x", Some("org/name x")),
            (
                "/v1/models/gemini-2:streamGenerateContent",
                Some("gemini-2"),
            ),
            ("/v1/models/ft:gpt:org::1", Some("ft:gpt:org::1")),
            ("/v1/engines/ada/completions", Some("ada")),
            ("/v1/models", None),
            ("/v1/files/gpt-4o", None),
        ] {
            assert_eq!(model_of(path).as_deref(), model, "{path}");
        }
        assert_eq!(models_in("a=b&model=gpt%2F4&c&model=gpt/4"), ["gpt/4"]);
        assert_eq!(models_in("model=a&mod%65l=b"), ["a", "b"]);
        assert!(models_in("model=").is_empty());
        assert!(models_in("models=a").is_empty());
    }

    #[test]
    fn ids_are_what_stands_behind_the_first_segment() {
        let found: Vec<_> = ids("/v1/threads/thread%5F1/runs", Some("after=run_2&x")).collect();
        assert_eq!(found, ["thread_1", "runs", "run_2", ""]);
    }

    #[test]
    fn only_what_creates_has_a_route_of_its_own() {
        let route = |method, path| Endpoint::at(path).route(&method);
        assert_eq!(route(Method::POST, "/v1/chat/completions"), Route::Chat);
        assert_eq!(route(Method::GET, "/v1/chat/completions"), Route::Other);
        assert_eq!(route(Method::POST, "/v1/messages"), Route::Messages);
        assert_eq!(route(Method::POST, "/v1/messages/batches"), Route::Other);
    }
}
