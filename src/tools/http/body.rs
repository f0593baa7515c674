//! The body of a request.

use minijinja::Value as Context;
use serde_json::Value;

use crate::tools::template::{Place, Template, Templates};

/// A JSON document whose texts are templates. It is built as a value and printed by serde_json,
/// so an argument cannot leave the text that it stands in.
#[derive(Debug)]
pub(super) enum Body {
    Constant(Value),
    /// Text around values.
    Text(Template),
    /// One value alone, which keeps its type; absent, it takes its key along.
    Value(Template),
    List(Vec<Body>),
    Object(Vec<(String, Body)>),
}

impl Body {
    /// # Errors
    ///
    /// Says which template is wrong, and why.
    pub fn compile(
        value: &Value,
        templates: &mut Templates,
        known: Option<&[String]>,
    ) -> Result<Self, String> {
        Ok(match value {
            Value::String(text) if is_one_value(text) => {
                Self::Value(templates.add(Place::Json, text.trim(), known)?)
            }
            Value::String(text) if text.contains('{') => {
                Self::Text(templates.add(Place::Text, text, known)?)
            }
            Value::Array(items) => {
                let items = items.iter();
                let items = items.map(|item| Self::compile(item, templates, known));
                Self::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let value = Self::compile(value, templates, known);
                    Ok((key.clone(), value.map_err(|why| format!("at {key} {why}"))?))
                });
                Self::Object(entries.collect::<Result<_, String>>()?)
            }
            constant => Self::Constant(constant.clone()),
        })
    }

    /// The document for one call; `None` where it is one value that is absent.
    pub fn fill(&self, templates: &Templates, context: &Context) -> Result<Option<Value>, String> {
        Ok(Some(match self {
            Self::Constant(value) => value.clone(),
            Self::Text(template) => Value::String(templates.render(template, context)?),
            Self::Value(template) => match templates.render(template, context)?.as_str() {
                "" => return Ok(None),
                json => serde_json::from_str(json).map_err(|error| error.to_string())?,
            },
            Self::List(items) => {
                let items = items.iter().map(|item| item.fill(templates, context));
                items
                    .filter_map(Result::transpose)
                    .collect::<Result<_, _>>()?
            }
            Self::Object(entries) => {
                let entries = entries.iter().filter_map(|(key, value)| {
                    let value = value.fill(templates, context).transpose()?;
                    Some(value.map(|value| (key.clone(), value)))
                });
                Value::Object(entries.collect::<Result<_, _>>()?)
            }
        }))
    }
}

/// Whether a text is `{{ … }}` and nothing else.
fn is_one_value(text: &str) -> bool {
    let inner = text.trim();
    let inner = inner
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| !inner.contains(['{', '}']))
}
