//! Which of a JSON document's parts is a card, whatever program wrote it.
//!
//! Read are V1 (the fields at the top), V2 and V3 (the fields in `data`), all of them as
//! SillyTavern's own exports have them (in both places), the notepad cards of Pygmalion, and each
//! of these wrapped once more. The inner field wins; one that only an outer object has counts.

use serde_json::{Map, Value};

use super::loose;
use super::persona::Format;

/// Keys under which programs wrap a card.
const WRAPPERS: [&str; 4] = ["data", "character", "card", "char"];

/// Wrappers within wrappers at most.
const DEEPEST: usize = 6;

/// The texts that make an object without `spec` and `data` a card of V1.
const TEXTS: [&str; 5] = [
    "description",
    "personality",
    "scenario",
    "first_mes",
    "mes_example",
];

/// What other programs call the fields: Pygmalion's notepad, RisuAI, Agnai, and those that write in
/// camel case. The first that is there counts.
const OTHER_NAMES: [(&str, &str); 22] = [
    ("char_name", "name"),
    ("char_persona", "description"),
    ("desc", "description"),
    ("world_scenario", "scenario"),
    ("char_greeting", "first_mes"),
    ("firstMes", "first_mes"),
    ("firstMessage", "first_mes"),
    ("greeting", "first_mes"),
    ("example_dialogue", "mes_example"),
    ("mesExample", "mes_example"),
    ("exampleMessage", "mes_example"),
    ("sampleChat", "mes_example"),
    ("systemPrompt", "system_prompt"),
    ("postHistoryInstructions", "post_history_instructions"),
    ("characterBook", "character_book"),
    ("character_lorebook", "character_book"),
    ("lorebook", "character_book"),
    ("worldbook", "character_book"),
    ("world_book", "character_book"),
    ("worldInfo", "character_book"),
    ("world_info", "character_book"),
    ("globalLore", "character_book"),
];

/// A card's fields, wherever they stood.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) format: Format,
    pub(super) fields: Map<String, Value>,
}

/// The card that `document` is; `None` for one of YYChat's files and for what is neither.
pub(super) fn card(document: &Value) -> Option<Fields> {
    let top = loose::object(document)?;
    let is_yychat = top.contains_key("system_prompt")
        && !["spec", "data", "first_mes", "mes_example"]
            .iter()
            .any(|key| top.contains_key(*key));
    if is_yychat {
        return None;
    }
    let mut fields = top.into_owned();
    let mut spec = fields.get("spec").and_then(loose::text);
    let mut wrapped = false;
    for _ in 0..DEEPEST {
        let inner = WRAPPERS
            .iter()
            .find_map(|key| loose::object(fields.get(*key)?))
            .map(std::borrow::Cow::into_owned);
        let Some(mut inner) = inner else { break };
        spec = spec.or_else(|| inner.get("spec").and_then(loose::text));
        for (key, value) in fields {
            let wraps = WRAPPERS.contains(&key.as_str()) && loose::object(&value).is_some();
            let known = inner.get(&key).is_some_and(|value| !value.is_null());
            if !wraps && !known {
                inner.insert(key, value);
            }
        }
        fields = inner;
        wrapped = true;
    }
    for (other, field) in OTHER_NAMES {
        let is_there = |value: &&Value| !value.is_null();
        let known = fields.get(field).filter(is_there).is_some();
        if let Some(value) = fields.get(other).filter(is_there).filter(|_| !known) {
            fields.insert(field.to_owned(), value.clone());
        }
    }
    // Some keep the book where they may keep what is theirs.
    let own = fields.get("extensions");
    let book = own.and_then(|own| own.get("character_book")).cloned();
    let has_book = fields.get("character_book").is_some_and(|it| !it.is_null());
    if let Some(book) = book.filter(|_| !has_book) {
        fields.insert("character_book".to_owned(), book);
    }
    let has_text = TEXTS.iter().any(|key| !blank(fields.get(*key)))
        // One that is all blank but for its name.
        || !blank(fields.get("name")) && TEXTS.iter().any(|key| fields.contains_key(*key));
    let is_card = spec.is_some() || (wrapped && fields.contains_key("name")) || has_text;
    is_card.then(|| Fields {
        format: format(spec.as_deref(), wrapped),
        fields,
    })
}

/// Whether a document is a lorebook and nothing else.
pub(super) fn is_book(document: &Value) -> bool {
    document
        .get("entries")
        .is_some_and(|entries| entries.is_object() || entries.is_array())
}

fn blank(value: Option<&Value>) -> bool {
    let text = value.and_then(loose::text);
    text.is_none_or(|text| text.trim().is_empty())
}

/// A version that is not known is read as the newest one that is.
fn format(spec: Option<&str>, wrapped: bool) -> Format {
    match spec {
        Some("chara_card_v2") => Format::CharaCardV2,
        Some(_) => Format::CharaCardV3,
        None if wrapped => Format::CharaCardV2,
        None => Format::CharaCardV1,
    }
}
