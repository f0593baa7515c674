//! `yychat demo`: the whole thing at work, with no key, no model and no network.
//!
//! The real server runs with a demo upstream in the same process, which answers by describing
//! what it received. A short chat is played and shown, then everything stays up, so that one can
//! point `curl` or an SDK at it.

mod script;
mod upstream;
mod words;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::config::Sources;
use crate::error::{Fault, Faults};
use crate::server::{self, Bound, Order, Shutdown, Signals};
use crate::shipped;
use crate::snapshot::Store;

use words::Words;

/// The persona that the demo speaks with, and that it is asked for by name.
const PERSONA: &str = "friendly";

const ADMIN_KEY: &str = "YYCHAT_ADMIN_KEY";

/// Plays the demo and stays up until a signal comes. `sources` may override any key.
///
/// # Errors
///
/// What keeps it from starting: a fault of configuration, an address in use, no place for its
/// files.
pub fn run(mut sources: Sources) -> Result<(), Faults> {
    let folder = tempfile::tempdir().map_err(|error| unwritable(&std::env::temp_dir(), &error))?;
    let inside = |name: &str| folder.path().join(name);
    let words = Words::of(&sources.env);
    let upstream = upstream::start(words)
        .map_err(|error| Fault::new("demo", format!("its upstream cannot start: {error}"), ""))?;
    let path = |name: &str| inside(name).to_string_lossy().into_owned();
    let shipped = |name: &str| shipped::folder(name).to_string_lossy().into_owned();
    // The demo's own keys are weaker than what was asked for on the command line.
    let mut own = vec![
        (
            "upstreams".to_owned(),
            format!(r#"[{{name="demo",base_url="http://{upstream}/v1"}}]"#),
        ),
        ("personality.dir".to_owned(), shipped("conf/personalities")),
        ("tools.dir".to_owned(), shipped("plugins")),
        ("memory.path".to_owned(), path("memory")),
        // The demo upstream's answers only describe requests: they are nothing to remember.
        ("memory.save".to_owned(), "user".to_owned()),
    ];
    own.append(&mut sources.overrides);
    sources.overrides = own;
    // It is a world of its own: what lies about in the environment or in conf/ is for others, but for
    // the key of whoever wants to change something on its page.
    sources.env.retain(|name, _| name == ADMIN_KEY);
    if sources.file.is_none() {
        let file = inside("yychat.toml");
        std::fs::write(&file, "").map_err(|error| unwritable(&file, &error))?;
        sources.file = Some(file);
    }

    let (store, _) = Store::open(sources)?;
    let bound = Bound::bind(&store.load().config.server)?;
    let (api, admin) = (bound.api(), bound.admin());
    let stage = Arc::new(Stage::default());
    let player = std::thread::spawn({
        let stage = stage.clone();
        move || {
            // Dropped when the play ends in any way, a panic too.
            let playing = stage.broke_off.clone().drop_guard();
            let mut screen = Screen::new(words);
            script::play(&mut screen, api)?;
            screen.invitation(api, admin);
            playing.disarm();
            script::Played::Ok(())
        }
    });
    server::run(Arc::new(store), bound, stage.clone())?;
    if !stage.broke_off.is_cancelled() {
        return Ok(());
    }
    let why = match player.join() {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => script::reason(&*error),
        Err(_) => "it panicked".to_owned(),
    };
    Err(Fault::new("demo", format!("it broke off: {why}"), "").into())
}

/// Ends the demo at a signal, as any server, and when the play breaks off.
#[derive(Default)]
struct Stage {
    signals: Signals,
    broke_off: CancellationToken,
}

#[async_trait]
impl Shutdown for Stage {
    async fn next(&self) -> Order {
        tokio::select! {
            order = self.signals.next() => order,
            () = self.broke_off.cancelled() => Order::Drain,
        }
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::new(
        path,
        format!("the demo's files cannot be written: {error}"),
        "set TMPDIR to a folder that can be written",
    )
}

/// Where the demo is shown: coloured on a terminal, plain elsewhere.
pub struct Screen {
    colour: bool,
    words: &'static Words,
}

impl Screen {
    fn new(words: &'static Words) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: std::io::stdout().is_terminal() && !unwanted,
            words,
        }
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.line(&self.painted("1;36", text));
    }

    fn request(&mut self, text: &str) {
        self.line(&self.painted("33", text));
    }

    fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Writes at once, so that a stream is seen to arrive piece by piece.
    fn write(&mut self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Nobody is looking any more; the server goes on.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn invitation(&mut self, api: std::net::SocketAddr, admin: std::net::SocketAddr) {
        let words = self.words;
        self.heading(words.invitation);
        self.line(&format!(
            "  curl http://{api}/v1/chat/completions -H 'content-type: application/json' \\\n    \
             -d '{{\"model\":\"demo\",\"personality_id\":\"{PERSONA}\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}'",
            words.hello
        ));
        self.line(&format!(
            "  client = OpenAI(base_url=\"http://{api}/v1\", api_key=\"none\")"
        ));
        self.line(&format!("  http://{admin}/  ({})", words.page));
        self.line(words.end);
    }
}
