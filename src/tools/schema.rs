//! The JSON Schema of a tool's parameters, compiled once.

use jsonschema::{PatternOptions, Validator};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Steps that one regular expression of a schema may take back at most. Schemas come from MCP
/// servers too, and zod writes look-aheads, so patterns need an engine that goes back; the limit
/// keeps it from going on for ever.
const BACKTRACK_LIMIT: usize = 20_000;

/// Complaints that the model is told at once at most.
const MAX_COMPLAINTS: usize = 5;

/// Bytes of one complaint at most: it repeats the value at fault.
const MAX_COMPLAINT_BYTES: usize = 300;

/// A compiled schema of an object.
#[derive(Debug)]
pub(super) struct Schema {
    validator: Validator,
    /// As it was written, without the white space between tokens.
    pub source: Box<RawValue>,
}

impl Schema {
    /// Compiles a schema. References to other documents are refused: nothing is fetched.
    ///
    /// # Errors
    ///
    /// Says what is wrong and where in the schema.
    pub fn compile(text: &str) -> Result<Self, String> {
        let schema: Value =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        if schema.get("type") != Some(&Value::from("object")) {
            return Err("does not say \"type\": \"object\" at its top".to_owned());
        }
        let validator = jsonschema::options()
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACK_LIMIT))
            .offline()
            .build(&schema)
            .map_err(|error| match error.instance_path().as_str() {
                "" => format!("is not a JSON Schema: {error}"),
                path => format!("is not a JSON Schema at {path}: {error}"),
            })?;
        let source = RawValue::from_string(compact(text))
            .map_err(|error| format!("is not JSON: {error}"))?;
        Ok(Self { validator, source })
    }

    /// The names of the parameters, where the schema lists them.
    pub fn parameters(&self) -> Option<Vec<String>> {
        let schema: Value = serde_json::from_str(self.source.get()).ok()?;
        let properties = schema.get("properties")?.as_object()?;
        Some(properties.keys().cloned().collect())
    }

    /// The arguments of a call, if they are what the schema asks for.
    ///
    /// # Errors
    ///
    /// Tells the model what is wrong with each and how to mend it.
    pub fn arguments(&self, text: &str) -> Result<Map<String, Value>, String> {
        // Models send nothing at all where a tool wants nothing.
        let text = if text.trim().is_empty() { "{}" } else { text };
        let arguments: Value = serde_json::from_str(text).map_err(|error| {
            format!("the arguments are not JSON: {error}; send one JSON object")
        })?;
        if let Err(first) = self.validator.validate(&arguments) {
            let errors = self.validator.iter_errors(&arguments).take(MAX_COMPLAINTS);
            let mut complaints: Vec<_> = errors.map(|error| complaint(&error)).collect();
            if complaints.is_empty() {
                complaints.push(complaint(&first));
            }
            return Err(format!(
                "the arguments do not fit the tool's parameters: {}; correct them and call again",
                complaints.join("; ")
            ));
        }
        match arguments {
            Value::Object(arguments) => Ok(arguments),
            _ => Err("the arguments are no JSON object; send one".to_owned()),
        }
    }
}

fn complaint(error: &jsonschema::ValidationError<'_>) -> String {
    let mut text = match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    };
    if text.len() > MAX_COMPLAINT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_COMPLAINT_BYTES));
        text.push('…');
    }
    text
}

/// Valid JSON without the white space between its tokens; the order of keys stays, since models
/// fill in parameters in the order in which they are shown.
fn compact(json: &str) -> String {
    let mut in_text = false;
    let mut escaped = false;
    let kept = json.chars().filter(|c| {
        if in_text {
            in_text = escaped || *c != '"';
            escaped = !escaped && *c == '\\';
            return true;
        }
        in_text = *c == '"';
        !c.is_ascii_whitespace()
    });
    kept.collect()
}
