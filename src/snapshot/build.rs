//! From files to a generation: everything that may fail, before anything is put in force.

use std::borrow::Cow;
use std::path::Path;

use super::{AdminKey, KeyFinder, KeyRing, Snapshot};
use crate::config::model::{self, Allowance, Config, Embedding, Key, SharedStore};
use crate::config::prices::{Prices, Tokens};
use crate::config::{self, Sources};
use crate::error::{Fault, Faults};
use crate::personality::{Persona, Personalities};
use crate::purpose::Rules;
use crate::reading::Reading;
use crate::shipped;
use crate::tools::Toolbox;

/// Which requests are errands of front ends, beside the configuration file.
const AUXILIARY: &str = "auxiliary.toml";
/// What tokens cost, beside the configuration file.
const PRICES: &str = "prices.toml";

/// A generation that can be put in force.
pub struct Next {
    pub snapshot: Snapshot,
    /// What works but may not be meant.
    pub warnings: Vec<Fault>,
    /// Keys that changed on disk and wait for a restart.
    pub waiting: Vec<String>,
}

/// What a process has of earlier generations.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// What was bound and opened at the start, and stays so.
    pub started: &'a Config,
    pub current: &'a Snapshot,
}

/// Reads and builds one.
///
/// A further file beside `yychat.toml` is to be read here, as text through
/// `reading.optional(&config::beside(sources, name))`: then it is watched, no half of it is taken,
/// and what is wrong with it keeps the whole generation from being put in force.
pub fn build(
    sources: &Sources,
    reading: &Reading,
    before: Option<Before<'_>>,
) -> Result<Next, Faults> {
    let loaded = config::load(sources, reading)?;
    let origin = loaded.file.as_deref().unwrap_or(Path::new("environment"));
    let (config, waiting) = match before {
        Some(Before { started, .. }) => (
            config::in_force(started, &loaded.config),
            config::needs_restart(started, &loaded.config),
        ),
        None => (loaded.config, Vec::new()),
    };
    let mut faults = Faults::default();
    let needs_keys = config.server.is_exposed() && !config.server.insecure_no_auth;
    if needs_keys && config.auth.keys.is_empty() {
        faults.push(no_keys(&config, origin));
    }
    let current = before.map(|before| before.current);
    let personalities = faults.take(personalities(&config, reading, current));
    if let Some(personalities) = &personalities {
        let unknown = unknown_defaults(&config, personalities, origin);
        faults.0.extend(unknown);
    }
    let tools = faults.take(tools(&config, sources, reading, current));
    let prices = faults.take(prices(sources, reading, &config));
    let purposes = Rules::load(&config::beside(sources, AUXILIARY), reading);
    let purposes = faults.take(purposes);
    let (Some(mut personalities), Some(tools), Some(prices), Some(purposes)) =
        (personalities, tools, prices, purposes)
    else {
        return Err(faults);
    };
    let previous = current.map(|current| &current.personalities);
    personalities.refuse(previous, |persona| unknown_tools(persona, &tools, reading));
    let mut warnings = loaded.warnings;
    warnings.extend(personalities.warnings().cloned());
    warnings.extend(unpriced(&config, &prices, origin));
    warnings.extend(parted(&config, origin));
    faults.or(Next {
        snapshot: Snapshot {
            generation: current.map_or(1, |current| current.generation + 1),
            keys: KeyRing::new(&config.auth.keys).open_without_keys(!needs_keys),
            admin_key: AdminKey::of(&config.server),
            finder: KeyFinder::of(&config),
            config,
            personalities,
            tools,
            prices,
            purposes,
        },
        warnings,
        waiting,
    })
}

/// What is bound decides, not what the file says of it: that waits for a restart.
fn no_keys(config: &Config, origin: &Path) -> Fault {
    Fault::new(
        origin,
        format!(
            "has no [[auth.keys]], and {} is bound, which others reach",
            config.server.listen
        ),
        "put the keys back; to go on without any, restart on 127.0.0.1",
    )
}

/// Where the folder that is there by default is absent from the start, those of the program itself
/// serve; one that was named, or that goes away while it serves, is a fault.
fn personalities(
    config: &Config,
    reading: &Reading,
    current: Option<&Snapshot>,
) -> Result<Personalities, Faults> {
    let previous = current.map(|current| &current.personalities);
    let had_own = previous.is_some_and(|previous| !previous.are_shipped());
    let dir = &config.personality.dir;
    let dir = or_shipped(dir, config::DEFAULT_PERSONALITIES, had_own, reading);
    Personalities::load(&dir, previous, reading)
}

/// As with personalities.
fn tools(
    config: &Config,
    sources: &Sources,
    reading: &Reading,
    current: Option<&Snapshot>,
) -> Result<Toolbox, Faults> {
    let previous = current.map(|current| &current.tools);
    let had_own = previous.is_some_and(|previous| !previous.is_shipped());
    let dir = or_shipped(&config.tools.dir, config::DEFAULT_PLUGINS, had_own, reading);
    Toolbox::load(&dir, &sources.env, previous, reading)
}

fn or_shipped<'a>(dir: &'a Path, default: &str, had_own: bool, reading: &Reading) -> Cow<'a, Path> {
    match dir == Path::new(default) && !had_own && reading.is_absent(dir) {
        true => Cow::Owned(shipped::folder(default)),
        false => Cow::Borrowed(dir),
    }
}

/// What tokens cost; a budget in dollars needs some.
fn prices(sources: &Sources, reading: &Reading, config: &Config) -> Result<Prices, Faults> {
    let file = config::beside(sources, PRICES);
    let prices = Prices::load(&file, reading)?;
    match config.auth.keys.iter().find(|key| has_dollars(key)) {
        Some(key) if prices.is_empty() => {
            let what = format!(
                "the key `{}` has a budget in dollars, and no model a price",
                key.name
            );
            let mend =
                "add [[prices]] with `model`, `input` and `output`, in dollars a million tokens";
            Err(Fault::new(&file, what, mend).into())
        }
        _ => Ok(prices),
    }
}

/// A personality may only name tools that there are. Those of the program itself, and copies of their
/// files, name its own plugins, which a folder of one's own may lack: that is nobody's mistake.
fn unknown_tools(persona: &Persona, tools: &Toolbox, reading: &Reading) -> Vec<Fault> {
    let named = persona.allowed_tools.as_deref().unwrap_or_default().iter();
    let unknown = named.filter_map(|tool| {
        let name = &tool.tool_name;
        let mend = match tools.check_name(name) {
            Ok(()) => return None,
            Err(Some(meant)) => format!("did you mean `{meant}`?"),
            Err(None) => "take it out, or add a plugin that has it".to_owned(),
        };
        let what = format!("`allowed_tools` names `{name}`, which no plugin has");
        Some(Fault::new(&persona.origin, what, mend))
    });
    let unknown: Vec<Fault> = unknown.collect();
    let origin = &persona.origin;
    let is_own = || {
        let text = reading.text(origin);
        shipped::holds(origin) || text.is_ok_and(|text| shipped::is_copy(origin, &text))
    };
    match !unknown.is_empty() && is_own() {
        true => Vec::new(),
        false => unknown,
    }
}

/// Whether anybody has a budget in dollars.
fn has_dollars(key: &Key) -> bool {
    let mut budgets = key.budgets.iter();
    budgets.any(|budget| matches!(budget.allowance, Allowance::Usd(_)))
}

/// What memory asks models for by itself is charged to tenants too, if it has a price.
fn unpriced(config: &Config, prices: &Prices, origin: &Path) -> Vec<Fault> {
    let memory = &config.memory;
    if !memory.enabled || !config.auth.keys.iter().any(has_dollars) {
        return Vec::new();
    }
    let extraction = &memory.extraction;
    let mut models: Vec<_> = extraction
        .enabled
        .then_some(&extraction.model)
        .into_iter()
        .collect();
    if let Some(Embedding::Upstream(embedding)) = &memory.embedding {
        models.extend([&embedding.model, &embedding.query_model]);
    }
    models.dedup();
    models.retain(|model| prices.cost(model, Tokens::default()).is_none());
    let warning = |model: &String| {
        let what = format!(
            "memory asks the model `{model}`, which has no price, so that it counts nothing against \
             budgets in dollars"
        );
        Fault::new(origin, what, "add it to prices.toml")
    };
    models.into_iter().map(warning).collect()
}

/// Gateways that count together and remember each by itself.
fn parted(config: &Config, origin: &Path) -> Option<Fault> {
    let is_shared = matches!(config.shared.store, SharedStore::Valkey { .. });
    let is_alone = matches!(config.memory.store, model::Store::Embedded { .. });
    (is_shared && config.memory.enabled && is_alone).then(|| {
        Fault::new(
            origin,
            "shared.store is `valkey`, and memory.store `embedded`: each gateway remembers by itself, \
             and has a ledger of its own that budgets begin from",
            "set memory.store = \"postgres\" where there are several gateways",
        )
    })
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
        let is_known = |id: &str| {
            // One that is broken costs itself alone.
            personalities.get(id).is_some() || personalities.why_not(id).is_some()
        };
        let id = id.filter(|id| !id.is_empty() && !is_known(id))?;
        let dir = config.personality.dir.display();
        Some(Fault::new(
            origin,
            format!("{key} names `{id}`, which no personality has"),
            format!("add it to {dir}, or name another"),
        ))
    });
    unknown.collect()
}
