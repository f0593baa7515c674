//! One generation of everything that is hot-reloaded: configuration, personalities, plugins.
//!
//! A generation is made whole, beside the one in force, and put in its place by one swap, or not
//! at all. A request takes the generation in force once and keeps it to its end.

mod admin_key;
mod build;
mod credential;
mod finder;
mod keys;
mod status;
mod store;
mod watch;

pub use admin_key::{AdminKey, PARAM as ADMIN_KEY};
pub use credential::{PROTOCOL_KEY, prove};
pub use finder::KeyFinder;
pub use keys::{Caller, KeyRing, Unproven};
pub use status::Status;
pub use store::{Outcome, Store};
pub use watch::Watcher;

use crate::config::model::{Config, Upstream};
use crate::config::prices::Prices;
use crate::error::{Fault, Faults};
use crate::personality::Personalities;
use crate::purpose::Rules;
use crate::shipped;
use crate::tools::Toolbox;

/// A generation.
pub struct Snapshot {
    /// Counts from 1; each applied reload is one more.
    pub generation: u64,
    pub config: Config,
    pub personalities: Personalities,
    pub keys: KeyRing,
    /// Opens what the admin listener does not show or do for everyone.
    pub admin_key: AdminKey,
    /// Finds the gateway's own keys in what would leave it.
    pub finder: KeyFinder,
    pub tools: Toolbox,
    /// Of `prices.toml`.
    pub prices: Prices,
    /// Of `auxiliary.toml`, and those that are shipped.
    pub purposes: Rules,
}

impl Snapshot {
    /// Whether others than this machine reach the API, and need no key.
    pub fn is_open_to_all(&self) -> bool {
        self.config.server.is_exposed() && self.keys.lets_all_in()
    }

    /// The upstreams that serve `model`, in the order in which they are tried. A request that
    /// names no model may go to any.
    pub fn upstreams_for(&self, model: Option<&str>) -> impl Iterator<Item = &Upstream> {
        self.config
            .upstreams
            .iter()
            .filter(move |upstream| model.is_none_or(|model| upstream.models.is_match(model)))
    }

    /// What is wrong with single personalities: files that give none, and tools that no plugin has,
    /// without which the personality serves.
    pub fn broken(&self) -> Faults {
        let files = self.personalities.broken().iter();
        let files = files.flat_map(|broken| broken.faults.0.iter().cloned());
        Faults(files.chain(self.unknown_tools()).collect())
    }

    fn unknown_tools(&self) -> impl Iterator<Item = Fault> {
        // Those of the program itself name its own plugins, which a folder of one's own may lack: that
        // is nobody's mistake.
        let own = self.personalities.iter();
        let own = own.filter(|persona| !shipped::holds(&persona.origin));
        let allowed = own.flat_map(|persona| {
            let tools = persona.allowed_tools.as_deref().unwrap_or_default();
            tools.iter().map(move |tool| (persona, &tool.tool_name))
        });
        allowed.filter_map(|(persona, name)| {
            let mend = match self.tools.check_name(name) {
                Ok(()) => return None,
                Err(Some(meant)) => format!("did you mean `{meant}`?"),
                Err(None) => "take it out, or add a plugin that has it".to_owned(),
            };
            let what = format!("`allowed_tools` names `{name}`, which no plugin has");
            Some(Fault::new(&persona.origin, what, mend))
        })
    }
}
