//! From a folder of plugins to compiled plugins, and what they must not have in common.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Plugin, clash};
use crate::error::{Fault, Faults};
use crate::reading::Reading;

/// Every plugin under `dir`, in the order of their folders. One that reads as it did in
/// `previous` is taken over from there, with its connections.
pub(super) fn folder(
    dir: &Path,
    variables: &BTreeMap<String, String>,
    previous: &[Arc<Plugin>],
    reading: &Reading,
) -> Result<Vec<Arc<Plugin>>, Faults> {
    let mut faults = Faults::default();
    let mut plugins = Vec::new();
    for folder in folders(dir, reading)? {
        let Some(plugin) = faults.take(Plugin::load(&folder, variables, reading)) else {
            continue;
        };
        let same = |old: &&Arc<Plugin>| {
            old.source == plugin.source && old.fingerprint == plugin.fingerprint
        };
        let kept = previous.iter().find(same).cloned();
        plugins.push(kept.unwrap_or_else(|| Arc::new(plugin)));
    }
    check_names(&plugins, &mut faults);
    faults.or(plugins)
}

/// The folders that count, in the order of their names.
fn folders(dir: &Path, reading: &Reading) -> Result<Vec<PathBuf>, Fault> {
    reading.list(dir, Path::is_dir).map_err(|unread| {
        Fault::new(
            dir,
            format!("the folder of plugins {unread}"),
            "create it, or set `tools.dir` to the folder that holds the plugins",
        )
    })
}

/// No two plugins of one name, and no two tools that can be offered together.
fn check_names(plugins: &[Arc<Plugin>], faults: &mut Faults) {
    let mut by_name: BTreeMap<&str, &Plugin> = BTreeMap::new();
    let mut tools: BTreeMap<&str, (&Plugin, usize)> = BTreeMap::new();
    for plugin in plugins {
        if let Some(first) = by_name.insert(&plugin.name, plugin) {
            let what = format!(
                "`name` is {:?}, as in {}",
                plugin.name,
                first.source.display()
            );
            faults.push(clash(plugin, 1, what, "give one of them another name"));
        }
        if !plugin.enabled {
            continue;
        }
        for (tool, line) in plugin.tools() {
            let name = tool.name();
            if let Some((first, at)) = tools.insert(name, (plugin, *line)) {
                let what = format!(
                    "the tool {name:?} is in {}:{at} too",
                    first.source.display()
                );
                let mend = "give one of them another name, or disable one of the plugins";
                faults.push(clash(plugin, *line, what, mend));
            }
        }
    }
}
