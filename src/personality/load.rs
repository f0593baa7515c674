//! From a folder to compiled personas: which files count, how each is read, what can be wrong.
//!
//! A file that is wrong costs its own persona alone: the last good one stays, where there was one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use serde_json::{Map, Value};
use toml::de::DeTable;

use super::persona::Persona;
use super::{Broken, Personalities, card, charx, loose, normal, png, shape, yychat};
use crate::error::{Fault, Faults};
use crate::reading::{self, NoToml, Reading, Unread, line_at};

/// Bytes of a personality file, and of a card unpacked from one, at most.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Bytes of an id at most.
const MAX_ID_BYTES: usize = 128;

/// Every persona under `dir`, and what is wrong with the others.
pub(super) fn folder(
    dir: &Path,
    previous: Option<&Personalities>,
    reading: &Reading,
) -> Result<Personalities, Faults> {
    let mut loaded = Personalities::default();
    let files = files(dir, reading)?;
    for (path, kind) in &files {
        match file(path, *kind, reading) {
            Ok(Some(persona)) => loaded.add(persona),
            Ok(None) if matches!(kind, Kind::Yaml) => {}
            // A picture beside the file that it belongs to, or one that has lost its card.
            Ok(None) if has_twin(path, &files) => {}
            Ok(None) => loaded.broken.push(Broken {
                id: id_of(path),
                faults: Fault::new(path, NO_CARD, "export the card again (image hosts strip such chunks), or move the image elsewhere").into(),
                is_last_good: false,
            }),
            Err(faults) => {
                reading.is_broken(path);
                loaded.broken.push(Broken {
                    id: id_of(path),
                    faults,
                    is_last_good: false,
                });
            }
        }
    }
    if let Some(previous) = previous {
        loaded.keep_last_good(previous);
    }
    Ok(loaded)
}

/// Has what is against a persona told of its file.
pub(super) fn refuse(loaded: &mut Personalities, against: impl Fn(&Persona) -> Vec<Fault>) {
    let Personalities { by_id, broken } = loaded;
    by_id.retain(|id, persona| {
        let faults = against(persona);
        if faults.is_empty() {
            return true;
        }
        broken.push(Broken {
            id: id.clone(),
            faults: Faults(faults),
            is_last_good: false,
        });
        false
    });
}

const NO_CARD: &str =
    "the image holds no character card: it has neither a `ccv3` nor a `chara` text chunk";

/// The id of a file that has none of its own.
fn id_of(path: &Path) -> String {
    normal(&path.file_stem().unwrap_or_default().to_string_lossy()).into_owned()
}

/// Whether there is a file of the same name that is no image.
fn has_twin(image: &Path, files: &[(PathBuf, Kind)]) -> bool {
    files.iter().any(|(path, kind)| {
        !matches!(kind, Kind::Png)
            && path.file_stem() == image.file_stem()
            && path.parent() == image.parent()
    })
}

impl Personalities {
    /// Adds a persona; of two with one id the second is broken.
    fn add(&mut self, persona: Persona) {
        let Some(first) = self.by_id.get(&persona.id) else {
            self.by_id.insert(persona.id.clone(), Arc::new(persona));
            return;
        };
        let fault = Fault::new(
            &persona.origin,
            format!(
                "id `{}` is that of {} too",
                persona.id,
                first.origin.display()
            ),
            "give one of them another `id`, or another file name where it has none",
        );
        self.broken.push(Broken {
            id: persona.id,
            faults: fault.into(),
            is_last_good: false,
        });
    }

    /// Puts the personas that broken files had before in their places.
    pub(super) fn keep_last_good(&mut self, previous: &Self) {
        for broken in &mut self.broken {
            let origin = broken.faults.0.first().map(|fault| &fault.origin);
            let before = previous
                .by_id
                .values()
                .find(|persona| Some(&persona.origin) == origin);
            if let Some(before) = before
                && !self.by_id.contains_key(&before.id)
            {
                broken.id.clone_from(&before.id);
                broken.is_last_good = true;
                self.by_id.insert(before.id.clone(), before.clone());
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Json,
    Toml,
    Png,
    Charx,
    /// Not read, which is said of one that holds a personality.
    Yaml,
}

/// The files that count, in the order of their names.
fn files(dir: &Path, reading: &Reading) -> Result<Vec<(PathBuf, Kind)>, Fault> {
    let listed = reading.list(dir, counts).map_err(|unread| {
        Fault::new(
            dir,
            format!("the personality folder {unread}"),
            "create it, or set `personality.dir` to the folder that holds the files",
        )
    })?;
    let kinds = listed.into_iter().filter_map(|path| {
        let kind = kind(&path)?;
        Some((path, kind))
    });
    Ok(kinds.collect())
}

fn kind(path: &Path) -> Option<Kind> {
    let ending = path.extension()?.to_ascii_lowercase();
    match ending.to_str()? {
        "json" => Some(Kind::Json),
        "toml" => Some(Kind::Toml),
        "png" | "apng" => Some(Kind::Png),
        "charx" => Some(Kind::Charx),
        "yaml" | "yml" => Some(Kind::Yaml),
        _ => None,
    }
}

/// Folders and pipes are passed over; a dangling link is a fault when it is read.
fn counts(path: &Path) -> bool {
    kind(path).is_some() && !path.is_dir() && !reading::is_special(path)
}

/// The persona of one file; `None` for an image that holds none.
fn file(path: &Path, kind: Kind, reading: &Reading) -> Result<Option<Persona>, Faults> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return Err(Fault::new(path, "the file name is not UTF-8", "rename the file").into());
    };
    let stem = &*normal(stem);
    let bytes = read(path, reading)?;
    let mut persona = match kind {
        Kind::Json => json(path, &text(path, bytes)?, stem)?,
        Kind::Toml => toml(path, &text(path, bytes)?, stem)?,
        Kind::Png => {
            let Some(json) = png::card_json(path, &bytes)? else {
                return Ok(None);
            };
            packed(path, &json, stem)?
        }
        Kind::Charx => packed(path, &charx::card_json(path, &bytes)?, stem)?,
        Kind::Yaml => return yaml(path, &text(path, bytes)?),
    };
    persona.id = normal(&persona.id).into_owned();
    check_id(path, &persona.id)?;
    Ok(Some(persona))
}

/// The persona of a card that was packed into another file.
fn packed(path: &Path, json: &str, stem: &str) -> Result<Persona, Faults> {
    let document = value(path, json)?;
    let card = shape::card(&document).ok_or_else(|| {
        Fault::new(
            path,
            "what the file holds is no character card",
            "a card has a `name` and a `description`: export it again",
        )
    })?;
    card::persona(path, card, stem)
}

fn read(path: &Path, reading: &Reading) -> Result<Vec<u8>, Fault> {
    let bytes = reading.read(path, MAX_BYTES).map_err(|unread| {
        let mend = match unread {
            Unread::Io(_) => "check the file and its permissions, or remove it",
            Unread::TooLarge(_) => {
                "a personality is some kilobytes of text: shrink the image or remove the file"
            }
            _ => return unread.fault(path),
        };
        Fault::new(path, unread.to_string(), mend)
    })?;
    Ok(bytes.into())
}

/// The file as text, without the byte order mark that some editors write; UTF-16 is read too, with such a
/// mark or by the half of its first letter that is nothing.
fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Fault> {
    let wide = |from: usize, unit: fn([u8; 2]) -> u16| {
        let units = bytes[from..]
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]));
        String::from_utf16(&units.collect::<Vec<_>>()).ok()
    };
    let wide = match bytes.as_slice() {
        [0xff, 0xfe, ..] => wide(2, u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(2, u16::from_be_bytes),
        [first, 0, second, 0, ..] if *first > 0 && *second > 0 => wide(0, u16::from_le_bytes),
        [0, first, 0, second, ..] if *first > 0 && *second > 0 => wide(0, u16::from_be_bytes),
        _ => None,
    };
    if let Some(text) = wide {
        return Ok(text);
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(loose::bare(&text).to_owned()),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_at(error.as_bytes(), valid);
            Err(Fault::new(path, "is not UTF-8", "save the file as UTF-8").at_line(line))
        }
    }
}

fn json(path: &Path, text: &str, stem: &str) -> Result<Persona, Faults> {
    if text.trim().is_empty() {
        let mend = "write a personality into it, or remove it";
        return Err(Fault::new(path, "is empty", mend).into());
    }
    let document = value(path, text)?;
    if let Some(card) = shape::card(&document) {
        return card::persona(path, card, stem);
    }
    if shape::is_book(&document) {
        return Err(Fault::new(
            path,
            "is a lorebook without a character",
            "import it into a card, which then has it as its `character_book`",
        )
        .into());
    }
    if !document.is_object() {
        let what = match &document {
            Value::Array(list) => format!("is a list of {}, and a personality is one", list.len()),
            _ => "is no personality: it holds no object".to_owned(),
        };
        return Err(Fault::new(path, what, "give each personality a file of its own").into());
    }
    let document = parse(path, text)?;
    Ok(yychat::persona(path, document, parse(path, text)?, stem)?)
}

fn toml(path: &Path, text: &str, stem: &str) -> Result<Persona, Faults> {
    let line = |at| line_at(text.as_bytes(), at);
    let fault = |error: toml::de::Error| {
        if let Err(error) = DeTable::parse(text) {
            let NoToml { at, what, mend } = NoToml::new(&error, text);
            return Fault::new(path, what, mend).at_line(line(at));
        }
        let fault = Fault::new(path, error.message(), NEEDED);
        match error.span() {
            Some(span) => fault.at_line(line(span.start)),
            None => fault,
        }
    };
    let document = toml::from_str(text).map_err(fault)?;
    let source: Map<String, Value> = toml::from_str(text).map_err(fault)?;
    Ok(yychat::persona(path, document, source, stem)?)
}

/// Other programs keep characters in YAML.
fn yaml(path: &Path, text: &str) -> Result<Option<Persona>, Faults> {
    const KEYS: [&str; 9] = [
        "name:",
        "char_name:",
        "system_prompt:",
        "context:",
        "description:",
        "char_persona:",
        "persona:",
        "personality:",
        "spec:",
    ];
    let tells = |line: &str| KEYS.iter().any(|key| line.starts_with(key));
    match text.lines().position(tells) {
        None => Ok(None),
        Some(at) => {
            let what = "is a personality in YAML, which is not read";
            let mend = "save it as JSON or TOML (yq -o json FILE.yaml > FILE.json does), with \
                        `system_prompt`, or a card's `name` and `description`";
            Err(Fault::new(path, what, mend).at_line(at + 1).into())
        }
    }
}

const NEEDED: &str = "a personality needs a text `system_prompt`, a character card needs a `name` \
                      and a `description`";

/// Any JSON, as the programs that write cards write it.
fn value(path: &Path, text: &str) -> Result<Value, Fault> {
    loose::parse(text).map_err(|error| {
        // Where nothing is kept, the place that is told is that of the fault itself.
        let error = serde_json::from_str::<IgnoredAny>(text)
            .err()
            .unwrap_or(error);
        let fault = Fault::new(path, error.to_string(), "correct the JSON there");
        fault.at_line(error.line().max(1))
    })
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let mend = match error.classify() {
            Category::Data => NEEDED,
            _ => "correct the JSON there",
        };
        Fault::new(path, error.to_string(), mend).at_line(error.line().max(1))
    })
}

fn check_id(path: &Path, id: &str) -> Result<(), Fault> {
    let forbidden = |c: char| c.is_control() || c == '/' || c == '\\';
    let wrong = if id.is_empty() {
        "is empty"
    } else if id.len() > MAX_ID_BYTES {
        "is longer than 128 bytes"
    } else if id.contains(forbidden) {
        "holds a slash or a control character"
    } else if id.trim() != id {
        "begins or ends with white space"
    } else {
        return Ok(());
    };
    Err(Fault::new(
        path,
        format!("id {id:?} {wrong}"),
        "write another `id`, or rename the file where it has none",
    ))
}
