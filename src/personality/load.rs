//! From a folder to compiled personas: which files count, how each is read, what can be wrong.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::persona::{Format, Persona};
use super::{card, png, yychat};
use crate::error::{Fault, Faults};

/// Bytes of a personality file, and of a card unpacked from one, at most.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Bytes of an id at most.
const MAX_ID_BYTES: usize = 128;

/// Every persona under `dir`, by id.
pub(super) fn folder(dir: &Path) -> Result<BTreeMap<String, Arc<Persona>>, Faults> {
    let mut faults = Faults::default();
    let mut by_id: BTreeMap<String, Arc<Persona>> = BTreeMap::new();
    let mut origins: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, kind) in files(dir)? {
        let Some(persona) = faults.take(file(&path, kind)) else {
            continue;
        };
        if let Some(first) = origins.get(&persona.id) {
            faults.push(Fault::new(
                &path,
                format!("id `{}` is that of {} too", persona.id, first.display()),
                "give one of them another `id`, or another file name where it has none",
            ));
        } else {
            origins.insert(persona.id.clone(), path);
            by_id.insert(persona.id.clone(), Arc::new(persona));
        }
    }
    faults.or(by_id)
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Json,
    Toml,
    Png,
}

/// The files that count, in the order of their names.
fn files(dir: &Path) -> Result<Vec<(PathBuf, Kind)>, Fault> {
    let unreadable = |error: io::Error| {
        Fault::new(
            dir,
            format!("the personality folder cannot be read: {error}"),
            "create it, or set `personality.dir` to the folder that holds the files",
        )
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        let kind = match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("json") => Kind::Json,
            Some("toml") => Kind::Toml,
            Some("png" | "apng") => Kind::Png,
            _ => continue,
        };
        // Folders and pipes are passed over; a dangling link is a fault when it is read.
        let special = fs::metadata(&path).is_ok_and(|found| !found.is_file());
        if !hidden && !special {
            files.push((path, kind));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(files)
}

/// The persona of one file.
fn file(path: &Path, kind: Kind) -> Result<Persona, Faults> {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
        return Err(Fault::new(path, "the file name is not UTF-8", "rename the file").into());
    };
    let bytes = read(path)?;
    let persona = match kind {
        Kind::Json => json(path, &text(path, bytes)?, stem)?,
        Kind::Toml => toml(path, &text(path, bytes)?, stem)?,
        // Lines of the JSON in an image mean nothing to whoever looks at the image.
        Kind::Png => card(path, &png::card_json(path, &bytes)?, stem).map_err(|mut faults| {
            faults.0.iter_mut().for_each(|fault| fault.line = None);
            faults
        })?,
    };
    check_id(path, &persona.id)?;
    Ok(persona)
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            Fault::new(
                path,
                format!("cannot be read: {error}"),
                "check the file and its permissions, or remove it",
            )
        })?;
    if bytes.len() > MAX_BYTES {
        return Err(Fault::new(
            path,
            format!("is larger than {} MiB", MAX_BYTES >> 20),
            "a personality is some kilobytes of text: shrink the image or remove the file",
        ));
    }
    Ok(bytes)
}

/// The file as text, without the byte order mark that some editors write.
fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Fault> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(match text.strip_prefix('\u{feff}') {
            Some(rest) => rest.to_owned(),
            None => text,
        }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = line_at(&error.as_bytes()[..valid]);
            Err(Fault::new(path, "is not UTF-8", "save the file as UTF-8").at_line(line))
        }
    }
}

fn line_at(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// What tells a card from one of YYChat's files.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct Probe {
    spec: Option<Value>,
}

fn json(path: &Path, text: &str, stem: &str) -> Result<Persona, Faults> {
    if parse::<Probe>(path, text)?.spec.is_some() {
        return card(path, text, stem);
    }
    let document = parse(path, text)?;
    Ok(yychat::persona(path, document, parse(path, text)?, stem)?)
}

fn toml(path: &Path, text: &str, stem: &str) -> Result<Persona, Faults> {
    let fault = |error: toml::de::Error| {
        let fault = Fault::new(path, error.message(), NEEDED);
        match error.span() {
            Some(span) => fault.at_line(line_at(&text.as_bytes()[..span.start])),
            None => fault,
        }
    };
    let document = toml::from_str(text).map_err(fault)?;
    let source: Map<String, Value> = toml::from_str(text).map_err(fault)?;
    Ok(yychat::persona(path, document, source, stem)?)
}

/// A character card, by its `spec`.
fn card(path: &Path, text: &str, stem: &str) -> Result<Persona, Faults> {
    let format = match parse::<Probe>(path, text)?.spec {
        Some(Value::String(spec)) if spec == "chara_card_v2" => Format::CharaCardV2,
        Some(Value::String(spec)) if spec == "chara_card_v3" => Format::CharaCardV3,
        spec => {
            let what = match spec {
                Some(spec) => format!("`spec` is {spec}"),
                None => "the card has no `spec`".to_owned(),
            };
            return Err(Fault::new(
                path,
                what,
                "cards of `chara_card_v2` and `chara_card_v3` are read: save it as one of them",
            )
            .into());
        }
    };
    card::persona(path, format, parse(path, text)?, parse(path, text)?, stem)
}

const NEEDED: &str = "a personality needs a text `system_prompt`, a character card needs `spec` \
                      and, in `data`, a `name`";

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
