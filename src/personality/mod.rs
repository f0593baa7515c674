//! Personas: the files under `conf/personalities`, read and compiled once a generation, so that a
//! request only clones what is ready.
//!
//! ```text
//! file ──load──▶ yychat | card (+ png) ──macros, book──▶ Persona ──assemble──▶ fragments to splice
//! ```
//!
//! Three formats share the folder: YYChat's own (JSON and TOML), Character Card V2 and V3 (JSON,
//! and PNG with the card in a text chunk). Their specifications:
//! <https://github.com/malfoyslastname/character-card-spec-v2/blob/main/spec_v2.md>,
//! <https://github.com/kwaroran/character-card-spec-v3/blob/main/SPEC_V3.md>.

mod book;
mod card;
mod layout;
mod load;
mod macros;
mod persona;
mod png;
#[cfg(test)]
mod tests;
mod yychat;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub use book::{BookHit, History, Reason};
pub use persona::{AllowedTool, AssembleContext, Assembled, Format, Persona};

use crate::error::Faults;

/// Every persona of one generation, by id.
#[derive(Debug, Default)]
pub struct Personalities {
    by_id: BTreeMap<String, Arc<Persona>>,
}

impl Personalities {
    /// Reads and compiles every `.json`, `.toml`, `.png` and `.apng` file of `dir`.
    ///
    /// Other endings, hidden files (Kubernetes' `..data` among them) and folders are passed over.
    /// Where `dir` may be absent, use [`Personalities::default`] instead.
    ///
    /// # Errors
    ///
    /// All faults of all files at once; two files with one id are a fault that names both.
    pub fn load(dir: &Path) -> Result<Self, Faults> {
        load::folder(dir).map(|by_id| Self { by_id })
    }

    /// The persona of that id. `None` means that there is none: answer 404, never go on without.
    pub fn get(&self, id: &str) -> Option<Arc<Persona>> {
        self.by_id.get(id).cloned()
    }

    /// Every persona, sorted by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Persona>> {
        self.by_id.values()
    }
}
