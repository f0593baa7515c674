//! Personas: the files under `conf/personalities`, read and compiled once a generation, so that a
//! request only clones what is ready.
//!
//! ```text
//! file ──load──▶ yychat | shape, card (+ png, charx) ──macros, book──▶ Persona ──assemble──▶ fragments
//! ```
//!
//! Two kinds of file share the folder: YYChat's own (JSON and TOML), and character cards of V1, V2
//! and V3 (JSON, PNG with the card in a text chunk, and CHARX), which are read as the programs that write
//! them read them, SillyTavern above all. Their specifications:
//! <https://github.com/malfoyslastname/character-card-spec-v2/blob/main/spec_v2.md>,
//! <https://github.com/kwaroran/character-card-spec-v3/blob/main/SPEC_V3.md>.

mod book;
mod card;
mod charx;
mod clock;
mod layout;
mod load;
mod loose;
mod macros;
mod persona;
mod png;
mod shape;
#[cfg(test)]
mod tests;
mod yychat;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

pub use book::{BookHit, History, Reason};
pub use persona::{AllowedTool, AssembleContext, Assembled, Format, Persona};

use crate::error::{ApiError, Fault, Faults};
use crate::reading::Reading;
use crate::shipped;

/// Every persona of one generation, by id.
#[derive(Debug, Default)]
pub struct Personalities {
    by_id: BTreeMap<String, Arc<Persona>>,
    broken: Vec<Broken>,
}

/// A file that gives no persona.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The id that it would have.
    pub id: String,
    /// What is wrong with it; at least one.
    pub faults: Faults,
    /// Whether the persona that it gave before is in force still.
    pub is_last_good: bool,
}

impl Personalities {
    /// Reads and compiles every `.json`, `.toml`, `.png` and `.apng` file of `dir`.
    ///
    /// Other endings, hidden files (Kubernetes' `..data` among them) and folders are passed over.
    /// Where `dir` may be absent, use [`Personalities::default`] instead. A file that is broken
    /// costs its own persona alone, of which the one in `previous` stays; two files with one id
    /// are a fault of the second that names both.
    ///
    /// # Errors
    ///
    /// Where the folder itself cannot be read.
    pub fn load(dir: &Path, previous: Option<&Self>, reading: &Reading) -> Result<Self, Faults> {
        load::folder(dir, previous, reading)
    }

    /// Takes those out that something beside their own files is against, such as a tool that there is
    /// not; of each the one in `previous` stays.
    pub fn refuse(&mut self, previous: Option<&Self>, against: impl Fn(&Persona) -> Vec<Fault>) {
        load::refuse(self, against);
        if let Some(previous) = previous {
            self.keep_last_good(previous);
        }
    }

    /// The persona of that id, in whatever form its letters are composed. `None` means that there
    /// is none: answer 404, never go on without.
    pub fn get(&self, id: &str) -> Option<Arc<Persona>> {
        self.by_id.get(&*normal(id)).cloned()
    }

    /// The persona of that id, or the 404 that says why there is none.
    pub fn find(&self, id: &str) -> Result<Arc<Persona>, ApiError> {
        self.get(id).ok_or_else(|| {
            let why = self.why_not(id).map_or_else(
                || {
                    format!(
                        "There is no personality `{id}`. GET /v1/personalities lists those there \
                         are."
                    )
                },
                |fault| format!("The personality `{id}` cannot be used: {fault}"),
            );
            ApiError::new(StatusCode::NOT_FOUND, why)
                .param("personality_id")
                .code("personality_not_found")
        })
    }

    /// `MODEL@PERSONALITY` taken apart. What stands behind an `@` and is no personality that there is
    /// belongs to the model's name; one whose file is broken is meant all the same.
    pub fn split_model<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (model, id) = name.rsplit_once('@')?;
        let is_known = !model.is_empty() && !id.is_empty();
        (is_known && (self.get(id).is_some() || self.why_not(id).is_some())).then_some((model, id))
    }

    /// What is wrong with the file that would have that id, without its folder.
    pub fn why_not(&self, id: &str) -> Option<Fault> {
        let id = normal(id);
        let broken = self.broken.iter().find(|broken| broken.id == id)?;
        let mut fault = broken.faults.0.first()?.clone();
        fault.origin = fault.origin.file_name().unwrap_or_default().into();
        Some(fault)
    }

    /// Every persona, sorted by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Persona>> {
        self.by_id.values()
    }

    /// Whether they are those of the program itself, or none at all.
    pub fn are_shipped(&self) -> bool {
        let all_of_them = self.iter().all(|persona| shipped::holds(&persona.origin));
        all_of_them && self.broken.is_empty()
    }

    /// The files that give none.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// What is odd in the files and costs no persona.
    pub fn warnings(&self) -> impl Iterator<Item = &Fault> {
        self.iter().flat_map(|persona| &persona.warnings)
    }
}

/// An id in the one form in which ids are compared: composed (NFC), as keyboards write it and
/// macOS does not name its files.
fn normal(id: &str) -> Cow<'_, str> {
    match is_nfc_quick(id.chars()) {
        IsNormalized::Yes => Cow::Borrowed(id),
        _ => Cow::Owned(id.nfc().collect()),
    }
}
