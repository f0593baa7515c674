//! Is the right memory found? Imports conversations, asks questions through the public API, and
//! prints one ranking a line: `{"qid", "ranked": [turn ids, best first], "ms"}`.
//!
//! ```text
//! cargo bench --bench quality -- CONVERSATIONS.jsonl QUESTIONS.jsonl > rankings.jsonl
//! ```
//!
//! A conversation line is `{user, session, ts, speaker, turn, text}`, in the order of time; a
//! question `{qid, user, question}`, with `context` (turns of the running conversation) and
//! `before_session` (only earlier sessions may be known) where they apply.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;
use yychat::config::model;
use yychat::memory::embedding::{Embedder, HttpEmbedder, Settings};
use yychat::memory::{Memory, RecallQuery, Scope};

const TENANT: &str = "bench";
const RANKED: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let paths: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let [conversations, questions] = &paths[..] else {
        eprintln!("usage: quality CONVERSATIONS.jsonl QUESTIONS.jsonl");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let config = model::Memory {
        enabled: true,
        store: model::Store::Embedded {
            path: folder.path().into(),
        },
        recall_limit: RANKED,
        recall_deadline: Duration::from_secs(60),
        cache_ttl: Duration::from_secs(300),
        cache_capacity: 0,
        save: model::Save::Both,
        placement: model::Placement::Tail,
        max_bytes: 8192,
        extraction: model::Extraction::default(),
    };
    let memory = Memory::open(&config, embedder()?).map_err(|fault| fault.to_string())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run(&memory, lines(conversations)?, lines(questions)?))
}

/// From `EMBEDDING_URL`, with `EMBEDDING_MODEL`, `EMBEDDING_QUERY_MODEL` and the prefixes of E5
/// where `EMBEDDING_PREFIXES` is set.
fn embedder() -> Result<Option<Arc<dyn Embedder>>, Box<dyn std::error::Error>> {
    let environment = yychat::config::environment().unwrap_or_default();
    let variable = |name: &str| environment.get(name).cloned();
    let Some(url) = variable("EMBEDDING_URL") else {
        return Ok(None);
    };
    let model = variable("EMBEDDING_MODEL").unwrap_or_default();
    let prefix = |prefix: &str| match variable("EMBEDDING_PREFIXES") {
        Some(_) => prefix.to_owned(),
        None => String::new(),
    };
    let settings = Settings {
        base_url: url.parse()?,
        api_key: None,
        query_model: variable("EMBEDDING_QUERY_MODEL").unwrap_or_else(|| model.clone()),
        model,
        dimensions: None,
        query_prefix: prefix("query: "),
        passage_prefix: prefix("passage: "),
        timeout: Duration::from_secs(120),
    };
    Ok(Some(Arc::new(HttpEmbedder::new(
        reqwest::Client::new(),
        settings,
    ))))
}

fn lines(path: &str) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

async fn run(
    memory: &Memory,
    turns: Vec<Value>,
    questions: Vec<Value>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut users: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for turn in &turns {
        users.entry(text(turn, "user")).or_default().push(turn);
    }
    let mut of_id = HashMap::new();
    for (user, turns) in users {
        let ask: Vec<_> = questions
            .iter()
            .filter(|q| text(q, "user") == user)
            .collect();
        for session in turns.chunk_by(|a, b| a["session"] == b["session"]) {
            for question in &ask {
                if text(question, "before_session") == text(session[0], "session") {
                    answer(memory, question, &of_id).await?;
                }
            }
            import(memory, session, &mut of_id).await?;
        }
        for question in ask {
            if text(question, "before_session").is_empty() {
                answer(memory, question, &of_id).await?;
            }
        }
    }
    Ok(())
}

async fn import(
    memory: &Memory,
    session: &[&Value],
    of_id: &mut HashMap<Uuid, String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = Vec::new();
    // A few turns are empty, which no memory may be.
    for turn in session
        .iter()
        .filter(|t| !text(t, "text").trim().is_empty())
    {
        let id = Uuid::now_v7();
        of_id.insert(id, text(turn, "turn").to_owned());
        let line = json!({
            "id": id,
            "user_id": text(turn, "user"),
            "conversation_id": text(turn, "session"),
            "role": text(turn, "speaker"),
            "text": text(turn, "text"),
            "created_at": format!("{}Z", text(turn, "ts")),
        });
        writeln!(lines, "{line}")?;
    }
    memory.import(&mut lines.as_slice(), TENANT, 0).await?;
    while std::env::var_os("EMBEDDING_URL").is_some()
        && memory.stats().embedded < of_id.len() as u64
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn answer(
    memory: &Memory,
    question: &Value,
    of_id: &HashMap<Uuid, String>,
) -> Result<(), Box<dyn std::error::Error>> {
    let Some(scope) = Scope::of(TENANT, Some(text(question, "user")), None) else {
        return Err("a question has no user".into());
    };
    let context = question["context"].as_array().into_iter().flatten().rev();
    let query = RecallQuery {
        text: text(question, "question").to_owned(),
        context: context
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        limit: RANKED,
        deadline: Duration::from_secs(60),
        ..RecallQuery::default()
    };
    // The first touch builds the index; what is timed is a scope in use.
    memory.recall(&scope, &query).await;
    let start = Instant::now();
    let recall = memory.recall(&scope, &query).await;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    let ranked: Vec<_> = recall
        .records
        .iter()
        .map(|r| &of_id[&r.record.id])
        .collect();
    println!(
        "{}",
        json!({"qid": question["qid"], "ranked": ranked, "ms": ms})
    );
    Ok(())
}
