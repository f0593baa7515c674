//! Templates of an operator (minijinja) that a model's arguments are filled into. A value is
//! escaped for the place where it stands, whatever the template says.

use std::collections::HashSet;
use std::fmt;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::secrets::Secrets;

/// All but RFC 3986's unreserved characters.
pub(super) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Steps that one rendering may take; far more than any template needs.
const FUEL: u64 = 100_000;

/// The name under which templates see the plugin's secrets.
pub(super) const SECRETS: &str = "secrets";

/// Where a template's values stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a URL: each value is percent-encoded.
    Url,
    /// In plain text, whose rendering as a whole is then escaped or checked.
    Text,
    /// Alone: the value as JSON, or nothing where it is absent.
    Json,
}

/// A template that was added to [`Templates`].
#[derive(Debug, Clone)]
pub(super) struct Template(String);

/// The templates of one tool or server.
pub(super) struct Templates {
    environment: Environment<'static>,
    added: usize,
    secrets: Secrets,
}

impl fmt::Debug for Templates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Someone may have written a secret out in one.
        write!(f, "Templates({})", self.added)
    }
}

impl Templates {
    pub fn new(secrets: Secrets) -> Self {
        let mut environment = Environment::new();
        environment.set_formatter(format);
        environment.set_fuel(Some(FUEL));
        Self {
            environment,
            added: 0,
            secrets,
        }
    }

    /// Compiles a template that uses nothing but `known` names and the secrets.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn add(
        &mut self,
        place: Place,
        source: &str,
        known: Option<&[String]>,
    ) -> Result<Template, String> {
        self.added += 1;
        let name = format!("{place:?}.{}", self.added);
        self.environment
            .add_template_owned(name.clone(), source.to_owned())
            .map_err(|error| describe(&error))?;
        let template = self.environment.get_template(&name);
        let used = template.map_or_else(|_| HashSet::new(), |it| it.undeclared_variables(true));
        for name in &used {
            let top = name.split('.').next().unwrap_or(name);
            let is_known = match name.strip_prefix("secrets.") {
                Some(secret) => self.secrets.has(secret),
                None => {
                    top != SECRETS && known.is_none_or(|known| known.iter().any(|it| it == top))
                }
            };
            if !is_known {
                return Err(format!("uses `{name}`, which is no parameter or secret"));
            }
        }
        Ok(Template(name))
    }

    /// What a template sees: the arguments and the secrets.
    pub fn context(&self, arguments: &serde_json::Map<String, serde_json::Value>) -> Value {
        let entries = arguments.iter();
        let entries = entries.map(|(name, value)| (name.as_str(), Value::from(Serde(value))));
        Value::from_pairs(entries.chain([(SECRETS, self.secrets.value())]))
    }

    /// # Errors
    ///
    /// Says what could not be rendered.
    pub fn render(&self, template: &Template, context: &Value) -> Result<String, String> {
        let template = self.environment.get_template(&template.0);
        let rendered = template.and_then(|template| template.render(context.clone()));
        rendered.map_err(|error| describe(&error))
    }
}

/// minijinja's message without the template's name, which is ours.
fn describe(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

/// Writes a value as its template's place wants it. Neither `|safe` nor a captured block gets
/// around this: what is escaped twice is wrong, but not dangerous.
fn format(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let place = state.name().split('.').next();
    if value.is_undefined() || (value.is_none() && place != Some("Json")) {
        return Ok(());
    }
    match place {
        Some("Json") => {
            let json = serde_json::to_string(value).map_err(|error| {
                Error::new(ErrorKind::BadSerialization, "not JSON").with_source(error)
            })?;
            output.write_str(&json)
        }
        Some("Text") => write!(output, "{value}"),
        // What is not known to stand elsewhere gets the strictest.
        _ => write!(
            output,
            "{}",
            utf8_percent_encode(&value.to_string(), COMPONENT)
        ),
    }
    .map_err(Error::from)
}
