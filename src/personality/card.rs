//! Character Card V2 and V3: from `data` to a persona.
//!
//! The prompt, with a blank line between its parts and the book's entries at their places: the
//! card's `system_prompt` (or, where that is empty, a sentence of our own, as the specification
//! asks), `description`, `personality`, `scenario`, `mes_example`. After the conversation comes
//! `post_history_instructions`.
//!
//! Greetings (`first_mes`, `alternate_greetings`) are shown and not sent: the client owns the
//! conversation, and a greeting that it has shown comes back in its messages. `creator_notes`,
//! `tags`, `creator` and `character_version` must not enter prompts.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::book::{Book, RawBook, Slot};
use super::layout::{Block, Layout, PostHistory};
use super::macros::{Expanded, Piece, expand};
use super::persona::{AllowedTool, Format, Persona};
use super::yychat;
use crate::error::{Fault, Faults};

/// A card's file, as far as it is used.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct Document {
    data: Data,
}

/// A card's file, for showing.
#[derive(Deserialize)]
pub(super) struct Source {
    data: Map<String, Value>,
}

/// Cards in the wild write null for an empty text.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Data {
    name: String,
    #[serde(default, deserialize_with = "null_as_default")]
    nickname: String,
    #[serde(default, deserialize_with = "null_as_default")]
    description: String,
    #[serde(default, deserialize_with = "null_as_default")]
    personality: String,
    #[serde(default, deserialize_with = "null_as_default")]
    scenario: String,
    #[serde(default, deserialize_with = "null_as_default")]
    mes_example: String,
    #[serde(default, deserialize_with = "null_as_default")]
    system_prompt: String,
    #[serde(default, deserialize_with = "null_as_default")]
    post_history_instructions: String,
    #[serde(default)]
    character_book: Option<RawBook>,
    #[serde(default)]
    extensions: Value,
}

/// An absent or null value as the type's default.
pub(super) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Compiles a card; its id is `stem`, for cards have none.
pub(super) fn persona(
    path: &Path,
    format: Format,
    document: Document,
    source: Source,
    stem: &str,
) -> Result<Persona, Faults> {
    let data = document.data;
    if data.name.trim().is_empty() {
        return Err(Fault::new(path, "`data.name` is empty", "give the character a name").into());
    }
    // V3 has nicknames; in a V2 card the key is unknown and means nothing.
    let char = match (format, data.nickname.trim()) {
        (Format::CharaCardV3, nickname) if !nickname.is_empty() => nickname,
        _ => data.name.trim(),
    };
    let sections = Sections::new(&data, char);
    let book = match &data.character_book {
        Some(book) => Some(Book::compile(path, book, char, &sections.slots())?),
        None => None,
    };
    Ok(Persona {
        id: stem.to_owned(),
        name: data.name.clone(),
        origin: path.to_owned(),
        format,
        allowed_tools: allowed_tools(path, &data.extensions)?,
        source: source.data,
        post_history: post_history(&data, char),
        prompt: sections.layout(),
        book,
    })
}

/// The parts of the prompt, in their order; empty ones are left out.
struct Sections {
    system_prompt: Expanded,
    description: Expanded,
    personality: Expanded,
    scenario: Expanded,
    examples: Expanded,
}

impl Sections {
    fn new(data: &Data, char: &str) -> Self {
        let system_prompt = if data.system_prompt.trim().is_empty() {
            "You are {{char}}. Stay in character in every reply."
        } else {
            &data.system_prompt
        };
        Self {
            system_prompt: expand(system_prompt, char),
            description: without_original(expand(&data.description, char)),
            personality: labelled(&format!("{char}'s personality: "), &data.personality, char),
            scenario: labelled("Scenario: ", &data.scenario, char),
            examples: without_original(expand(&examples(&data.mes_example), char)),
        }
    }

    /// Where a book's entries can stand: `@@position` of a section that is not there is ignored.
    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![
            Slot::BeforeChar,
            Slot::BeforeDescription,
            Slot::AfterDescription,
            Slot::AfterChar,
        ];
        if !self.personality.is_empty() {
            slots.push(Slot::Personality);
        }
        if !self.scenario.is_empty() {
            slots.push(Slot::Scenario);
        }
        slots
    }

    fn layout(self) -> Layout {
        let section = |text: Expanded| Block::Section(text.pieces);
        let mut blocks = vec![
            section(self.system_prompt),
            Block::Slot(Slot::BeforeChar),
            Block::Slot(Slot::BeforeDescription),
            section(self.description),
            Block::Slot(Slot::AfterDescription),
            section(self.personality),
            Block::Slot(Slot::Personality),
            section(self.scenario),
            Block::Slot(Slot::Scenario),
            Block::Slot(Slot::AfterChar),
            section(self.examples),
        ];
        blocks.retain(|block| !matches!(block, Block::Section(pieces) if pieces.is_empty()));
        Layout::new(blocks)
    }
}

/// `{{original}}` there means the client's own instructions after the history; it has none.
fn post_history(data: &Data, char: &str) -> PostHistory {
    let text = without_original(expand(&data.post_history_instructions, char));
    PostHistory::new(text.pieces)
}

fn labelled(label: &str, text: &str, char: &str) -> Expanded {
    let mut text = without_original(expand(text, char));
    if !text.is_empty() {
        text.pieces.insert(0, Piece::Text(label.to_owned()));
    }
    text
}

/// Outside `system_prompt` there is nothing that `{{original}}` could stand for.
pub(super) fn without_original(mut text: Expanded) -> Expanded {
    text.pieces.retain(|piece| *piece != Piece::Original);
    text
}

/// Example conversations, each under a heading that tells it from the real one; `<START>`, which
/// begins each of them, may be transformed so.
fn examples(text: &str) -> String {
    text.split("<START>")
        .map(str::trim)
        .filter(|example| !example.is_empty())
        .map(|example| format!("[Example conversation]\n{example}"))
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// `extensions.yychat.allowed_tools`, in the shape that YYChat's own files have; the specification
/// asks applications to keep their keys under a name of theirs.
fn allowed_tools(path: &Path, extensions: &Value) -> Result<Option<Vec<AllowedTool>>, Fault> {
    let Some(tools) = extensions
        .pointer("/yychat/allowed_tools")
        .filter(|tools| !tools.is_null())
    else {
        return Ok(None);
    };
    let tools = Vec::deserialize(tools).map_err(|error| {
        Fault::new(
            path,
            format!("`extensions.yychat.allowed_tools`: {error}"),
            "write a list of {\"tool_name\", \"description\"}",
        )
    })?;
    yychat::allowed_tools(path, tools).map(Some)
}
