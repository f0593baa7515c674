//! The files that come with yychat, in the program itself: the personalities and plugins that serve
//! where there are no folders of one's own, and what `yychat init` writes.

use std::path::{Path, PathBuf};

/// Where shipped files are, as far as a path can say it.
pub const ROOT: &str = "(built in)";

macro_rules! shipped {
    ($($path:literal),+ $(,)?) => {
        [$(($path, include_str!(concat!("../", $path)))),+]
    };
}

/// Path from the working directory, and text.
pub const FILES: [(&str, &str); 13] = shipped![
    "conf/yychat.toml",
    "conf/yychat.schema.json",
    "conf/personalities/friendly.json",
    "conf/personalities/health_assistant.json",
    "conf/personalities/professional.json",
    "plugins/calculator/calculator.json",
    "plugins/calculator/plugin.toml",
    "plugins/gettime/gettime.json",
    "plugins/gettime/plugin.toml",
    "plugins/mcp_everything_example/plugin.toml",
    "plugins/mcp_time_example/plugin.toml",
    "plugins/tavily_search/plugin.toml",
    "plugins/tavily_search/tavily_search.json",
];

/// A shipped folder as a path: `conf/personalities`, say.
pub fn folder(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

/// Whether `path` is one of [`folder`]'s, or under one.
pub fn holds(path: &Path) -> bool {
    path.starts_with(ROOT)
}

/// Whether a file of that name and text is a copy of a shipped one.
pub fn is_copy(path: &Path, text: &str) -> bool {
    let mut files = FILES.iter();
    files.any(|(name, own)| Path::new(name).file_name() == path.file_name() && *own == text)
}

/// The text of the shipped file at `path`.
pub fn text(path: &Path) -> Option<&'static str> {
    let path = path.strip_prefix(ROOT).ok()?;
    let mut files = FILES.iter();
    let file = files.find(|(name, _)| Path::new(name) == path);
    file.map(|(_, text)| *text)
}

/// What is directly in a shipped folder, sorted and each once; `None` where `dir` is not shipped.
pub fn entries(dir: &Path) -> Option<Vec<PathBuf>> {
    let inside = dir.strip_prefix(ROOT).ok()?;
    let names = FILES.iter().filter_map(|(name, _)| {
        let below = Path::new(name).strip_prefix(inside).ok()?;
        below.components().next()
    });
    let mut entries: Vec<_> = names.map(|name| dir.join(name)).collect();
    entries.sort();
    entries.dedup();
    Some(entries)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn all_that_lies_in_the_folders_is_shipped() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut found = Vec::new();
        let mut pending = vec![root.join("conf/personalities"), root.join("plugins")];
        while let Some(folder) = pending.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => pending.push(path),
                    false => found.push(path.strip_prefix(root).unwrap().to_owned()),
                }
            }
        }
        found.retain(|path| !path.ends_with(".gitkeep"));
        assert!(!found.is_empty());
        for path in found {
            assert!(
                text(&Path::new(ROOT).join(&path)).is_some(),
                "{path:?} is not shipped"
            );
        }
    }

    #[test]
    fn folders_are_listed_as_those_on_disk_are() {
        let names = |path: &str| {
            let entries = entries(&folder(path)).unwrap();
            let names = entries
                .iter()
                .map(|path| path.file_name().unwrap().to_owned());
            names
                .map(|name| name.into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names("conf/personalities"),
            [
                "friendly.json",
                "health_assistant.json",
                "professional.json"
            ]
        );
        assert_eq!(names("plugins/gettime"), ["gettime.json", "plugin.toml"]);
        assert!(names("plugins").contains(&"calculator".to_owned()));
        assert!(entries(Path::new("conf")).is_none());
        assert!(text(Path::new("conf/yychat.toml")).is_none());
    }
}
