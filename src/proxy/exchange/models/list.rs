//! Lists of models: what is read of those that come, and how they are written together.

use std::collections::HashSet;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::personality::{Persona, Personalities};
use crate::wire::object::Members;
use crate::wire::splice::{Rope, Splice};

/// Anthropic's pages hold no more.
pub const PAGE: usize = 1000;

/// Lists put together, each id once.
#[derive(Default)]
pub struct Gathered {
    seen: HashSet<String>,
    models: Vec<Model>,
}

/// One model as its upstream lists it.
struct Model {
    id: String,
    /// In OpenAI's form, byte for byte, where it came in that.
    as_it_came: Option<Box<RawValue>>,
    display_name: Option<String>,
    /// Seconds since 1970.
    created: i64,
}

/// A list as it comes: OpenAI's and Anthropic's `data`, or others' `models`.
#[derive(Deserialize)]
struct Named {
    data: Option<Vec<Box<RawValue>>>,
    models: Option<Vec<Box<RawValue>>>,
}

impl Gathered {
    /// Adds what one upstream lists and `serves`; whether it is a list.
    pub fn add(&mut self, body: &[u8], serves: impl Fn(&str) -> bool) -> bool {
        let listed = match body.trim_ascii_start().first() {
            // Some answer with the bare array.
            Some(b'[') => serde_json::from_slice(body).ok(),
            _ => serde_json::from_slice(body)
                .ok()
                .and_then(|named: Named| named.data.or(named.models)),
        };
        let Some(listed) = listed else {
            return false;
        };
        for raw in listed {
            if let Some(model) = Model::read(raw)
                && serves(&model.id)
                && self.seen.insert(model.id.clone())
            {
                self.models.push(model);
            }
        }
        true
    }

    /// Lists each model with each personality behind it, as `MODEL@PERSONALITY`.
    pub fn pair(&mut self, known: &Personalities) {
        let models = std::mem::take(&mut self.models);
        for model in models {
            let is_pair = known.split_model(&model.id).is_some();
            let personas = known.iter().filter(|_| !is_pair);
            let pairs = personas.map(|persona| model.with(persona));
            let pairs = pairs.filter(|pair| self.seen.insert(pair.id.clone()));
            let pairs: Vec<_> = pairs.collect();
            self.models.push(model);
            self.models.extend(pairs);
        }
    }

    /// In OpenAI's form.
    pub fn list(self) -> Vec<u8> {
        #[derive(Serialize)]
        struct List<T> {
            object: &'static str,
            data: Vec<T>,
        }
        let models = self.models.into_iter();
        let list = List {
            object: "list",
            data: models.filter_map(Model::into_openai).collect(),
        };
        // JSON that was read before, texts and numbers: all of it can be printed.
        serde_json::to_vec(&list).unwrap_or_default()
    }

    /// In Anthropic's form: the page that the query asks for.
    pub fn page(&self, query: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Page<'a> {
            data: Vec<Entry<'a>>,
            has_more: bool,
            first_id: Option<&'a str>,
            last_id: Option<&'a str>,
        }
        let field = |sought: &str| {
            let mut fields = url::form_urlencoded::parse(query.as_bytes());
            fields.find_map(|(name, value)| (name == sought).then(|| value.into_owned()))
        };
        let place = |id: String| self.models.iter().position(|model| model.id == id);
        let limit = field("limit").and_then(|limit| limit.parse().ok());
        let limit: usize = limit.unwrap_or(PAGE).clamp(1, PAGE);
        let (from, to) = match (field("after_id"), field("before_id")) {
            (Some(after), _) => {
                let from = place(after).map_or(0, |place| place + 1);
                (from, self.models.len().min(from + limit))
            }
            (None, Some(before)) => {
                let to = place(before).unwrap_or(self.models.len());
                (to.saturating_sub(limit), to)
            }
            (None, None) => (0, self.models.len().min(limit)),
        };
        let shown = &self.models[from..to];
        let is_backward = field("before_id").is_some() && field("after_id").is_none();
        let page = Page {
            data: shown.iter().map(Model::as_anthropic).collect(),
            has_more: match is_backward {
                true => from > 0,
                false => to < self.models.len(),
            },
            first_id: shown.first().map(|model| model.id.as_str()),
            last_id: shown.last().map(|model| model.id.as_str()),
        };
        serde_json::to_vec(&page).unwrap_or_default()
    }
}

/// The model that an upstream shows, under its name with a personality; `None` where it shows none.
pub fn paired(
    body: &[u8],
    pair: &str,
    known: &Personalities,
    is_anthropic: bool,
) -> Option<Vec<u8>> {
    let (_, id) = known.split_model(pair)?;
    let model = Model::read(serde_json::from_slice(body).ok()?)?;
    let model = match known.get(id) {
        Some(persona) => model.with(&persona),
        None => model,
    };
    match is_anthropic {
        true => serde_json::to_vec(&model.as_anthropic()).ok(),
        false => Some(model.into_openai()?.get().into()),
    }
}

/// One model in Anthropic's form.
#[derive(Serialize)]
struct Entry<'a> {
    r#type: &'static str,
    id: &'a str,
    display_name: &'a str,
    created_at: String,
}

impl Model {
    fn read(raw: Box<RawValue>) -> Option<Self> {
        let fields: Value = serde_json::from_str(raw.get()).ok()?;
        let text = |name: &str| fields[name].as_str().map(str::to_owned);
        let is_openai = fields["id"].is_string() && fields["type"] != "model";
        let at = text("created_at").and_then(|at| at.parse().ok());
        let at = at.map(Timestamp::as_second);
        let created = fields["created"].as_f64().map(|seconds| seconds as i64);
        Some(Self {
            id: text("id")
                .or_else(|| text("name"))
                .or_else(|| text("model"))?,
            as_it_came: is_openai.then_some(raw),
            display_name: text("display_name").or_else(|| text("name")),
            created: created.or(at).unwrap_or_default(),
        })
    }

    /// The same with a personality.
    fn with(&self, persona: &Persona) -> Self {
        let id = format!("{}@{}", self.id, persona.id);
        let display_name = self.display_name.as_deref().unwrap_or(&self.id);
        let display_name = format!("{display_name} ({})", persona.name);
        let as_it_came = self.as_it_came.as_deref();
        Self {
            as_it_came: as_it_came.and_then(|raw| renamed(raw, &id, &display_name)),
            display_name: Some(display_name),
            created: self.created,
            id,
        }
    }

    fn into_openai(self) -> Option<Box<RawValue>> {
        #[derive(Serialize)]
        struct Entry<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            owned_by: &'static str,
        }
        let entry = Entry {
            id: &self.id,
            object: "model",
            created: self.created,
            owned_by: "system",
        };
        self.as_it_came.or_else(|| to_raw_value(&entry).ok())
    }

    fn as_anthropic(&self) -> Entry<'_> {
        let created = Timestamp::from_second(self.created).unwrap_or(Timestamp::UNIX_EPOCH);
        Entry {
            r#type: "model",
            id: &self.id,
            display_name: self.display_name.as_deref().unwrap_or(&self.id),
            created_at: created.to_string(),
        }
    }
}

/// A model's entry under another `id`, and another `name` where it has one.
fn renamed(raw: &RawValue, id: &str, name: &str) -> Option<Box<RawValue>> {
    let json = Bytes::copy_from_slice(raw.get().as_bytes());
    let members = Members::parse(&json)?;
    let mut splice = Splice::<()>::new(&json);
    for (member, text) in [("id", id), ("name", name)] {
        let value = members.get(&json, member).map(|member| member.value);
        if let Some(at) = value.filter(|at| json[at.start] == b'"') {
            splice.cut(at.range());
            let text = Value::from(text).to_string();
            splice.insert(at.start, Rope::of((), text.into()));
        }
    }
    let renamed = String::from_utf8(splice.finish().to_bytes().into()).ok()?;
    RawValue::from_string(renamed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(bodies: &[&str]) -> Gathered {
        let mut gathered = Gathered::default();
        for body in bodies {
            gathered.add(body.as_bytes(), |id| id != "hidden");
        }
        gathered
    }

    #[test]
    fn lists_of_every_form_are_put_together_and_each_id_stands_once() {
        let list = gathered(&[
            r#"{"object":"list","data":[{"id":"a", "object":"model","created":1,"x":[1.0]},{"id":"hidden"}]}"#,
            r#"{"data":[{"type":"model","id":"b","display_name":"B","created_at":"2025-02-19T00:00:00Z"},{"id":"a"}],"has_more":false}"#,
            r#"[{"id":"c","type":"chat"}]"#,
            r#"{"models":[{"name":"d","model":"d"}],"object":"list"}"#,
            "<html>not found</html>",
            r#"{"data":null}"#,
            r#"{"data":[5,{"x":1}]}"#,
        ])
        .list();
        assert_eq!(
            String::from_utf8(list).unwrap(),
            concat!(
                r#"{"object":"list","data":[{"id":"a", "object":"model","created":1,"x":[1.0]},"#,
                r#"{"id":"b","object":"model","created":1739923200,"owned_by":"system"},"#,
                r#"{"id":"c","type":"chat"},"#,
                r#"{"id":"d","object":"model","created":0,"owned_by":"system"}]}"#
            )
        );
    }

    #[test]
    fn anthropics_form_has_pages() {
        let gathered = gathered(&[
            r#"{"data":[{"id":"a","created":1739923200},{"type":"model","id":"b","display_name":"B","created_at":"2025-02-19T00:00:00Z"},{"id":"c"}]}"#,
        ]);
        let page =
            |query: &str| -> Value { serde_json::from_slice(&gathered.page(query)).expect("JSON") };
        let all = page("");
        assert_eq!(
            all["data"][0],
            serde_json::json!({"type":"model","id":"a","display_name":"a","created_at":"2025-02-19T00:00:00Z"})
        );
        assert_eq!(all["data"][1]["display_name"], "B");
        for (query, ids, has_more) in [
            ("", "abc", false),
            ("limit=2", "ab", true),
            ("limit=2&after_id=b", "c", false),
            ("limit=1&after_id=a", "b", true),
            ("limit=1&before_id=c", "b", true),
            ("before_id=b", "a", false),
        ] {
            let page = page(query);
            let data = page["data"].as_array().expect("a list");
            let shown: String = data
                .iter()
                .filter_map(|entry| entry["id"].as_str())
                .collect();
            assert_eq!(
                (shown.as_str(), &page["has_more"]),
                (ids, &has_more.into()),
                "{query}"
            );
            assert_eq!(
                page["first_id"].as_str(),
                data.first().and_then(|e| e["id"].as_str())
            );
            assert_eq!(
                page["last_id"].as_str(),
                data.last().and_then(|e| e["id"].as_str())
            );
        }
    }
}
