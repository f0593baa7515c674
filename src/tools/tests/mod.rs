//! The module from outside: folders of plugins in, offers and results out.

mod builtin;
mod egress;
mod http;
mod load;
mod mcp;
mod offer;
mod template;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

const CONTEXT: CallContext<'static> = CallContext {
    timeout: Duration::from_secs(30),
    result_cap: 256 << 10,
    request_id: "test",
};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder of plugins, each with its manifest.
fn folder(plugins: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, manifest) in plugins {
        write(dir.path(), name, manifest);
    }
    dir
}

fn write(dir: &Path, name: &str, manifest: &str) {
    fs::create_dir_all(dir.join(name)).unwrap();
    fs::write(dir.join(name).join("plugin.toml"), manifest).unwrap();
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn load(dir: &Path) -> Result<Toolbox, Faults> {
    Toolbox::load(dir, &BTreeMap::new(), None, &Reading::default())
}

/// A toolbox of one plugin.
fn one(manifest: &str) -> Toolbox {
    load(folder(&[("plugin", manifest)]).path()).unwrap_or_else(|faults| panic!("{faults}"))
}

/// The shipped plugins, without any key.
fn shipped() -> Toolbox {
    load(&project("plugins")).unwrap_or_else(|faults| panic!("{faults}"))
}

fn names(offered: &[Offered]) -> Vec<&str> {
    offered.iter().map(|offered| offered.tool.name()).collect()
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}
