//! Configuration in three stages: what an operator wrote ([`raw`]), what is valid ([`model`]),
//! and what runs (the snapshot, further up).
//!
//! Layers, the later ones stronger: defaults, file, YYChat's old variables, `YYCHAT__SECTION__KEY`
//! variables, command line. Every fault of all of them is found in one load.

pub mod model;
pub mod prices;

mod check;
mod diff;
mod environment;
mod extract;
mod file;
mod layers;
mod raw;
mod schema;
#[cfg(test)]
mod tests;
mod validate;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use diff::{changed, in_force, needs_restart};
pub use environment::environment;
pub use schema::schema;

use crate::error::{Fault, Faults};
use crate::reading::Reading;
use check::Check;
use extract::Places;

/// The file that is read when none is named. It may be absent, then.
pub const DEFAULT_FILE: &str = "conf/yychat.toml";

/// The folder of personalities where none is named. It may be absent, then.
pub const DEFAULT_PERSONALITIES: &str = "conf/personalities";

/// The folder of plugins where none is named. It may be absent, then.
pub const DEFAULT_PLUGINS: &str = "plugins";

/// All that configuration is made from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file of `--config`; must exist. `None` stands for [`DEFAULT_FILE`].
    pub file: Option<PathBuf>,
    /// Variables by name; see [`environment()`]. Secrets by `{ env = "NAME" }` are looked up here.
    pub env: BTreeMap<String, String>,
    /// Dotted keys and their values from the command line, the strongest layer.
    pub overrides: Vec<(String, String)>,
}

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: model::Config,
    /// What works but may not be meant.
    pub warnings: Vec<Fault>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Loads and validates configuration. Reads the file and the files that it names as secrets or
/// certificates, through `reading`, and looks whether a model's are there; touches nothing else.
///
/// # Errors
///
/// Every fault at once, in the order of the file's lines; those of other origins follow.
pub fn load(sources: &Sources, reading: &Reading) -> Result<Loaded, Faults> {
    let (file, parsed) = match text_of(sources, reading)? {
        Some((path, text)) => (Some(path.to_owned()), file::parse(path, &text)),
        None => (None, file::Parsed::default()),
    };
    let layer = file.as_deref().map(|path| (path, parsed.values));
    let figment = layers::merge(layer, &sources.env, &sources.overrides);
    let mut places = Places::new(figment, file.clone(), parsed.lines);

    let (raw, misfits) = extract::extract(&mut places);
    let mut check = Check {
        places: &mut places,
        environment: &sources.env,
        reading,
        faults: Faults(misfits),
        warnings: layers::strangers(&sources.env),
        asked: Vec::new(),
    };
    let config = validate::validate(&raw, &mut check);
    let Check {
        mut faults,
        warnings,
        ..
    } = check;
    // What was read from a broken line was not written there.
    faults.0.retain(|fault| {
        let is_broken = |broken: &Fault| broken.line == fault.line;
        fault.line.is_none() || !parsed.faults.iter().any(is_broken)
    });
    faults.0.extend(parsed.faults);
    faults
        .0
        .sort_by_key(|fault| (fault.line.is_none(), fault.line));
    faults.or(Loaded {
        config,
        warnings,
        file,
    })
}

/// The keys of the file that have no effect, since a variable is stronger. No harm, and not always
/// remembered.
pub fn shadowed(sources: &Sources) -> Vec<Fault> {
    let Ok(Some((path, text))) = text_of(sources, &Reading::default()) else {
        return Vec::new();
    };
    let lines = file::parse(path, &text).lines;
    let shadowed = layers::keys_of_variables(&sources.env).filter_map(|(variable, key)| {
        let fault = Fault::new(
            path,
            format!("`{key}` has no effect: the variable {variable} is stronger"),
            "take one of the two out",
        );
        Some(fault.at_line(*lines.get(&key)?))
    });
    shadowed.collect()
}

/// Where a file of the configuration file's folder is, whether it is there or not.
pub fn beside(sources: &Sources, name: &str) -> PathBuf {
    let file = sources.file.as_deref();
    file.unwrap_or(Path::new(DEFAULT_FILE)).with_file_name(name)
}

/// The file to read with its text: the one named, or the default one where it exists.
fn text_of<'a>(
    sources: &'a Sources,
    reading: &Reading,
) -> Result<Option<(&'a Path, String)>, Fault> {
    let path = sources.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    match reading.text(path) {
        Err(unread) if sources.file.is_none() && unread.is_absence() => Ok(None),
        Ok(text) => Ok(Some((path, text))),
        Err(unread) => Err(unread.fault(path)),
    }
}
