//! `yychat init`: a configuration, personalities and plugins of one's own, in the working directory.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use url::Url;

use crate::config::{DEFAULT_FILE, Sources};
use crate::error::{Fault, Faults};
use crate::shipped;
use crate::snapshot::Store;

/// Where a key that was typed in is kept.
const KEY_FILE: &str = "conf/upstream.key";
const OPENAI: &str = "https://api.openai.com/v1";
/// The variable of OpenAI's key.
const KEY: &str = "OPENAI_API_KEY";

/// Writes conf/ and plugins/ here, and checks them
#[derive(Args)]
pub struct Command {
    /// Where requests go, such as http://127.0.0.1:11434/v1 for Ollama on this machine
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The variable that holds the upstream's key
    #[arg(long, value_name = "NAME", conflicts_with = "api_key_file")]
    api_key_env: Option<String>,
    /// The file that holds the upstream's key
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Asks nothing
    #[arg(long, short)]
    yes: bool,
}

/// The upstream's key, by reference.
enum Reference {
    Env(String),
    File(PathBuf),
    /// Callers bring their own, or none is needed.
    None,
}

/// Asks for what no flag says, writes what is not there yet, and loads it as a start would.
///
/// # Errors
///
/// What keeps it from writing, and every fault of what it wrote.
pub fn run(command: &Command, env: &BTreeMap<String, String>) -> Result<(), Faults> {
    if Path::new(DEFAULT_FILE).symlink_metadata().is_ok() {
        let mend = "edit it, or move it away to begin anew";
        return Err(Fault::new(DEFAULT_FILE, "is there already", mend).into());
    }
    let asks = !command.yes && io::stdin().is_terminal();
    let base_url = base_url(command, env, asks)?;
    let key = key(command, env, (&base_url, asks))?;
    for (path, text) in shipped::FILES {
        match path {
            DEFAULT_FILE => write(path, &configured(text, &base_url, &key))?,
            _ => write(path, text)?,
        }
    }
    let sources = Sources {
        file: Some(DEFAULT_FILE.into()),
        env: env.clone(),
        overrides: Vec::new(),
    };
    let (store, _) = Store::open(sources)?;
    let snapshot = store.load();
    let names = snapshot.personalities.iter().map(|persona| &*persona.id);
    let names = names.collect::<Vec<_>>().join(", ");
    Ok(super::print(&format!(
        "conf/yychat.toml     the upstream is {base_url}\n\
         conf/personalities/  {names}\n\
         plugins/             {} plugins\n\n\
         Start it:  yychat\n\
         The app:   base_url = \"http://{}/v1\"\n\
         The page:  http://{}/\n",
        snapshot.tools.health().len(),
        snapshot.config.server.listen,
        snapshot.config.server.admin_listen,
    ))?)
}

fn base_url(command: &Command, env: &BTreeMap<String, String>, asks: bool) -> Result<Url, Fault> {
    let known = env.get("OPENAI_BASE_URL").filter(|url| !url.is_empty());
    let known = known.map_or(OPENAI, String::as_str);
    let text = match &command.base_url {
        Some(text) => text.clone(),
        None if command.yes => known.to_owned(),
        None if asks => {
            eprint!(
                "Where do requests go? An OpenAI-compatible API, such as\n  \
                 http://127.0.0.1:11434/v1  Ollama on this machine\n  \
                 https://api.openai.com/v1  OpenAI\n[{known}] "
            );
            let said = line()?;
            if said.is_empty() {
                known.to_owned()
            } else {
                said
            }
        }
        None => {
            let what = "does not know where requests go, and there is no terminal to ask on";
            let mend = "give --base-url URL, or --yes for OPENAI_BASE_URL, else OpenAI";
            return Err(Fault::new("yychat init", what, mend));
        }
    };
    let url = Url::parse(text.trim()).ok();
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = url else {
        let what = format!("{text:?} is no URL of an API");
        let mend = "write it as in http://127.0.0.1:11434/v1";
        return Err(Fault::new("--base-url", what, mend));
    };
    // What people copy: an endpoint, or the server alone.
    let path = url.path().trim_end_matches('/');
    let path = ["/chat/completions", "/responses", "/messages", "/models"]
        .iter()
        .find_map(|endpoint| path.strip_suffix(endpoint))
        .unwrap_or(path);
    let path = if path.is_empty() { "/v1" } else { path }.to_owned();
    url.set_path(&path);
    Ok(url)
}

fn key(
    command: &Command,
    env: &BTreeMap<String, String>,
    (base_url, asks): (&Url, bool),
) -> Result<Reference, Fault> {
    if let Some(name) = &command.api_key_env {
        return Ok(Reference::Env(name.clone()));
    }
    if let Some(file) = &command.api_key_file {
        return Ok(Reference::File(file.clone()));
    }
    // A server on this machine needs none, and must not be sent another's.
    if is_loopback(base_url) {
        return Ok(Reference::None);
    }
    if env.get(KEY).is_some_and(|key| !key.is_empty()) {
        return Ok(Reference::Env(KEY.to_owned()));
    }
    if !asks {
        return Ok(Reference::None);
    }
    let prompt = format!(
        "Its API key, which is kept in {KEY_FILE} (not shown; empty: each caller brings his own): "
    );
    let typed = rpassword::prompt_password(prompt)
        .map_err(|error| Fault::new("yychat init", format!("no key was read: {error}"), ""))?;
    if typed.trim().is_empty() {
        return Ok(Reference::None);
    }
    write_new(Path::new(KEY_FILE), typed.trim(), 0o600)?;
    Ok(Reference::File(KEY_FILE.into()))
}

fn line() -> Result<String, Fault> {
    let mut line = String::new();
    io::stderr()
        .flush()
        .and_then(|()| io::stdin().read_line(&mut line))
        .map_err(|error| Fault::new("yychat init", format!("no answer was read: {error}"), ""))?;
    Ok(line.trim().to_owned())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The shipped configuration with that upstream in the place of its example.
fn configured(shipped: &str, base_url: &Url, key: &Reference) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let key = match key {
        Reference::Env(name) => format!("api_key = {{ env = {} }}", quoted(name)),
        Reference::File(path) => {
            format!("api_key = {{ file = {} }}", quoted(&path.to_string_lossy()))
        }
        Reference::None => format!("#api_key = {{ env = \"{KEY}\" }}"),
    };
    let lines = [
        ("#[[upstreams]]", "[[upstreams]]".to_owned()),
        ("#name = ", format!("name = {}", quoted(&name(base_url)))),
        (
            "#base_url = ",
            format!("base_url = {}", quoted(base_url.as_str())),
        ),
        ("#api_key = ", key),
    ];
    let mut lines = lines.into_iter().peekable();
    let mut text = String::new();
    for line in shipped.lines() {
        match lines.next_if(|(begins, _)| line.starts_with(begins)) {
            Some((_, own)) => text.push_str(&own),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// What metrics call the upstream: `deepseek` for `api.deepseek.com`, `local` on this machine.
fn name(base_url: &Url) -> String {
    let host = base_url.host_str().unwrap_or_default().to_ascii_lowercase();
    let parts: Vec<_> = host.split('.').collect();
    let name = match base_url.domain() {
        Some(_) if !is_loopback(base_url) => parts[parts.len().saturating_sub(2)],
        _ => "local",
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name.chars().all(fits) && !name.is_empty() {
        true => name.to_owned(),
        false => "upstream".to_owned(),
    }
}

/// Writes a file that is not there yet; what is there stays as it is.
fn write(path: &str, text: &str) -> Result<(), Fault> {
    let path = Path::new(path);
    match path.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => write_new(path, text, 0o644),
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Fault> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())
    });
    written.map_err(|error| {
        let what = format!("cannot be written: {error}");
        Fault::new(path, what, "run it in a folder that is yours")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(base_url: &str, key: &Reference) -> String {
        let url = Url::parse(base_url).unwrap();
        configured(shipped::FILES[0].1, &url, key)
    }

    #[test]
    fn the_shipped_configuration_is_given_its_upstream() {
        let text = text("https://api.deepseek.com/v1", &Reference::Env("KEY".into()));
        let table: toml::Table = text.parse().unwrap();
        let upstream = &table["upstreams"][0];
        assert_eq!(upstream["name"].as_str(), Some("deepseek"));
        assert_eq!(
            upstream["base_url"].as_str(),
            Some("https://api.deepseek.com/v1")
        );
        assert_eq!(upstream["api_key"]["env"].as_str(), Some("KEY"));
        let keys = table.get("auth").and_then(|auth| auth.get("keys"));
        assert!(table.contains_key("personality") && keys.is_none());
    }

    #[test]
    fn without_a_key_none_is_named() {
        let text = text("http://127.0.0.1:11434/v1", &Reference::None);
        let table: toml::Table = text.parse().unwrap();
        let upstream = table["upstreams"][0].as_table().unwrap();
        assert_eq!(upstream["name"].as_str(), Some("local"));
        assert!(!upstream.contains_key("api_key"));
    }

    #[test]
    fn what_people_copy_is_made_a_base_url() {
        let given = |text: &str| {
            let command = Command {
                base_url: Some(text.to_owned()),
                api_key_env: None,
                api_key_file: None,
                yes: true,
            };
            base_url(&command, &BTreeMap::new(), false).map(|url| url.to_string())
        };
        for (text, url) in [
            ("http://localhost:11434", "http://localhost:11434/v1"),
            ("http://localhost:11434/", "http://localhost:11434/v1"),
            ("https://a.example/v1/", "https://a.example/v1"),
            (
                "https://a.example/v1/chat/completions",
                "https://a.example/v1",
            ),
            ("https://a.example/api/v1", "https://a.example/api/v1"),
        ] {
            assert_eq!(given(text).as_deref(), Ok(url), "{text}");
        }
        for wrong in ["localhost:11434", "", "ftp://a.example"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
