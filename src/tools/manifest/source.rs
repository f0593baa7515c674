//! The files of one plugin, and what is wrong in them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use toml::de::DeTable;

use crate::error::{Fault, Faults};
use crate::reading::{NoToml, Reading, Unread};

/// A plugin's folder, what is wrong in it, and a digest of all that was read for it.
pub(in crate::tools) struct Source<'a> {
    /// The manifest.
    pub path: PathBuf,
    text: String,
    variables: &'a BTreeMap<String, String>,
    reading: &'a Reading,
    faults: RefCell<Faults>,
    digest: RefCell<Sha256>,
    /// Whether a secret that is missing is a fault.
    pub needs_secrets: Cell<bool>,
}

impl<'a> Source<'a> {
    pub fn open(
        path: PathBuf,
        variables: &'a BTreeMap<String, String>,
        reading: &'a Reading,
    ) -> Result<Self, Fault> {
        let text = reading.text(&path).map_err(|unread| {
            Fault::new(
                &path,
                unread.to_string(),
                "each folder of plugins holds a plugin.toml: write one, or remove the folder",
            )
        })?;
        let source = Self {
            path,
            text,
            variables,
            reading,
            faults: RefCell::default(),
            digest: RefCell::default(),
            needs_secrets: Cell::new(false),
        };
        source.note(source.text.as_bytes());
        Ok(source)
    }

    /// The manifest taken apart; syntax errors become faults, and what can be read stays.
    pub fn parse(&self) -> DeTable<'_> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors {
            let NoToml { at, what, mend } = NoToml::new(&error, &self.text);
            self.fault(at, what, mend);
        }
        table.into_inner()
    }

    pub fn fault(&self, at: usize, what: impl Into<String>, mend: impl Into<String>) {
        let fault = Fault::new(&self.path, what, mend).at_line(self.line(at));
        self.faults.borrow_mut().push(fault);
    }

    /// The line, counted from 1, in which a byte stands.
    pub fn line(&self, at: usize) -> usize {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    pub fn has_faults(&self) -> bool {
        !self.faults.borrow().0.is_empty()
    }

    pub fn into_faults(self) -> Faults {
        self.faults.into_inner()
    }

    /// The text of a file beside the manifest.
    pub fn beside(&self, name: &str) -> Result<String, String> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let text = self.read(&folder.join(name));
        let text = text.map_err(|unread| unread.to_string())?;
        self.note(text.as_bytes());
        Ok(text)
    }

    /// The text of a file anywhere; [`Source::note`] it, where its change makes another plugin.
    pub fn read(&self, path: &Path) -> Result<String, Unread> {
        self.reading.text(path)
    }

    /// An environment variable, if it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&'a str> {
        let text = self.variables.get(name).map(String::as_str);
        self.note(name.as_bytes());
        self.note(text.unwrap_or_default().as_bytes());
        text.filter(|text| !text.is_empty())
    }

    /// Equal for two loads that read the same.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.digest.borrow().clone().finalize().into()
    }

    pub fn note(&self, input: &[u8]) {
        let mut digest = self.digest.borrow_mut();
        digest.update((input.len() as u64).to_le_bytes());
        digest.update(input);
    }
}
