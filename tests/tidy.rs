//! Rules of the house that no compiler holds: which module may use which, who names which crate,
//! how long a file may be, and that pages and dashboards name what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules from the top down. One may use those of later lines, and none of its own line.
const LAYERS: [&[&str]; 14] = [
    &["main"],
    &["cli", "demo"],
    &["server"],
    &["proxy", "admin"],
    &["api"],
    &["turn"],
    &["quota"],
    &["snapshot"],
    &["personality", "purpose", "tools", "memory"],
    &["shared"],
    &["dialect"],
    &["wire", "config"],
    &["reading"],
    &["telemetry", "error", "outbound", "shipped", "by_bytes"],
];

/// Crates that few modules may name, so that few change when they do.
const CRATES: [(&str, &[&str]); 7] = [
    ("hyper", &["admin"]),
    ("pingora", &["proxy", "server"]),
    ("prometheus", &["telemetry", "server"]),
    ("opentelemetry", &["telemetry"]),
    ("arc_swap", &["snapshot"]),
    ("notify", &["snapshot"]),
    ("redis", &["shared", "quota"]),
];

/// What is pure, values in and values out …
const PURE: [&str; 2] = ["wire", "dialect"];

/// … and does without these.
const IMPURE: [&str; 7] = [
    "tokio",
    "futures_util",
    "async",
    "await",
    "std::fs",
    "std::net",
    "std::io",
];

const LONGEST: usize = 400;
/// Longer files, and why they are better whole.
const LONG: [(&str, &str); 1] = [(
    "memory/writer.rs",
    "one task: what it queues, merges, commits and holds back",
)];

/// A source file of the program.
struct Source {
    /// Under `src`, such as `proxy/edge/guard/mod.rs`.
    path: String,
    /// Without comments.
    code: String,
}

impl Source {
    /// The module under the crate's root that it belongs to.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// How many modules down from the crate's root it is.
    fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        folders + usize::from(!self.path.ends_with("mod.rs"))
    }

    fn is_test(&self) -> bool {
        self.path.contains("tests")
    }

    /// Every module under the crate's root that it names.
    fn uses(&self) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        // The binary is a crate of its own.
        let root = if self.module() == "main" {
            "yychat::"
        } else {
            "crate::"
        };
        for rest in after(&self.code, root) {
            used.extend(names(rest));
        }
        let climb = "super::".repeat(self.depth());
        for rest in after(&self.code, &climb) {
            used.extend(names(rest));
        }
        used.retain(|name| layer(name).is_some());
        used
    }

    fn names_crate(&self, name: &str) -> bool {
        ["::", ";", " as "].iter().any(|end| {
            let path = format!("{name}{end}");
            after(&self.code, &path).next().is_some()
        })
    }
}

/// What follows each place where `word` stands as a word of its own.
fn after<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(word).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        let joined = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        (!before.is_some_and(joined)).then(|| &code[at + word.len()..])
    })
}

/// The names that a path goes on with: one, or those of a group.
fn names(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let letters = text.trim_start().chars();
        letters
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let mut names = vec![word(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(word(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            pending.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let folder = root().join("src");
    let sources: Vec<_> = files(&folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file");
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            Source {
                path: path
                    .strip_prefix(&folder)
                    .expect("a path under src")
                    .display()
                    .to_string(),
                code: code.map(|line| format!("{line}\n")).collect(),
            }
        })
        .collect();
    // A scan that finds nothing would hold every rule.
    let known: BTreeSet<_> = sources.iter().map(Source::module).collect();
    for module in [
        "main", "lib", "server", "proxy", "snapshot", "dialect", "wire", "error",
    ] {
        assert!(known.contains(module), "no source of `{module}` was found");
    }
    sources
}

fn assert_none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn modules_use_downward_only() {
    let mut broken = Vec::new();
    let mut uses = 0;
    for source in sources() {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some(own) = layer(module) else {
            broken.push(format!("{}: `{module}` has no layer", source.path));
            continue;
        };
        for used in source.uses() {
            uses += 1;
            let reached = layer(&used).expect("uses() gives modules of a layer");
            if used != module && reached <= own {
                broken.push(format!("{} uses `{used}`", source.path));
            }
        }
    }
    assert!(uses > 50, "only {uses} uses were found");
    assert_none(broken, "a module uses one above or beside it");
}

#[test]
fn few_modules_name_the_crates_that_would_spread() {
    let sources = sources();
    for (name, allowed) in CRATES {
        let naming: Vec<_> = sources
            .iter()
            .filter(|source| source.names_crate(name))
            .collect();
        assert!(
            !naming.is_empty(),
            "nobody names {name}: was the scan right?"
        );
        let others = naming
            .iter()
            .filter(|source| !allowed.contains(&source.module()));
        assert_none(
            others.map(|source| source.path.clone()).collect(),
            &format!("{name} is named outside {allowed:?}"),
        );
    }
}

#[test]
fn dialects_and_their_wire_are_pure() {
    let sources = sources();
    let pure = sources
        .iter()
        .filter(|source| PURE.contains(&source.module()) && !source.is_test());
    let broken = pure.flat_map(|source| {
        let impure = IMPURE.iter().filter(|word| {
            after(&source.code, word)
                .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        });
        impure
            .map(|word| format!("{} names `{word}`", source.path))
            .collect::<Vec<_>>()
    });
    assert_none(
        broken.collect(),
        "a pure module takes values and gives values",
    );
}

#[test]
fn dialects_know_nothing_of_each_other_and_hold_the_same_files() {
    const DIALECTS: [&str; 3] = ["chat", "responses", "messages"];
    const FILES: [&str; 8] = [
        "mod", "edit", "error", "place", "read", "request", "round", "tool",
    ];
    let mut broken = Vec::new();
    let sources = sources();
    for dialect in DIALECTS {
        let folder = format!("dialect/{dialect}/");
        for file in FILES {
            let path = format!("{folder}{file}.rs");
            if !sources.iter().any(|source| source.path == path) {
                broken.push(format!("{path} is not there"));
            }
        }
        let own = sources
            .iter()
            .filter(|source| source.path.starts_with(&folder));
        for source in own {
            let others = DIALECTS.iter().filter(|other| **other != dialect);
            let named = others.filter(|other| {
                let paths = [format!("dialect::{other}::"), format!("super::{other}::")];
                paths.iter().any(|path| source.code.contains(path))
            });
            broken.extend(named.map(|other| format!("{} names `{other}`", source.path)));
        }
    }
    assert_none(broken, "a dialect is a folder of its own");
}

#[test]
fn files_are_short_enough_to_read() {
    let mut broken = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let path = root().join("src").join(&source.path);
        let text = fs::read_to_string(path).expect("a source file");
        // Tests at the end of a file are read apart from it.
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let (lines, listed) = (
            code.lines().count(),
            LONG.iter().any(|(path, _)| *path == source.path),
        );
        if lines > LONGEST && !listed {
            broken.push(format!("{}: {lines} lines", source.path));
        }
        if lines <= LONGEST && listed {
            broken.push(format!(
                "{} is short enough and need not be listed",
                source.path
            ));
        }
    }
    assert_none(
        broken,
        &format!("files have {LONGEST} lines at most, or a reason"),
    );
}

#[test]
fn what_the_pages_name_exists() {
    let pages = ["README.md", "CONTRIBUTING.md", "docs/configuration.md"];
    let pages = pages.map(|page| fs::read_to_string(root().join(page)).expect("a page"));
    let pages = pages.join("\n");
    let mut broken = Vec::new();
    let scripts = words_after(&pages, "scripts/");
    assert!(!scripts.is_empty(), "the pages name no script");
    for script in scripts {
        if !root().join("scripts").join(&script).is_file() {
            broken.push(format!("scripts/{script}"));
        }
    }
    let help = help(&[]);
    let commands: BTreeSet<_> = words_after(&pages, "`yychat ").into_iter().collect();
    let commands = commands.iter().filter(|name| !name.is_empty());
    let mut known = help.clone();
    for command in commands {
        if !help.contains(&format!("  {command} ")) {
            broken.push(format!("yychat {command}"));
            continue;
        }
        known.push_str(&self::help(&[command]));
    }
    for flag in words_after(&pages, "`--") {
        if !known.contains(&format!("--{flag}")) {
            broken.push(format!("--{flag}"));
        }
    }
    assert_none(broken, "a page names what is not there");
}

/// The table of commands is what `--help` says, no less and no more: each command has its row, which names the
/// commands, flags and values of its own that there are.
#[test]
fn the_table_of_commands_is_what_help_says() {
    let page = fs::read_to_string(root().join("docs/configuration.md")).expect("a page");
    let (_, table) = page
        .split_once("## The command line")
        .expect("the table of commands");
    let rows: Vec<_> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let row_of = |call: &str| {
        let wanted = format!("`{call}");
        let found = rows.iter().find(|row| {
            let cell = row.split('|').nth(1).unwrap_or_default();
            after_quote(cell, &wanted)
        });
        found.copied().unwrap_or_default()
    };
    let mut broken = Vec::new();
    let all = help(&[]);
    let everywhere = ["help", "version", "config", "set"];
    for flag in listed(&all, "Options:", "--") {
        if !["help", "version"].contains(&flag.as_str()) && row_of(&format!("--{flag}")).is_empty()
        {
            broken.push(format!("--{flag} has no row"));
        }
    }
    let commands = listed(&all, "Commands:", "  ");
    assert!(commands.len() > 5, "the help lists no commands");
    for command in commands.iter().filter(|name| *name != "help") {
        let (help, row) = (help(&[command]), row_of(&format!("yychat {command}")));
        let flags = listed(&help, "Options:", "--");
        let own = listed(&help, "Commands:", "  ");
        let flags = flags.iter().map(|flag| format!("--{flag}"));
        let (flags, own): (BTreeSet<_>, BTreeSet<_>) = (flags.collect(), own.into_iter().collect());
        let values = values(&help);
        let wanted = flags.iter().chain(&own).chain(&values);
        for word in wanted.filter(|word| !everywhere.contains(&word.trim_start_matches('-'))) {
            if !after_quote(row, &format!("`{word}")) {
                broken.push(format!("`{word}` of `yychat {command}` is not in its row"));
            }
        }
        for flag in words_after(row, "`--")
            .iter()
            .map(|flag| format!("--{flag}"))
        {
            if !flags.contains(&flag) {
                broken.push(format!("`yychat {command}` has no {flag}"));
            }
        }
        // A row whose call goes on with `…` begins with the commands that it has.
        if !own.is_empty() {
            let named = row.split('|').nth(2).unwrap_or_default();
            let named = named.split_once(':').map_or(named, |(named, _)| named);
            let unknown = words_after(named, "`").into_iter();
            let unknown = unknown.filter(|word| !word.is_empty() && !own.contains(word));
            broken.extend(unknown.map(|word| format!("`yychat {command}` has no {word}")));
        }
    }
    for row in rows {
        for named in words_after(row.split('|').nth(1).unwrap_or_default(), "`yychat ") {
            if !commands.contains(&named) {
                broken.push(format!("there is no `yychat {named}`"));
            }
        }
    }
    assert_none(
        broken,
        "docs/configuration.md differs from what the program says of itself",
    );
}

/// Whether a quoted piece of `text` begins with `start`, whole words of it.
fn after_quote(text: &str, start: &str) -> bool {
    text.match_indices(start).any(|(at, _)| {
        let next = text[at + start.len()..].chars().next();
        !next.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

/// The names under a heading of a help: the word that follows `mark` on each line.
fn listed(help: &str, heading: &str, mark: &str) -> Vec<String> {
    let part = help.split_once(heading).map_or("", |(_, part)| part);
    let lines = part.lines().skip(1).take_while(|line| !line.is_empty());
    let named = lines.filter_map(|line| words_after(line, mark).into_iter().next());
    named.filter(|name| !name.is_empty()).collect()
}

/// What flags and arguments take, where only some values will do.
fn values(help: &str) -> Vec<String> {
    let lists = after_all(help, "[possible values: ");
    let lists = lists.filter_map(|rest| rest.split_once(']'));
    lists
        .flat_map(|(list, _)| list.split(", ").map(str::to_owned))
        .collect()
}

/// What follows each place where `mark` stands.
fn after_all<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let places = text.match_indices(mark);
    places.map(|(at, _)| &text[at + mark.len()..])
}

/// The words, dashes included, that follow each place where `mark` stands.
fn words_after(text: &str, mark: &str) -> Vec<String> {
    let words = after_all(text, mark).map(|rest| {
        let letters = rest.chars();
        let word = letters
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-' || *c == '_');
        word.collect::<String>()
    });
    words.collect()
}

/// What the program says of itself, or of one of its commands.
fn help(command: &[&str]) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_yychat"));
    let said = program.args(command).arg("--help").output();
    let said = said.expect("the program runs").stdout;
    String::from_utf8(said).expect("help in UTF-8")
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let metrics = files(&root().join("src/telemetry")).into_iter();
    let metrics = metrics.map(|file| fs::read_to_string(file).expect("a list of metrics"));
    let metrics: String = metrics.collect();
    let conf = files(&root().join("conf"));
    assert!(
        conf.iter().any(|path| path.ends_with("yychat.toml")),
        "conf/ was not found"
    );
    let mut broken = Vec::new();
    for path in conf {
        // Pictures hold no metrics.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for prefix in ["yychat_", "gen_ai_"] {
            for rest in after(&text, prefix) {
                let letters = rest.chars();
                let word = letters.take_while(|c| c.is_ascii_alphanumeric() || *c == '_');
                let name = format!("{prefix}{}", word.collect::<String>());
                let parts = ["_bucket", "_sum", "_count"].iter();
                let base = parts.filter_map(|part| name.strip_suffix(part)).next();
                let exists = |name: &str| metrics.contains(&format!("\"{name}\""));
                if !exists(&name) && !base.is_some_and(exists) {
                    broken.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert_none(broken, "a metric is named that src/telemetry does not have");
}

#[test]
fn the_scan_sees_what_it_is_to_see() {
    let source = |path: &str, code: &str| Source {
        path: path.to_owned(),
        code: code.to_owned(),
    };
    let uses = |path: &str, code: &str| source(path, code).uses().into_iter().collect::<Vec<_>>();
    assert_eq!(uses("chat/mod.rs", "use crate::proxy::X;"), ["proxy"]);
    assert_eq!(
        uses("chat/mod.rs", "use crate::{api, error::{A, B}, turn::*};"),
        ["api", "error", "turn"]
    );
    assert_eq!(
        uses("chat/mod.rs", "let x = crate::server::run();"),
        ["server"]
    );
    assert_eq!(uses("chat/a.rs", "use super::super::server;"), ["server"]);
    assert_eq!(uses("main.rs", "use yychat::config;"), ["config"]);
    assert!(
        uses("chat/a.rs", "use super::server;").is_empty(),
        "a submodule of its own"
    );
    assert!(uses("chat/mod.rs", "use mycrate::proxy; use crate::proxying;").is_empty());
    assert!(source("chat/mod.rs", "use notify::Watcher;").names_crate("notify"));
    assert!(source("chat/mod.rs", "a(pingora::Error)").names_crate("pingora"));
    assert!(!source("chat/mod.rs", "x.notify.pingora_like()").names_crate("notify"));
}
