//! The generation in force, and how another takes its place.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{KeyRing, Snapshot};
use crate::config::model::Config;
use crate::config::{self, Loaded, Sources};
use crate::error::{Fault, Faults};
use crate::personality::Personalities;
use crate::tools::Toolbox;

/// Holds the generation in force.
pub struct Store {
    current: ArcSwap<Snapshot>,
    status: ArcSwap<Status>,
    sources: Sources,
    /// What was bound and opened at the start, and stays so.
    started: Config,
    /// Serialises reloads, and remembers what the last one read.
    last: Mutex<Fingerprint>,
}

/// What an operator is shown of the generation in force.
#[derive(Debug, Clone)]
pub struct Status {
    pub generation: u64,
    /// When the generation in force was loaded.
    pub loaded: SystemTime,
    /// What was wrong with the files on disk when they were last read; empty when they are in
    /// force.
    pub faults: Faults,
    /// When a reload was last refused.
    pub refused: Option<SystemTime>,
    /// Keys that changed on disk and wait for a restart.
    pub waiting: Vec<String>,
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new generation is in force.
    Applied,
    /// The files are as they were when they were last read.
    Unchanged,
    /// The files are broken; the generation in force stays.
    Refused,
}

/// Files beside the configuration file that a generation is read from as well. `build` loads each
/// with `config::read_optional(&config::beside(sources, name))`, and takes its faults.
const BESIDE: [&str; 2] = ["auxiliary.toml", "prices.toml"];

type Fingerprint = [u8; 32];

/// Reads of files that change while they are read, in one reload.
const MOST_READS: usize = 8;

impl Store {
    /// Loads the first generation. Gives the warnings beside it.
    pub fn open(sources: Sources) -> Result<(Self, Vec<Fault>), Faults> {
        // Which folders there are is told by the file, which is read again once they are noted: an
        // edit made meanwhile is not lost.
        let read = fingerprint(&paths(&sources, &config::load(&sources)?.config));
        let loaded = config::load(&sources)?;
        let warnings = loaded.warnings.clone();
        let snapshot = build(loaded, &sources, None)?;
        let store = Self {
            started: snapshot.config.clone(),
            current: ArcSwap::from_pointee(snapshot),
            status: ArcSwap::from_pointee(Status {
                generation: 1,
                loaded: SystemTime::now(),
                faults: Faults::default(),
                refused: None,
                waiting: Vec::new(),
            }),
            sources,
            last: Mutex::new(read),
        };
        Ok((store, warnings))
    }

    /// The generation in force.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// What an operator is shown of it.
    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    /// Reads the files again, and puts what they say in force if all of it is valid. What was
    /// read before is not judged again, so a broken edit is logged once.
    pub fn reload(&self) -> Outcome {
        self.read_again(false)
    }

    /// As [`Store::reload`], though the files be as they were: a secret that they only refer to
    /// may have changed.
    pub fn reload_anyway(&self) -> Outcome {
        self.read_again(true)
    }

    fn read_again(&self, anyway: bool) -> Outcome {
        let mut last = self.last.lock();
        let current = self.load();
        let watched = self.watched();
        let mut read = fingerprint(&watched);
        if read == *last && !anyway {
            return Outcome::Unchanged;
        }
        let mut next = self.read(&current);
        for _ in 0..MOST_READS {
            let now = fingerprint(&watched);
            if now == read {
                break;
            }
            // An edit was being written: half of one may be valid and yet not meant.
            read = now;
            next = self.read(&current);
        }
        *last = read;
        match next {
            Ok(next) => self.apply(next),
            Err(faults) => self.refuse(faults),
        }
    }

    fn read(&self, current: &Snapshot) -> Result<Snapshot, Faults> {
        let loaded = config::load(&self.sources)?;
        for warning in &loaded.warnings {
            tracing::warn!(%warning, "configuration");
        }
        build(loaded, &self.sources, Some(current))
    }

    /// Files and folders whose change is worth a reload.
    pub fn watched(&self) -> Vec<PathBuf> {
        paths(&self.sources, &self.load().config)
    }

    fn apply(&self, next: Snapshot) -> Outcome {
        let waiting = config::needs_restart(&self.started, &next.config);
        if !waiting.is_empty() {
            tracing::warn!(
                keys = waiting.join(", "),
                "changed, and waits for a restart"
            );
        }
        let generation = next.generation;
        self.current.store(Arc::new(next));
        self.status.store(Arc::new(Status {
            generation,
            loaded: SystemTime::now(),
            faults: Faults::default(),
            refused: None,
            waiting,
        }));
        tracing::info!(generation, "generation applied");
        Outcome::Applied
    }

    fn refuse(&self, faults: Faults) -> Outcome {
        for fault in &faults.0 {
            tracing::error!(%fault, "reload refused");
        }
        let status = Status {
            faults,
            refused: Some(SystemTime::now()),
            ..Status::clone(&self.status())
        };
        self.status.store(Arc::new(status));
        Outcome::Refused
    }
}

impl Status {
    /// Whether the files on disk are in force.
    pub fn is_last_good(&self) -> bool {
        self.faults.0.is_empty()
    }

    /// A few lines for a person.
    pub fn describe(&self) -> String {
        let mut text = format!("generation {}\n", self.generation);
        // Writing to a String does not fail.
        if !self.is_last_good() {
            let _ = write!(text, "broken edit, not applied:\n{}\n", self.faults);
        }
        if !self.waiting.is_empty() {
            let _ = writeln!(text, "waits for a restart: {}", self.waiting.join(", "));
        }
        text
    }
}

/// Everything that may fail, before anything is put in force.
fn build(
    loaded: Loaded,
    sources: &Sources,
    previous: Option<&Snapshot>,
) -> Result<Snapshot, Faults> {
    let config = loaded.config;
    let generation = previous.map_or(1, |previous| previous.generation + 1);
    let had_some = previous.is_some_and(|previous| previous.personalities.iter().len() > 0);
    let mut faults = Faults::default();
    let personalities = faults.take(personalities(&config.personality.dir, had_some));
    if let Some(personalities) = &personalities {
        let origin = loaded.file.as_deref().unwrap_or(Path::new("environment"));
        faults
            .0
            .extend(unknown_defaults(&config, personalities, origin));
    }
    let previous = previous.map(|previous| &previous.tools);
    let tools = faults.take(tools(&config.tools.dir, &sources.env, previous));
    if let (Some(personalities), Some(tools)) = (&personalities, &tools) {
        faults.0.extend(unknown_tools(personalities, tools));
    }
    match (personalities, tools) {
        (Some(personalities), Some(tools)) if faults.0.is_empty() => Ok(Snapshot {
            generation,
            keys: KeyRing::new(&config.auth.keys),
            config,
            personalities,
            tools,
        }),
        _ => Err(faults),
    }
}

/// What a generation is read from: the file and those beside it, whether they are there or not,
/// and the folders.
fn paths(sources: &Sources, config: &Config) -> Vec<PathBuf> {
    let file = sources.file.clone();
    let mut paths = vec![
        file.unwrap_or_else(|| config::DEFAULT_FILE.into()),
        config.personality.dir.clone(),
        config.tools.dir.clone(),
    ];
    paths.extend(BESIDE.map(|name| config::beside(sources, name)));
    paths
}

/// The folder that is there by default may be absent from the start; one that was named, or that
/// goes away while it serves, is a fault.
fn personalities(dir: &Path, had_some: bool) -> Result<Personalities, Faults> {
    let is_default = dir == Path::new(config::DEFAULT_PERSONALITIES);
    if is_default && !had_some && matches!(dir.try_exists(), Ok(false)) {
        return Ok(Personalities::default());
    }
    Personalities::load(dir)
}

/// As with personalities.
fn tools(
    dir: &Path,
    variables: &BTreeMap<String, String>,
    previous: Option<&Toolbox>,
) -> Result<Toolbox, Faults> {
    let is_default = dir == Path::new(config::DEFAULT_PLUGINS);
    let had_some = previous.is_some_and(|previous| !previous.is_empty());
    if is_default && !had_some && matches!(dir.try_exists(), Ok(false)) {
        return Ok(Toolbox::default());
    }
    Toolbox::load(dir, variables, previous)
}

/// Defaults may only name personalities that there are.
fn unknown_defaults(config: &Config, personalities: &Personalities, origin: &Path) -> Vec<Fault> {
    let of_keys = config.auth.keys.iter().enumerate().map(|(index, key)| {
        let name = format!("auth.keys.{index}.personality");
        (name, key.personality.as_deref())
    });
    let everybodys = (
        "personality.default".to_owned(),
        config.personality.default.as_deref(),
    );
    let defaults = std::iter::once(everybodys).chain(of_keys);
    let unknown = defaults.filter_map(|(key, id)| {
        let id = id.filter(|id| !id.is_empty() && personalities.get(id).is_none())?;
        let dir = config.personality.dir.display();
        Some(Fault::new(
            origin,
            format!("{key} names `{id}`, which no personality has"),
            format!("add it to {dir}, or name another"),
        ))
    });
    unknown.collect()
}

/// Personalities may only allow tools that some plugin has.
fn unknown_tools(personalities: &Personalities, tools: &Toolbox) -> Vec<Fault> {
    let allowed = personalities.iter().flat_map(|persona| {
        let tools = persona.allowed_tools.as_deref().unwrap_or_default();
        tools.iter().map(move |tool| (persona, &tool.tool_name))
    });
    let unknown = allowed.filter_map(|(persona, name)| {
        let mend = match tools.check_name(name) {
            Ok(()) => return None,
            Err(Some(meant)) => format!("did you mean `{meant}`?"),
            Err(None) => "take it out, or add a plugin that has it".to_owned(),
        };
        let what = format!("`allowed_tools` names `{name}`, which no plugin has");
        Some(Fault::new(&persona.origin, what, mend))
    });
    unknown.collect()
}

/// A digest of everything under `paths`: names and contents, links followed.
fn fingerprint(paths: &[PathBuf]) -> Fingerprint {
    let mut digest = Sha256::new();
    let mut pending: Vec<_> = paths.to_vec();
    // A ring of links must not keep this going; no real tree is so large.
    for _ in 0..10_000 {
        let Some(path) = pending.pop() else { break };
        digest.update(path.as_os_str().as_encoded_bytes());
        digest.update([0]);
        if let Ok(entries) = std::fs::read_dir(&path) {
            let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            entries.sort();
            pending.extend(entries);
        } else if let Ok(contents) = std::fs::read(&path) {
            digest.update(contents.len().to_le_bytes());
            digest.update(contents);
        }
    }
    digest.finalize().into()
}
