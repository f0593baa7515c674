//! How fast is recall, and how small? Prints milliseconds, records a second and MiB.
//!
//! ```text
//! cargo bench --bench recall -- [SCOPES] [RECORDS_A_SCOPE] [URL]
//! ```
//!
//! Without arguments: one scope of 10,000 records. The whole claim: `10000 100`. With a URL, on
//! that PostgreSQL, which has to be empty.

use std::time::{Duration, Instant};

use yychat::config::model;
use yychat::memory::record::Record;
use yychat::memory::{Import, Line, Memory, Question, RecallQuery, Scope, Source};

const TENANT: &str = "bench";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let scopes = numbers.first().copied().unwrap_or(1);
    let records = numbers.get(1).copied().unwrap_or(10_000);
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let memory = open(folder.path())?;
    runtime.block_on(async {
        fill(&memory, scopes, records).await?;
        writes(&memory).await
    })?;
    drop(memory);
    let start = Instant::now();
    let memory = loop {
        // The file's lock goes with the last task of the memory before.
        match open(folder.path()) {
            Ok(memory) => break memory,
            Err(_) if start.elapsed() < Duration::from_secs(30) => std::thread::yield_now(),
            Err(e) => return Err(e),
        }
    };
    println!(
        "open {:.3} s, resident {} MiB",
        start.elapsed().as_secs_f64(),
        resident()
    );
    runtime.block_on(reads(&memory, scopes, records));
    println!("resident {} MiB", resident());
    Ok(())
}

fn open(path: &std::path::Path) -> Result<Memory, Box<dyn std::error::Error>> {
    let config = model::Memory {
        enabled: true,
        store: match std::env::args().find(|it| it.starts_with("postgres://")) {
            Some(url) => model::Store::Postgres { url: url.into() },
            None => model::Store::Embedded { path: path.into() },
        },
        recall_limit: 5,
        recall_deadline: Duration::from_secs(60),
        cache_ttl: Duration::from_secs(300),
        cache_capacity: 0,
        save: model::Save::Both,
        placement: model::Placement::Tail,
        max_bytes: 8192,
        max_tokens: 900,
        earlier_bytes: 32768,
        embedding: None,
        time_zone: jiff::tz::TimeZone::UTC,
        extraction: model::Extraction::default(),
    };
    Ok(Memory::open(&config, None).map_err(|fault| fault.to_string())?)
}

/// A small generator, so that every run measures the same work.
struct Words(u64);

impl Words {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Words as common as in speech: the n-th about as often as 1/n.
    fn text(&mut self, words: usize) -> String {
        let word = |w: &mut Self| {
            let spread = w.next(1 << 13) + 1;
            let rank = (1 << 13) / spread + w.next(spread / 400 + 1);
            let mut rank = rank * 7 + 11;
            let mut word = String::new();
            while rank > 0 {
                word.push_str(
                    ["ka", "lo", "mi", "ten", "ru", "sha", "vo", "dne"][rank as usize % 8],
                );
                rank /= 8;
            }
            word
        };
        let words: Vec<_> = (0..words).map(|_| word(self)).collect();
        words.join(" ")
    }
}

fn scope(at: usize) -> Scope {
    let user = format!("user-{at}");
    Scope::of(TENANT, Some(&user), None).unwrap_or_else(|| unreachable!("a user is given"))
}

async fn fill(
    memory: &Memory,
    scopes: usize,
    records: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut words = Words(42);
    let start = Instant::now();
    let mut lines = Vec::new();
    for at in 0..scopes {
        let scope = scope(at);
        for n in 0..records {
            let length = 6 + words.next(24) as usize;
            let role = ["user", "assistant"][n % 2];
            let at = 1_700_000_000_000 + n as i64 * 60_000;
            let mut record = Record::new(&scope, role, words.text(length), Source::Import, at);
            record.conversation = Some(format!("c{}", n / 20).into());
            serde_json::to_writer(&mut lines, &Line::from(&record))?;
            lines.push(b'\n');
        }
        if lines.len() > 1 << 20 || at + 1 == scopes {
            let how = Import {
                tenant: TENANT,
                from_line: 1,
                now: 0,
                told: &mut |_| {},
            };
            memory.import(&mut lines.as_slice(), how).await?;
            lines.clear();
        }
    }
    let count = (scopes * records) as f64;
    println!(
        "import {:.0} records/s",
        count / start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// 64 clients that each wait for their write to be on disk.
async fn writes(memory: &Memory) -> Result<(), Box<dyn std::error::Error>> {
    const EACH: usize = 200;
    const CLIENTS: usize = 64;
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|client| async move {
        let scope = scope(1_000_000 + client);
        let mut words = Words(client as u64 + 1);
        for n in 0..EACH {
            let record = Record::new(&scope, "user", words.text(12), Source::Api, n as i64);
            memory.create(record).await?;
        }
        Ok::<_, yychat::error::ApiError>(())
    });
    for result in futures_util::future::join_all(clients).await {
        result?;
    }
    let rate = (CLIENTS * EACH) as f64 / start.elapsed().as_secs_f64();
    println!("synced writes by {CLIENTS} clients: {rate:.0} records/s");
    Ok(())
}

async fn reads(memory: &Memory, scopes: usize, records: usize) {
    let mut words = Words(7);
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    // Every scope once: the caches have to hold what they are told to, and no more.
    for at in 0..scopes {
        let scope = scope(at);
        for touch in 0..if scopes == 1 { 2000 } else { 3 } {
            let text = words.text(8);
            let start = Instant::now();
            let query = RecallQuery {
                question: Question::new(text, Vec::new()).into(),
                limit: 5,
                deadline: Duration::from_secs(60),
                ..RecallQuery::default()
            };
            memory.recall(&scope, &query).await;
            let ms = start.elapsed().as_secs_f64() * 1e3;
            if touch == 0 { &mut cold } else { &mut warm }.push(ms);
        }
    }
    for (name, times) in [("cold", &mut cold), ("warm", &mut warm)] {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
        println!(
            "{name} recall in {scopes} scopes of {records}: p50 {:.3} ms, p99 {:.3} ms",
            at(0.5),
            at(0.99)
        );
    }
}

/// MiB of this process in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
