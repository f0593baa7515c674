//! Dashboards and alerts against the real registry: what they name is exported, with the labels
//! that they ask for, and each alert is tested and explained.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use regex::Regex;
use serde_json::Value;
use yychat::telemetry::ring::Entry;
use yychat::telemetry::{Ledger, Metrics, Phase};

/// Labels that Prometheus adds, and that of a histogram's buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];
/// Metrics that Prometheus itself makes of a scrape.
const OF_SCRAPES: [&str; 1] = ["up"];

/// Each series name that a scrape would have, with its labels and their values.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("a file of the project")
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of valid form")
}

/// What a registry exports once each of its metrics has been used.
fn exported() -> Exported {
    let metrics = Metrics::new();
    let mut ledger = Ledger::new(Instant::now());
    Phase::ALL.into_iter().for_each(|phase| ledger.enter(phase));
    metrics.upstream_error("primary", "connect");
    metrics.upstream_answered("primary", "200");
    metrics.quota.used(["acme", "gpt-4o"], [1, 1, 1], 1);
    metrics.generation.reloaded("applied");
    metrics.reject("connections");
    metrics.memory_recall("hit", Some(true));
    metrics.memory_writes("saved", 1);
    metrics.tools.called("calculator", "ok");
    metrics.shed("rate");
    metrics.upstream_open("primary", true);
    metrics.upstream_skipped("primary");
    metrics.fallback("tried");
    metrics.traces("exported", 1);
    ledger.mark_first_chunk();
    metrics.finish(Entry {
        route: "chat",
        status: 200,
        stream: true,
        upstream: Some("primary".to_owned()),
        prompt_tokens: Some(2),
        completion_tokens: Some(2),
        ..Entry::timed(&ledger)
    });
    let text = String::from_utf8(metrics.render()).expect("text");
    let series = pattern(r"(?m)^([a-z_]+)(?:\{(.*)\})? \S+$");
    let label = pattern(r#"(\w+)="([^"]*)""#);
    let mut exported = Exported::new();
    for found in series.captures_iter(&text) {
        let labels = exported.entry(found[1].to_owned()).or_default();
        let pairs = found.get(2).map_or("", |pairs| pairs.as_str());
        for pair in label.captures_iter(pairs) {
            let values = labels.entry(pair[1].to_owned()).or_default();
            values.insert(pair[2].to_owned());
        }
    }
    assert!(exported.len() > 20, "only {} series names", exported.len());
    exported
}

/// What is wrong with an expression.
fn faults(expression: &str, exported: &Exported) -> Vec<String> {
    let mut faults = Vec::new();
    let mut known: BTreeSet<_> = ADDED.iter().map(ToString::to_string).collect();
    let metric = pattern(r"\b((?:yychat|gen_ai|process)_[a-z_]+|up)\b(?:\{([^}]*)\})?");
    let matcher = pattern(r#"(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)""#);
    let grouping = pattern(r"\b(?:by|without) \(([^)]*)\)");
    for found in metric.captures_iter(&grouping.replace_all(expression, "")) {
        let Some(labels) = exported.get(&found[1]) else {
            if !OF_SCRAPES.contains(&&found[1]) {
                faults.push(format!("{} is not exported", &found[1]));
            }
            continue;
        };
        known.extend(labels.keys().cloned());
        let matchers = found.get(2).map_or("", |matchers| matchers.as_str());
        for asked in matcher.captures_iter(matchers) {
            let name = &asked[1];
            match labels.get(name) {
                None if !ADDED.contains(&name) => {
                    faults.push(format!("{} has no label {name}", &found[1]));
                }
                Some(values) if name == "phase" && !values.contains(&asked[3]) => {
                    faults.push(format!("there is no phase {}", &asked[3]));
                }
                _ => {}
            }
        }
    }
    for found in grouping.captures_iter(expression) {
        let labels = found[1].split(',').map(str::trim);
        let unknown = labels.filter(|label| !known.contains(*label));
        faults.extend(unknown.map(|label| format!("nothing in it has a label {label}")));
    }
    faults
}

/// Every dashboard, by its file's name.
fn dashboards() -> BTreeMap<String, Value> {
    let folder = fs::read_dir(root().join("conf/grafana/dashboards")).expect("a folder");
    let paths = folder.map(|entry| entry.expect("an entry").path());
    let boards: BTreeMap<_, _> = paths
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a dashboard");
            let name = path.file_stem().expect("a name").to_string_lossy();
            let board = serde_json::from_str(&text);
            (name.into_owned(), board.expect("a dashboard in JSON"))
        })
        .collect();
    assert!(boards.len() >= 4, "only {} dashboards", boards.len());
    boards
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Each expression of a dashboard, with the title of what shows it.
fn expressions(board: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let title = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    for panel in list(board, "panels") {
        for target in list(panel, "targets") {
            found.push((title(panel, "title"), title(target, "expr")));
        }
    }
    for annotation in list(&board["annotations"], "list") {
        found.push((title(annotation, "name"), title(annotation, "expr")));
    }
    for variable in list(&board["templating"], "list") {
        if variable["type"] == "query" {
            found.push((title(variable, "name"), title(variable, "definition")));
        }
    }
    found
}

/// Each alert's name and expression.
fn alerts() -> Vec<(String, String)> {
    let text = read("conf/prometheus/alerts.yml");
    let alert = pattern(
        r"(?m)^ +- alert: (\w+)\n +expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)(?: +(?:for|labels):)",
    );
    let found: Vec<_> = alert
        .captures_iter(&text)
        .map(|found| {
            let expression = found.get(2).or(found.get(3)).expect("either is there");
            (found[1].to_owned(), expression.as_str().trim().to_owned())
        })
        .collect();
    assert_eq!(
        found.len(),
        text.matches("- alert:").count(),
        "an alert was not read"
    );
    assert!(found.len() > 10, "only {} alerts", found.len());
    found
}

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

#[test]
fn panels_and_alerts_ask_for_what_is_exported() {
    let exported = exported();
    let mut broken = Vec::new();
    let mut seen = 0;
    let mut judge = |place: String, expression: &str| {
        seen += 1;
        for fault in faults(expression, &exported) {
            broken.push(format!("{place}: {fault}: {expression}"));
        }
    };
    for (name, board) in dashboards() {
        for (title, expression) in expressions(&board) {
            assert!(!expression.is_empty(), "{name}: {title} asks for nothing");
            judge(format!("{name}: {title}"), &expression);
        }
    }
    for (name, expression) in alerts() {
        judge(name, &expression);
    }
    assert!(seen > 60, "only {seen} expressions were found");
    assert_none(&broken, "the gateway does not export what is asked for");
}

#[test]
fn the_scan_sees_what_it_is_to_see() {
    let exported = exported();
    let told = |expression: &str| faults(expression, &exported);
    assert_eq!(
        told("rate(yychat_nothing[5m])"),
        ["yychat_nothing is not exported"]
    );
    assert_eq!(
        told(r#"yychat_phase_seconds{phase="memory"}"#),
        ["yychat_phase_seconds is not exported"],
        "a histogram has no series of its bare name"
    );
    assert_eq!(
        told(r#"yychat_in_flight{route="chat"}"#),
        ["yychat_in_flight has no label route"]
    );
    assert_eq!(
        told(r#"yychat_phase_seconds_sum{phase="recall"}"#),
        ["there is no phase recall"]
    );
    assert_eq!(
        told("sum by (upstream) (rate(yychat_requests_total[5m]))"),
        ["nothing in it has a label upstream"]
    );
    assert!(
        told("sum by (instance, phase, le) (rate(yychat_phase_seconds_bucket[5m]))").is_empty()
    );
    assert!(told(r#"up{job="yychat"} == 0"#).is_empty());
}

#[test]
fn dashboards_are_whole() {
    let mut broken = Vec::new();
    let mut uids = BTreeSet::new();
    for (name, board) in dashboards() {
        if board["uid"] != name.as_str() || !uids.insert(name.clone()) {
            broken.push(format!("{name}: its uid is {}", board["uid"]));
        }
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in list(&board, "panels") {
            let place = format!("{name}: {}", panel["title"]);
            if !ids.insert(panel["id"].as_u64().expect("an id")) {
                broken.push(format!("{place}: its id is there twice"));
            }
            if panel["type"] != "row" {
                if panel["fieldConfig"]["defaults"]["unit"].as_str().is_none() {
                    broken.push(format!("{place}: it has no unit"));
                }
                if panel["datasource"]["uid"] != "${datasource}" {
                    broken.push(format!("{place}: it asks one data source only"));
                }
            }
            let side = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
            if x + w > 24 {
                broken.push(format!("{place}: it stands out to the right"));
            }
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                if !taken.insert(cell) {
                    broken.push(format!("{place}: it lies over another at {cell:?}"));
                    break;
                }
            }
        }
    }
    assert_none(&broken, "a dashboard is not in order");
}

#[test]
fn each_alert_is_tested_and_explained() {
    let tests = read("conf/prometheus/alerts_test.yml");
    let operations = read("docs/operations.md");
    let mut broken = Vec::new();
    for (name, _) in alerts() {
        for what in ["fires", "stays quiet"] {
            if !tests.contains(&format!("- name: {name} {what}\n")) {
                broken.push(format!("no test in which {name} {what}"));
            }
        }
        if !operations.contains(&format!("**`{name}`**")) {
            broken.push(format!(
                "docs/operations.md does not say what to do at {name}"
            ));
        }
    }
    assert_none(&broken, "an alert that nobody understands");
}
