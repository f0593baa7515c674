//! Tools that are one HTTP request: templates of URL, headers and body, and a pointer to the
//! result.

mod body;

use std::fmt;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use minijinja::Value as Context;
use serde_json::{Map, Value};
use url::Url;

use super::call::{Failure, Outcome};
use super::egress::{self, AllowedHosts, Refused};
use super::manifest::Section;
use super::schema::Schema;
use super::secrets::Secrets;
use super::template::{Place, SECRETS, Template, Templates};
use crate::outbound;
use body::Body;

/// Bytes of a response at most, of which the result may be a part.
const MAX_BODY: usize = 4 << 20;

/// Bytes of an error's body that the model is shown.
const MAX_EXCERPT: usize = 1024;

/// What the requests of one plugin share.
#[derive(Debug, Clone)]
pub(super) struct Egress {
    /// Absent in a plugin that is not enabled.
    pub client: Option<reqwest::Client>,
    pub allowed: AllowedHosts,
    pub secrets: Secrets,
}

impl Egress {
    /// Reads `allow_hosts` and `secrets`.
    pub fn read(root: &mut Section<'_>, enabled: bool) -> Self {
        let allowed = AllowedHosts::new(root.texts("allow_hosts").unwrap_or_default());
        let secrets = root.secrets("secrets");
        let client = enabled.then(|| egress::client(allowed.clone()));
        let client = client.and_then(|client| match client {
            Ok(client) => Some(client),
            Err(why) => {
                let what = format!("no HTTPS connection can be made: {why}");
                root.source.fault(root.at, what, outbound::MEND);
                None
            }
        });
        Self {
            client,
            allowed,
            secrets,
        }
    }
}

/// One tool's request.
pub(super) struct Request {
    egress: Egress,
    method: Method,
    templates: Templates,
    /// The URL as far as no template changes it: its origin at least.
    base: String,
    url: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Option<Body>,
    /// A JSON pointer; empty is the whole body as it is.
    result: String,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The templates hold secrets.
        write!(f, "Request({} {})", self.method, self.base)
    }
}

impl Request {
    /// Reads `method`, `url`, `headers`, `body` and `result` of one of `[[tools]]`.
    pub fn read(tool: &mut Section<'_>, egress: Egress, schema: Option<&Schema>) -> Option<Self> {
        let known = schema.and_then(Schema::parameters);
        let known = known.as_deref();
        if known.is_some_and(|known| known.iter().any(|name| name == SECRETS)) {
            let what = "has a parameter `secrets`, by which templates name the plugin's secrets";
            tool.fault("parameters", what, "give the parameter another name");
        }
        let method = tool.choice(
            "method",
            [
                ("GET", Method::GET),
                ("POST", Method::POST),
                ("PUT", Method::PUT),
                ("PATCH", Method::PATCH),
                ("DELETE", Method::DELETE),
            ],
        );
        let mut templates = Templates::new(egress.secrets.clone());
        let url = read_url(tool, &egress, &mut templates, known);
        let headers = read_headers(tool, &mut templates, known);
        let body = tool.json("body").and_then(|body| {
            let compiled = Body::compile(&body.value, &mut templates, known);
            let mend = "write a template such as \"{{ query }}\"";
            compiled.map_err(|why| tool.fault("body", why, mend)).ok()
        });
        let result = tool.text("result").map_or("", |text| text.value);
        if !result.is_empty() && !result.starts_with('/') {
            let what = format!("is {result:?}, not a JSON pointer");
            tool.fault("result", what, "write it as in \"/results/0/text\"");
        }
        let (base, url) = url?;
        Some(Self {
            egress,
            method: method?,
            templates,
            base,
            url,
            headers,
            body,
            result: result.to_owned(),
        })
    }

    /// Sends the request and gives what `result` points to.
    pub async fn send(&self, arguments: Map<String, Value>, cap: usize) -> Result<String, Failure> {
        let request = self.prepare(&arguments)?;
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        // Without a pointer all of the body is the result.
        let bound = if self.result.is_empty() {
            cap
        } else {
            MAX_BODY
        };
        if !status.is_success() {
            return Err(self.refused(status, read(response, MAX_EXCERPT).await?.0));
        }
        let (body, whole) = read(response, bound).await?;
        if !whole {
            return Err(Failure::too_large(bound));
        }
        Ok(self.egress.secrets.redact(self.point(&body)?))
    }

    fn prepare(&self, arguments: &Map<String, Value>) -> Result<reqwest::RequestBuilder, Failure> {
        let invalid = |why: String| Failure::new(Outcome::InvalidArguments, why);
        let Some(client) = &self.egress.client else {
            let why = "the tool's plugin is not enabled";
            return Err(Failure::new(Outcome::Failed, why));
        };
        let context = self.templates.context(arguments);
        let url = self.url(&context).map_err(invalid)?;
        let refused = |refused: Refused| Failure::new(Outcome::RefusedEgress, refused.to_string());
        self.egress.allowed.judge(&url).map_err(refused)?;
        let mut headers = HeaderMap::new();
        for (name, template) in &self.headers {
            let text = self.templates.render(template, &context).map_err(invalid)?;
            let value = header_value(name, &text).map_err(invalid)?;
            headers.append(name, value);
        }
        let mut request = client.request(self.method.clone(), url);
        if let Some(body) = &self.body {
            let body = body.fill(&self.templates, &context).map_err(invalid)?;
            headers
                .entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
            request = request.body(body.unwrap_or_default().to_string());
        }
        Ok(request.headers(headers))
    }

    /// The URL, which has to be as it was rendered: a value that changes how a URL is read, such
    /// as `..`, is refused.
    fn url(&self, context: &Context) -> Result<Url, String> {
        let rendered = self.templates.render(&self.url, context)?;
        let url = Url::parse(&rendered).ok();
        url.filter(|url| url.as_str() == rendered && rendered.starts_with(&self.base))
            .ok_or(
                "an argument does not fit into the URL; it may not be \".\" or \"..\"".to_owned(),
            )
    }

    fn refused(&self, status: StatusCode, body: Vec<u8>) -> Failure {
        let message = if status.is_redirection() {
            format!("the tool's server answered {status}; redirects are not followed")
        } else {
            format!("the tool's server answered {status}")
        };
        let excerpt = self
            .egress
            .secrets
            .redact(String::from_utf8_lossy(&body).into_owned());
        Failure::new(Outcome::UpstreamError, message).answer(excerpt)
    }

    fn point(&self, body: &[u8]) -> Result<String, Failure> {
        if self.result.is_empty() {
            return Ok(String::from_utf8_lossy(body).into_owned());
        }
        let garbage = |why: String| {
            let message = format!("the tool's server answered something else than expected: {why}");
            Failure::new(Outcome::UpstreamError, message)
        };
        let document: Value = serde_json::from_slice(body)
            .map_err(|error| garbage(format!("it is not JSON ({error})")))?;
        match document.pointer(&self.result) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value) => Ok(value.to_string()),
            None => Err(garbage(format!("there is nothing at {}", self.result))),
        }
    }
}

/// A response's first bytes, and whether they are all.
async fn read(mut response: reqwest::Response, bound: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        let room = bound - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, false));
        }
    }
    Ok((body, true))
}

/// The failure of a request. The URL stays out of it: it may hold a secret.
fn unreachable(error: reqwest::Error) -> Failure {
    if let Some(refused) = Refused::behind(&error) {
        return Failure::new(Outcome::RefusedEgress, refused.to_string());
    }
    let error = error.without_url();
    let mut message = format!("the tool's server cannot be reached: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    Failure::new(Outcome::UpstreamError, message)
}

/// The URL's template, and what stands in front of its first value. That has to hold the origin,
/// so that no argument decides which server is asked.
pub(super) fn read_url(
    section: &mut Section<'_>,
    egress: &Egress,
    templates: &mut Templates,
    known: Option<&[String]>,
) -> Option<(String, Template)> {
    let text = section
        .required("url", "\"https://api.example.com/search?q={{ query }}\"")
        .value;
    if text.is_empty() {
        return None;
    }
    let base = text.split('{').next().unwrap_or_default();
    check_base(base, egress)
        .map_err(|(what, mend)| section.fault("url", what, mend))
        .ok()?;
    match templates.add(Place::Url, text, known) {
        Ok(template) => Some((base.to_owned(), template)),
        Err(why) => {
            section.fault("url", why, "write a template such as \"…?q={{ query }}\"");
            None
        }
    }
}

/// A URL that needs no interpretation: what is written is what is sent.
fn check_base(base: &str, egress: &Egress) -> Result<Url, (String, String)> {
    let example = "write it as in \"https://api.example.com/search?q={{ query }}\"; scheme, host \
                   and port cannot be templates";
    let url = Url::parse(base)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        return Err(("is no http or https URL".to_owned(), example.to_owned()));
    };
    if !url.username().is_empty() || url.password().is_some() {
        let mend = "put credentials into headers, by reference to [secrets]";
        return Err(("holds credentials".to_owned(), mend.to_owned()));
    }
    if let Err(refused) = egress.allowed.judge(&url) {
        let mend = format!(
            "if that is meant, add allow_hosts = [\"{}\"]",
            url.host_str().unwrap_or_default()
        );
        return Err((format!("cannot be reached: {refused}"), mend));
    }
    if url.as_str() != base {
        let mend = format!("write \"{url}\" for what stands in front of the first template");
        return Err(("is not in its normal form".to_owned(), mend));
    }
    Ok(url)
}

/// `headers`, a template each.
pub(super) fn read_headers(
    section: &mut Section<'_>,
    templates: &mut Templates,
    known: Option<&[String]>,
) -> Vec<(HeaderName, Template)> {
    let mut headers = Vec::new();
    for (name, text) in section.pairs("headers") {
        let template = templates.add(Place::Text, text.value, known);
        match (header_name(name), template) {
            (Ok(name), Ok(template)) => headers.push((name, template)),
            (Err(why), _) => {
                let mend = "give the name of a header field, such as Authorization";
                section.fault("headers", why, mend);
            }
            (_, Err(why)) => {
                let mend = "name parameters of the tool, and secrets as in {{ secrets.key }}";
                section.fault("headers", format!("at {name} {why}"), mend);
            }
        }
    }
    headers
}

/// The value of a header field, which never shows in a log.
pub(super) fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value = value
        .map_err(|_| format!("the header {name} may not hold line breaks or control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A header field that an operator may set.
fn header_name(name: &str) -> Result<HeaderName, String> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| format!("names {name:?}, which is no header field"))?;
    let framing = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    if framing.contains(&parsed) {
        return Err(format!("names {name}, which the client sets itself"));
    }
    Ok(parsed)
}
