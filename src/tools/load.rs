//! From a folder of plugins to compiled plugins, and what they must not have in common.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::manifest::{Plugin, clash};
use crate::error::{Fault, Faults};

/// Every plugin under `dir`, in the order of their folders. One that reads as it did in
/// `previous` is taken over from there, with its connections.
pub(super) fn folder(
    dir: &Path,
    variables: &BTreeMap<String, String>,
    previous: &[Arc<Plugin>],
) -> Result<Vec<Arc<Plugin>>, Faults> {
    let mut faults = Faults::default();
    let mut plugins = Vec::new();
    for folder in folders(dir)? {
        let Some(plugin) = faults.take(Plugin::load(&folder, variables)) else {
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
fn folders(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable = |error: io::Error| {
        Fault::new(
            dir,
            format!("the folder of plugins cannot be read: {error}"),
            "create it, or set `tools.dir` to the folder that holds the plugins",
        )
    };
    let mut folders = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        // Kubernetes' `..data` among them.
        let name = path.file_name().unwrap_or_default();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
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
