//! The gateway's own description of its endpoints, against which every answer of theirs is judged
//! that a test sees.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::Response;

/// What an operation says of an answer: its content, each with the schema of what is JSON.
type Answer = BTreeMap<String, Option<Validator>>;

pub struct Operation {
    pub path: String,
    /// In capitals.
    pub method: String,
    /// Whether the admin listener alone has it.
    pub is_admin: bool,
    /// By status, or by `4XX`.
    answers: BTreeMap<String, Answer>,
}

/// All that are described.
pub fn operations() -> &'static [Operation] {
    static READ: OnceLock<Vec<Operation>> = OnceLock::new();
    READ.get_or_init(|| read(&document()))
}

pub fn document() -> Value {
    serde_json::from_str(&yychat::api::openapi::document()).expect("JSON")
}

fn read(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, told) in item.as_object().expect("operations") {
            let Some(answers) = told["responses"].as_object() else {
                continue;
            };
            let answers = answers.iter();
            let answers = answers.map(|(status, told)| (status.clone(), answer(document, told)));
            operations.push(Operation {
                path: path.clone(),
                method: method.to_uppercase(),
                is_admin: item["servers"].is_array(),
                answers: answers.collect(),
            });
        }
    }
    operations
}

fn answer(document: &Value, told: &Value) -> Answer {
    let told = match told["$ref"].as_str() {
        Some(at) => document.pointer(&at[1..]).expect("what is referred to"),
        None => told,
    };
    let content = told["content"].as_object().expect("content").iter();
    let content = content.map(|(kind, told)| {
        let mut schema = told["schema"].clone();
        schema["components"] = json!({ "schemas": document["components"]["schemas"] });
        let schema = (kind == "application/json").then_some(schema);
        let validator = schema.map(|schema| jsonschema::validator_for(&schema).expect("a schema"));
        (kind.clone(), validator)
    });
    content.collect()
}

/// Panics where an answer of the gateway's own endpoints is not as it is described.
pub fn judge(request: &[u8], response: &Response) {
    let head = String::from_utf8_lossy(request);
    let mut words = head.split([' ', '\r', '\n']);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return;
    };
    let path = target.split('?').next().unwrap_or_default();
    let mut operations = operations().iter();
    let Some(operation) = operations.find(|it| it.method == method && is_at(&it.path, path)) else {
        return;
    };
    let what = format!("{method} {target}: {}", response.text());
    let status = response.status();
    // The other listener has no such path, and what is no request at all is answered before it.
    if operation.is_admin && status >= 400 {
        return;
    }
    let mut statuses = [status.to_string(), format!("{}XX", status / 100)].into_iter();
    let answer = statuses.find_map(|status| operation.answers.get(&status));
    let answer = answer.unwrap_or_else(|| panic!("{status} is not described: {what}"));
    let kind = response.head.get("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    let schema = answer.get(kind);
    let schema = schema.unwrap_or_else(|| panic!("{kind:?} is not described: {what}"));
    if let Some(schema) = schema {
        let body = serde_json::from_slice(&response.body).expect("JSON");
        if let Err(error) = schema.validate(&body) {
            panic!("{error} at {}: {what}", error.instance_path());
        }
    }
}

/// Whether a path is of a form such as `/v1/memories/{id}`; one without a name in it comes first in
/// the description.
fn is_at(form: &str, path: &str) -> bool {
    let (mut form, mut path) = (form.split('/'), path.split('/'));
    loop {
        match (form.next(), path.next()) {
            (None, None) => return true,
            (Some(part), Some(name)) if part == name => {}
            (Some(part), Some(name)) if part.starts_with('{') && !name.is_empty() => {}
            _ => return false,
        }
    }
}
