//! YYChat's personality files, JSON or TOML: `id`, `name`, `system_prompt`, `allowed_tools`.
//!
//! `traits`, `examples` and every other key were never sent to the model by YYChat; they are kept
//! for showing and not sent here either, so that a file means what it always meant.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::layout::{Block, Layout, PostHistory};
use super::macros::Piece;
use super::persona::{AllowedTool, Format, Persona};
use crate::error::Fault;

/// The keys that mean something; the whole object is kept beside them.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct Document {
    id: Option<String>,
    name: Option<String>,
    system_prompt: String,
    allowed_tools: Option<Vec<RawTool>>,
}

/// YYChat takes the tool's name from either key.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(super) struct RawTool {
    tool_name: Option<String>,
    name: Option<String>,
    description: Option<String>,
}

/// Compiles a file; an absent `id` is `stem`, an absent `name` the id.
pub(super) fn persona(
    path: &Path,
    document: Document,
    source: Map<String, Value>,
    stem: &str,
) -> Result<Persona, Fault> {
    if document.system_prompt.trim().is_empty() {
        return Err(Fault::new(
            path,
            "`system_prompt` is empty",
            "write what the persona is told, or remove the file",
        ));
    }
    let id = document.id.unwrap_or_else(|| stem.to_owned());
    Ok(Persona {
        name: document.name.unwrap_or_else(|| id.clone()),
        id,
        origin: path.to_owned(),
        format: Format::Yychat,
        allowed_tools: document
            .allowed_tools
            .map(|tools| allowed_tools(path, tools))
            .transpose()?,
        source,
        prompt: Layout::new(vec![Block::Section(vec![Piece::Text(
            document.system_prompt,
        )])]),
        post_history: PostHistory::default(),
        book: None,
    })
}

/// `allowed_tools` as a file has them.
pub(super) fn allowed_tools(path: &Path, tools: Vec<RawTool>) -> Result<Vec<AllowedTool>, Fault> {
    tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| {
            let tool_name = tool
                .tool_name
                .or(tool.name)
                .filter(|name| !name.trim().is_empty())
                .ok_or_else(|| {
                    Fault::new(
                        path,
                        format!("`allowed_tools[{index}]` names no tool"),
                        "give it a `tool_name`",
                    )
                })?;
            Ok(AllowedTool {
                tool_name,
                description: tool.description.unwrap_or_default(),
            })
        })
        .collect()
}
