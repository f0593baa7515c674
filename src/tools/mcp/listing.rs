//! From what a server lists to tools that may be offered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Remote, Shared};
use crate::tools::call::Rate;
use crate::tools::manifest::Section;
use crate::tools::schema::Schema;
use crate::tools::tool::{MAX_NAME_BYTES, Parts, Run, Tool};

/// Which tools of a server are wanted, and which definitions of them are approved.
pub(super) struct Listing {
    plugin: Arc<str>,
    calls: u32,
    /// `None`: all.
    allowed: Option<Vec<String>>,
    /// Fingerprints from the manifest; without any, the first definition seen is the approved one.
    approved: Option<BTreeMap<String, String>>,
    /// What each tool looked like when it was first seen, and the tool made of it.
    first_seen: Mutex<BTreeMap<String, Seen>>,
}

/// A fingerprint, and the tool made of that definition.
type Seen = (String, Option<Arc<Tool>>);

impl Listing {
    /// Reads `allowed_tools` and `approved`.
    pub fn read(root: &mut Section<'_>, plugin: Arc<str>, calls: u32) -> Self {
        let allowed = root.texts("allowed_tools");
        let approved = root.pairs("approved").into_iter();
        let approved: BTreeMap<_, _> = approved
            .map(|(name, text)| (name.to_owned(), text.value.to_owned()))
            .collect();
        Self {
            plugin,
            calls,
            allowed,
            approved: (!approved.is_empty()).then_some(approved),
            first_seen: Mutex::default(),
        }
    }

    /// Whether a tool of that name is wanted.
    pub fn allows(&self, name: &str) -> bool {
        let allowed = self.allowed.as_ref();
        allowed.is_none_or(|allowed| allowed.iter().any(|wanted| wanted == name))
    }

    /// The tools to offer, and a line for each that is withheld.
    pub fn judge(
        &self,
        shared: &Arc<Shared>,
        listed: Vec<rmcp::model::Tool>,
    ) -> (Vec<Arc<Tool>>, Vec<String>) {
        let mut offered: Vec<Arc<Tool>> = Vec::new();
        let mut withheld = Vec::new();
        for tool in listed {
            if !self.allows(&tool.name) {
                continue;
            }
            match self.tool(shared, &tool) {
                Ok(tool) if offered.iter().any(|other| other.name() == tool.name()) => {
                    withheld.push(format!("{}: is listed twice", tool.name()));
                }
                Ok(tool) => offered.push(tool),
                Err(why) => withheld.push(format!("{}: {why}", tool.name)),
            }
        }
        (offered, withheld)
    }

    fn tool(&self, shared: &Arc<Shared>, listed: &rmcp::model::Tool) -> Result<Arc<Tool>, String> {
        let fingerprint = fingerprint(listed);
        let mut first_seen = self.first_seen.lock();
        let seen = first_seen
            .entry(listed.name.to_string())
            .or_insert_with(|| (fingerprint.clone(), None));
        let approved = match &self.approved {
            Some(approved) => approved.get(&*listed.name),
            None => Some(&seen.0),
        };
        if approved != Some(&fingerprint) {
            let since = match &self.approved {
                Some(_) => "is not the approved definition",
                None => "changed since it was first seen",
            };
            let name = &listed.name;
            return Err(format!(
                "{since}; to approve it, write approved = {{ {name:?} = {fingerprint:?} }}"
            ));
        }
        if let (first, Some(tool)) = &*seen
            && *first == fingerprint
        {
            return Ok(tool.clone());
        }
        let tool = Arc::new(self.make(shared, listed)?);
        *seen = (fingerprint, Some(tool.clone()));
        Ok(tool)
    }

    fn make(&self, shared: &Arc<Shared>, listed: &rmcp::model::Tool) -> Result<Tool, String> {
        if listed.name.is_empty() {
            return Err("it has no name".to_owned());
        }
        let mut schema = (*listed.input_schema).clone();
        schema.entry("type").or_insert_with(|| json!("object"));
        let schema = Schema::compile(&Value::Object(schema).to_string());
        let description = listed.description.as_deref().or(listed.title.as_deref());
        Ok(Tool::new(Parts {
            name: function_name(&listed.name),
            description: description.unwrap_or_default().to_owned(),
            plugin: self.plugin.clone(),
            schema: Arc::new(schema.map_err(|why| format!("its input schema {why}"))?),
            rate: Rate::per_minute(self.calls),
            run: Run::Mcp(Remote {
                shared: Arc::downgrade(shared),
                name: listed.name.to_string(),
            }),
        }))
    }
}

/// A server's name of a tool as the API takes it.
fn function_name(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let fitting = name.chars().map(|c| if fits(c) { c } else { '_' });
    fitting.take(MAX_NAME_BYTES).collect()
}

/// Tells one definition from another: all that the model is shown.
fn fingerprint(tool: &rmcp::model::Tool) -> String {
    let mut digest = Sha256::new();
    let definition = json!({
        "name": tool.name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": *tool.input_schema,
    });
    update(&mut digest, &definition);
    let bytes = digest.finalize();
    let hex = bytes.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// Feeds JSON to a digest with its keys in order, whatever order the map keeps.
fn update(digest: &mut Sha256, value: &Value) {
    match value {
        Value::Object(entries) => {
            let sorted: BTreeMap<_, _> = entries.iter().collect();
            digest.update(format!("{{{}", sorted.len()));
            for (key, value) in sorted {
                update(digest, &Value::from(key.as_str()));
                update(digest, value);
            }
        }
        Value::Array(items) => {
            digest.update(format!("[{}", items.len()));
            items.iter().for_each(|item| update(digest, item));
        }
        other => digest.update(format!("{other};")),
    }
}
