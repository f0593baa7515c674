//! Character cards of all versions: from their fields to a persona.
//!
//! The prompt, with a blank line between its parts and the book's entries at their places: the
//! card's `system_prompt` (or, where that is empty, a sentence of our own, as the specification
//! asks), `description`, `personality`, `scenario`, `mes_example`. After the conversation come
//! SillyTavern's `extensions.depth_prompt` and `post_history_instructions`.
//!
//! Greetings (`first_mes`, `alternate_greetings`) are shown and not sent: the client owns the
//! conversation, and a greeting that it has shown comes back in its messages. `creator_notes`,
//! `tags`, `creator` and `character_version` must not enter prompts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::book::{Book, RawBook, Slot};
use super::layout::{Block, Layout, PostHistory};
use super::loose;
use super::macros::{Expanded, Names, Piece, expand};
use super::persona::{AllowedTool, Format, Persona};
use super::shape::Fields;
use super::yychat;
use crate::error::{Fault, Faults};

/// The fields that make a prompt.
const TEXTS: [&str; 9] = [
    "name",
    "nickname",
    "description",
    "personality",
    "scenario",
    "mes_example",
    "system_prompt",
    "post_history_instructions",
    "character_version",
];

/// Compiles a card; its id is `stem`, for cards have none.
pub(super) fn persona(path: &Path, card: Fields, stem: &str) -> Result<Persona, Faults> {
    let mut warnings = Vec::new();
    let data = Data::read(path, &card, stem, &mut warnings)?;
    let char = data.char();
    let names = data.names(char);
    let sections = Sections::new(&data, &names);
    let book = card.fields.get("character_book").map(|book| {
        let raw = RawBook::read(path, book, &mut warnings);
        Book::compile(path, &raw, (&names, &sections.slots()), &mut warnings)
    });
    Ok(Persona {
        id: stem.to_owned(),
        name: data.text("name").trim().to_owned(),
        origin: path.to_owned(),
        format: card.format,
        allowed_tools: allowed_tools(path, card.fields.get("extensions"))?,
        post_history: post_history(&data, &names),
        prompt: sections.layout(),
        book: book.transpose()?,
        source: card.fields,
        warnings,
    })
}

/// The texts of a card.
struct Data {
    format: Format,
    texts: BTreeMap<&'static str, String>,
    /// `extensions.depth_prompt.prompt`: what SillyTavern says some messages before the newest.
    depth_prompt: String,
}

impl Data {
    /// A card without a name is called as its file is; one without anything is a fault.
    fn read(
        path: &Path,
        card: &Fields,
        stem: &str,
        warnings: &mut Vec<Fault>,
    ) -> Result<Self, Fault> {
        let mut texts = BTreeMap::new();
        for key in TEXTS {
            let value = card.fields.get(key).filter(|value| !value.is_null());
            let text = value.map(|value| {
                loose::text(value).unwrap_or_else(|| {
                    warnings.push(Fault::new(
                        path,
                        format!("`{key}` is no text, and is left out"),
                        "write it as a text",
                    ));
                    String::new()
                })
            });
            texts.insert(key, text.unwrap_or_default());
        }
        let depth_prompt = card
            .fields
            .get("extensions")
            .and_then(|extensions| extensions.pointer("/depth_prompt/prompt"))
            .and_then(loose::text);
        let has_book = card
            .fields
            .get("character_book")
            .is_some_and(Value::is_object);
        if texts.values().all(|text| text.trim().is_empty()) && !has_book {
            return Err(Fault::new(
                path,
                "the card is empty: it has neither a name nor any other text",
                "export it again from the program that it was made with",
            ));
        }
        if let Some(name) = texts.get_mut("name").filter(|name| name.trim().is_empty()) {
            stem.clone_into(name);
        }
        Ok(Self {
            format: card.format,
            texts,
            depth_prompt: depth_prompt.unwrap_or_default(),
        })
    }

    fn text(&self, key: &str) -> &str {
        self.texts.get(key).map_or("", String::as_str)
    }

    /// V3 has nicknames; in an older card the key is unknown and means nothing.
    fn char(&self) -> &str {
        match (self.format, self.text("nickname").trim()) {
            (Format::CharaCardV3, nickname) if !nickname.is_empty() => nickname,
            _ => self.text("name").trim(),
        }
    }

    fn names<'a>(&'a self, char: &'a str) -> Names<'a> {
        let quoted = [
            ("description", "description"),
            ("chardescription", "description"),
            ("personality", "personality"),
            ("charpersonality", "personality"),
            ("scenario", "scenario"),
            ("charscenario", "scenario"),
            ("mesexamplesraw", "mes_example"),
            ("charversion", "character_version"),
            ("char_version", "character_version"),
        ];
        let fields = quoted.map(|(name, key)| (name, self.text(key)));
        Names {
            char,
            fields: fields.into(),
        }
    }
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
    fn new(data: &Data, names: &Names<'_>) -> Self {
        let system_prompt = match data.text("system_prompt") {
            text if text.trim().is_empty() => "You are {{char}}. Stay in character in every reply.",
            text => text,
        };
        let trait_of = format!("{}'s personality: ", names.char);
        let examples = examples(data.text("mes_example"));
        Self {
            system_prompt: expand(system_prompt, names),
            description: without_original(expand(data.text("description"), names)),
            personality: labelled(&trait_of, data.text("personality"), names),
            scenario: labelled("Scenario: ", data.text("scenario"), names),
            examples: without_original(expand(&examples, names)),
        }
    }

    /// Where a book's entries can stand: `@@position` of a section that is not there is ignored.
    fn slots(&self) -> Vec<Slot> {
        let mut slots = vec![
            Slot::BeforeChar,
            Slot::BeforeDescription,
            Slot::AfterDescription,
            Slot::AfterChar,
            Slot::BeforeExamples,
            Slot::AfterExamples,
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
            Block::Slot(Slot::BeforeExamples),
            section(self.examples),
            Block::Slot(Slot::AfterExamples),
        ];
        blocks.retain(|block| !matches!(block, Block::Section(pieces) if pieces.is_empty()));
        Layout::new(blocks)
    }
}

/// `{{original}}` there means the client's own instructions after the history; it has none.
fn post_history(data: &Data, names: &Names<'_>) -> PostHistory {
    let own = [&data.depth_prompt, data.text("post_history_instructions")];
    let own = own.map(|text| without_original(expand(text, names)).pieces);
    PostHistory::new(own.into())
}

fn labelled(label: &str, text: &str, names: &Names<'_>) -> Expanded {
    let mut text = without_original(expand(text, names));
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
fn allowed_tools(
    path: &Path,
    extensions: Option<&Value>,
) -> Result<Option<Vec<AllowedTool>>, Fault> {
    let Some(tools) = extensions
        .and_then(|extensions| extensions.pointer("/yychat/allowed_tools"))
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
