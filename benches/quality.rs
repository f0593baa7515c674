//! Is the right memory found? Measures what a user gets: imports conversations with `yychat memory
//! import`, asks a running gateway (`POST /v1/memories/search`), and has it say for a sample what a
//! chat request would inject (`POST /v1/preview`).
//!
//! ```text
//! cargo bench --bench quality -- FOLDER [SET…] [--rankings FOLDER]
//! ```
//!
//! `FOLDER/SET.conversations.jsonl` has `{user, session, ts, speaker, turn, text}` a line, in the
//! order of time for each user; `FOLDER/SET.questions.jsonl` has `{qid, user, question, evidence:
//! [turns]}`, with `context` (turns of the running conversation) and `before_session` (only earlier
//! sessions may be known) where they apply. Without a SET all are asked. The environment configures
//! the gateway, so `YYCHAT__MEMORY__EMBEDDING__…` measures recall by meaning. Every record is
//! embedded first then, and a question may take ten seconds: it is the ranking that is measured, not
//! how soon the embedder answers. A question that was ranked without its meaning fails the run.
//!
//! Prints recall@10 and nDCG@10 over the questions that have evidence, the share of the evidence
//! that would be injected with the default settings, the tokens that this takes (the median, of four
//! bytes each), and how long a search takes with HTTP around it. `--rankings` writes `{qid, ranked, ms}` a line for a scorer of one's own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

/// Records that count.
const TOP: usize = 10;
/// Questions of a set that are previewed as well, at least, where there are as many.
const SAMPLE: usize = 100;

/// What a token is reckoned to be.
const BYTES_PER_TOKEN: usize = 4;

fn main() -> Result<(), Failure> {
    let mut paths: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let rankings = match paths.iter().position(|a| a == "--rankings") {
        Some(at) if at + 1 < paths.len() => paths.drain(at..at + 2).next_back(),
        _ => None,
    };
    let Some((folder, sets)) = paths.split_first() else {
        eprintln!("usage: quality FOLDER [SET…] [--rankings FOLDER]");
        return Ok(());
    };
    let folder = Path::new(folder);
    let sets = if sets.is_empty() {
        all_sets(folder)?
    } else {
        sets.to_vec()
    };
    // reqwest asks for one even where nothing is encrypted; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Runtime::new()?;
    println!(
        "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "set", "questions", "recall@10", "nDCG@10", "injected", "tokens", "p50 ms", "p99 ms"
    );
    for set in sets {
        let measured = runtime.block_on(measure(folder, &set))?;
        measured.print(&set);
        if let Some(folder) = &rankings {
            let path = Path::new(folder).join(format!("{set}.rankings.jsonl"));
            fs::write(path, measured.rankings)?;
        }
    }
    Ok(())
}

fn all_sets(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut sets = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        sets.extend(name.strip_suffix(".questions.jsonl").map(str::to_owned));
    }
    sets.sort();
    Ok(sets)
}

fn lines(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn texts<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    let texts = value[key].as_array().into_iter().flatten();
    texts.filter_map(Value::as_str).collect()
}

/// The user under whom a question's turns are imported: those before a session are a memory of
/// their own.
fn memory_of(question: &Value) -> String {
    match text(question, "before_session") {
        "" => text(question, "user").to_owned(),
        session => format!("{} before {session}", text(question, "user")),
    }
}

async fn measure(folder: &Path, set: &str) -> Result<Measured, Failure> {
    let turns = lines(&folder.join(format!("{set}.conversations.jsonl")))?;
    let questions = lines(&folder.join(format!("{set}.questions.jsonl")))?;
    let questions: Vec<_> = questions
        .into_iter()
        .filter(|q| !texts(q, "evidence").is_empty())
        .collect();
    let import = Import::of(&turns, &questions);
    let gateway = Gateway::start(&import.lines).await?;
    gateway.embedded(import.turns.len()).await?;
    let mut measured = Measured::default();
    let every = (questions.len() / SAMPLE).max(1);
    for (at, question) in questions.iter().enumerate() {
        let evidence: HashSet<_> = texts(question, "evidence").into_iter().collect();
        // The first touch builds the index; what is timed is a memory in use.
        gateway.search(question).await?;
        let start = Instant::now();
        let found = gateway.search(question).await?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let ranked: Vec<&str> = found.iter().map(|id| &*import.turns[id]).collect();
        measured.count(&evidence, &ranked, ms);
        let line = json!({ "qid": question["qid"], "ranked": ranked, "ms": ms });
        measured.rankings.push_str(&format!("{line}\n"));
        if at % every == 0 {
            let (injected, bytes) = gateway.injected(question).await?;
            measured.tokens.push(bytes / BYTES_PER_TOKEN);
            let injected: Vec<&str> = injected.iter().map(|id| &*import.turns[id]).collect();
            measured.injected.push(share(&evidence, &injected));
        }
    }
    let without = gateway
        .embeddings("query", &["late", "failed", "skipped"])
        .await?;
    if without > 0.0 {
        return Err(format!("{without} questions were ranked without their meaning").into());
    }
    Ok(measured)
}

/// The turns as lines of an import, and which record is which turn.
#[derive(Default)]
struct Import {
    lines: Vec<u8>,
    turns: HashMap<Uuid, String>,
}

impl Import {
    fn of(turns: &[Value], questions: &[Value]) -> Self {
        let mut import = Self::default();
        let memories: BTreeMap<_, _> = questions.iter().map(|q| (memory_of(q), q)).collect();
        for (memory, question) in memories {
            let until = text(question, "before_session");
            let turns = turns.iter().filter(|t| t["user"] == question["user"]);
            for turn in turns.take_while(|t| until.is_empty() || text(t, "session") != until) {
                import.add(&memory, turn);
            }
        }
        import
    }

    fn add(&mut self, memory: &str, turn: &Value) {
        // A few turns are empty, which no memory may be.
        if text(turn, "text").trim().is_empty() {
            return;
        }
        let id = Uuid::now_v7();
        self.turns.insert(id, text(turn, "turn").to_owned());
        let line = json!({
            "id": id,
            "user_id": memory,
            "conversation_id": text(turn, "session"),
            "role": text(turn, "speaker"),
            "text": text(turn, "text"),
            "created_at": format!("{}Z", text(turn, "ts")),
        });
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }
}

/// A gateway of its own, which ends with this value.
struct Gateway {
    process: Child,
    client: reqwest::Client,
    api: String,
    admin: String,
    _folder: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    async fn start(import: &[u8]) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let [api, admin] = free_addresses()?;
        let command = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_yychat"));
            command
                .args(arguments)
                .current_dir(folder.path())
                .env("YYCHAT__SERVER__LISTEN", &api)
                .env("YYCHAT__SERVER__ADMIN_LISTEN", &admin)
                .env("YYCHAT__MEMORY__PATH", folder.path().join("memory"))
                .env("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
                .stdin(Stdio::piped());
            if embeds() {
                command.env("YYCHAT__MEMORY__RECALL_DEADLINE", "10s");
            }
            command
        };
        let log = || fs::File::create(folder.path().join("log"));
        let mut process = command(&["memory", "import"]).stderr(log()?).spawn()?;
        process
            .stdin
            .take()
            .map_or(Ok(()), |mut input| input.write_all(import))?;
        if !process.wait()?.success() {
            let log = fs::read_to_string(folder.path().join("log"))?;
            return Err(format!("the import failed: {log}").into());
        }
        let process = command(&[]).stdout(log()?).stderr(log()?).spawn()?;
        let mut gateway = Self {
            process,
            client: reqwest::Client::new(),
            api: format!("http://{api}"),
            admin: format!("http://{admin}"),
            _folder: folder,
        };
        gateway.ready().await?;
        Ok(gateway)
    }

    async fn ready(&mut self) -> Result<(), Failure> {
        let url = format!("{}/readyz", self.admin);
        loop {
            if let Ok(answer) = self.client.get(&url).send().await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("the gateway ended: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every record has its vector, or was refused one, if the gateway is told to make
    /// some.
    async fn embedded(&self, records: usize) -> Result<(), Failure> {
        while embeds()
            && self.embeddings("record", &["embedded", "refused"]).await? < records as f64
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Texts of this kind that ended so, as the gateway counts them.
    async fn embeddings(&self, kind: &str, outcomes: &[&str]) -> Result<f64, Failure> {
        let metrics = self.client.get(format!("{}/metrics", self.admin));
        let metrics = metrics.send().await?.text().await?;
        let of = |outcome: &&str| {
            let series =
                format!("yychat_memory_embeddings_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} ");
            let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
            value.map_or(Ok(0.0), str::parse::<f64>)
        };
        Ok(outcomes.iter().map(of).sum::<Result<f64, _>>()?)
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(format!("{}{path}", self.api)).json(body);
        let answer = request.send().await?;
        let status = answer.status();
        let answer: Value = answer.json().await?;
        if !status.is_success() {
            return Err(format!("{path} was answered with {status}: {answer}").into());
        }
        Ok(answer)
    }

    /// The records found, the best first.
    async fn search(&self, question: &Value) -> Result<Vec<Uuid>, Failure> {
        let context: Vec<_> = texts(question, "context").into_iter().rev().collect();
        let body = json!({
            "query": question["question"], "user_id": memory_of(question), "context": context,
            "limit": TOP,
        });
        let found = self.post("/v1/memories/search", &body).await?;
        let ids = found["data"].as_array().into_iter().flatten();
        Ok(ids
            .filter_map(|record| text(record, "id").parse().ok())
            .collect())
    }

    /// The records that a chat request would carry, and the bytes of their block.
    async fn injected(&self, question: &Value) -> Result<(Vec<Uuid>, usize), Failure> {
        let context = texts(question, "context");
        let roles = ["user", "assistant"]
            .into_iter()
            .cycle()
            .skip(context.len() % 2);
        let mut messages: Vec<_> = context
            .into_iter()
            .zip(roles)
            .map(|(content, role)| json!({ "role": role, "content": content }))
            .collect();
        messages.push(json!({ "role": "user", "content": question["question"] }));
        let body = json!({ "model": "any", "user": memory_of(question), "messages": messages });
        let preview = self.post("/v1/preview", &body).await?;
        let insertions = preview["insertions"].as_array().into_iter().flatten();
        let memory = insertions.filter(|it| it["source"] == "memory");
        let memory: Vec<&Value> = memory.collect();
        let ids = memory.iter().flat_map(|it| texts(&it["why"], "records"));
        let ids = ids.filter_map(|id| id.parse().ok()).collect();
        let bytes = memory.iter().map(|it| text(it, "text").len()).sum();
        Ok((ids, bytes))
    }
}

/// Whether the environment names an embedder.
fn embeds() -> bool {
    std::env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("YYCHAT__MEMORY__EMBEDDING__")
    })
}

fn free_addresses() -> Result<[String; 2], Failure> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let [one, other] = &listeners;
    Ok([
        one.local_addr()?.to_string(),
        other.local_addr()?.to_string(),
    ])
}

#[derive(Default)]
struct Measured {
    recall: Vec<f64>,
    ndcg: Vec<f64>,
    injected: Vec<f64>,
    tokens: Vec<usize>,
    ms: Vec<f64>,
    rankings: String,
}

impl Measured {
    fn count(&mut self, evidence: &HashSet<&str>, ranked: &[&str], ms: f64) {
        let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let hits = ranked
            .iter()
            .enumerate()
            .filter(|(_, turn)| evidence.contains(*turn));
        let ideal: f64 = (0..evidence.len().min(TOP)).map(gain).sum();
        self.recall.push(share(evidence, ranked));
        self.ndcg
            .push(hits.map(|(place, _)| gain(place)).sum::<f64>() / ideal);
        self.ms.push(ms);
    }

    fn print(&self, set: &str) {
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let mut ms = self.ms.clone();
        ms.sort_by(f64::total_cmp);
        let mut tokens = self.tokens.clone();
        tokens.sort_unstable();
        let at = |part: f64| ms.get(((ms.len() - 1) as f64 * part) as usize).copied();
        println!(
            "{set:<14}{:>10}{:>10.4}{:>10.4}{:>10.4}{:>10}{:>10.2}{:>10.2}",
            self.recall.len(),
            mean(&self.recall),
            mean(&self.ndcg),
            mean(&self.injected),
            tokens.get(tokens.len() / 2).copied().unwrap_or_default(),
            at(0.5).unwrap_or_default(),
            at(0.99).unwrap_or_default()
        );
    }
}

/// The share of the evidence that was found.
fn share(evidence: &HashSet<&str>, found: &[&str]) -> f64 {
    let hits = found.iter().filter(|turn| evidence.contains(*turn)).count();
    hits as f64 / evidence.len() as f64
}
