mod corpus;
mod properties;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::{load as load_through, *};
use crate::config::model::Store;

const CANARY: &str = "sk-canary-0123456789";

/// What the fixtures' secrets refer to.
fn variables() -> BTreeMap<String, String> {
    [
        ("UPSTREAM_KEY", CANARY),
        ("APP_KEY", "sk-canary-app-0123456789"),
        ("TRACE_HEADERS", "authorization=Bearer%20sk-canary,x-team=a"),
        ("STORE_URL", "postgres://user:sk-canary-password@host/db"),
        ("SHARED_URL", "valkeys://:sk-canary-password@host:6379/0"),
        ("ADMIN_KEY", "sk-canary-admin-0123456789"),
        ("SHORT_KEY", "sk-canary-short"),
        ("EMPTY_KEY", "\n"),
        ("SPACED_KEY", "sk-canary with spaces"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

fn load(sources: &Sources) -> Result<Loaded, Faults> {
    load_through(sources, &Reading::default())
}

fn load_file(path: &Path) -> Result<Loaded, Faults> {
    load(&Sources {
        file: Some(path.to_owned()),
        env: variables(),
        ..Sources::default()
    })
}

/// Loads text as a file, with variables.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    fs::write(&path, text).unwrap();
    let env = variables
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()))
        .collect();
    load(&Sources {
        file: Some(path),
        env,
        ..Sources::default()
    })
}

fn config(text: &str, variables: &[(&str, &str)]) -> model::Config {
    load_text(text, variables).unwrap().config
}

fn faults(text: &str, variables: &[(&str, &str)]) -> String {
    let shown = load_text(text, variables).unwrap_err().to_string();
    // The folder's name differs each time.
    let lines = shown
        .lines()
        .map(|line| match line.split_once("test.toml") {
            Some((_, rest)) => format!("test.toml{rest}"),
            None => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_loads_as_it_is_and_says_what_the_defaults_say() {
    let shipped = load(&Sources::default()).unwrap();
    assert_eq!(shipped.file.as_deref(), Some(Path::new(DEFAULT_FILE)));
    assert_eq!(shipped.warnings, []);
    assert_eq!(
        changed(&shipped.config, &config("", &[])),
        Vec::<String>::new()
    );
}

#[test]
fn a_missing_file_counts_only_when_it_is_named() {
    let named = Sources {
        file: Some("no/such.toml".into()),
        ..Sources::default()
    };
    let faults = load(&named).unwrap_err().to_string();
    assert_eq!(
        faults,
        "no/such.toml: there is no such file \
         (check the path; a relative one starts at the working directory)"
    );
    let directory = Sources {
        file: Some("tests".into()),
        ..Sources::default()
    };
    let faults = load(&directory).unwrap_err().to_string();
    assert_eq!(faults, "tests: is a directory (name a file inside of it)");
}

#[test]
fn values_are_parsed() {
    let config = load_file(Path::new("tests/fixtures/config/valid/every_key.toml"))
        .unwrap()
        .config;
    assert_eq!(config.server.body_limit, 1 << 20);
    assert_eq!(config.limits.header_bytes, 16 << 10);
    assert_eq!(config.timeouts.connect, Duration::from_millis(500));
    assert_eq!(config.timeouts.first_byte, Duration::from_secs(5400));
    assert_eq!(
        config.upstreams[0].base_url.as_str(),
        "http://127.0.0.1:11434/v1"
    );
    assert!(config.upstreams[0].models.is_match("qwen-7b"));
    assert!(!config.upstreams[0].models.is_match("gpt-4o"));
    let secret = |index: usize| config.auth.keys[index].key.expose_secret();
    assert_eq!(secret(0), "sk-canary-app-0123456789");
    assert_eq!(
        secret(1),
        "a-long-enough-key-from-a-file",
        "the line break stays out"
    );
    assert!(matches!(config.memory.store, Store::Postgres { .. }));
}

#[test]
fn the_stronger_layer_wins() {
    let text = "server.workers = 1\ntools.max_rounds = 1\nmemory.recall_limit = 1";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    fs::write(&path, text).unwrap();
    let env = [
        ("YYCHAT__TOOLS__MAX_ROUNDS", "2"),
        ("YYCHAT__MEMORY__RECALL_LIMIT", "2"),
        ("MEMORY_RETRIEVAL_LIMIT", "9"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into();
    let overrides = vec![("memory.recall_limit".to_owned(), "3".to_owned())];
    let config = load(&Sources {
        file: Some(path),
        env,
        overrides,
    })
    .unwrap()
    .config;
    assert_eq!(config.server.workers, 1);
    assert_eq!(config.tools.max_rounds, 2);
    assert_eq!(config.memory.recall_limit, 3);
}

#[test]
fn old_variables_are_aliases() {
    let config = config(
        "memory.cache_capacity = 5",
        &[
            ("YYCHAT_API_KEY", "sk-canary-0123456789"),
            ("OPENAI_API_KEY", "sk-canary-upstream"),
            ("OPENAI_BASE_URL", "http://127.0.0.1:1234/v1/"),
            ("SERVER_HOST", "0.0.0.0"),
            ("SERVER_PORT", "9800"),
            ("DEFAULT_PERSONALITY", "007"),
            ("ENABLE_MEMORY_RETRIEVAL", "False"),
            ("MEMORY_RETRIEVAL_TIMEOUT", "0.5"),
            ("MEMORY_RETRIEVAL_LIMIT", "7"),
            ("MEMORY_ENABLE_CACHE", "false"),
            ("MEMORY_CACHE_TTL", "60"),
            ("MEMORY_CACHE_SIZE", "100"),
            ("MEMORY_SAVE_MODE", "user_only"),
            ("USE_TOOLS_DEFAULT", "0"),
            ("LOG_LEVEL", "WARNING"),
        ],
    );
    assert_eq!(config.server.listen, "0.0.0.0:9800".parse().unwrap());
    assert_eq!(config.auth.keys[0].name, "default");
    assert_eq!(config.auth.keys[0].tenant, "default");
    assert_eq!(config.upstreams[0].name, "openai");
    assert_eq!(
        config.upstreams[0].base_url.as_str(),
        "http://127.0.0.1:1234/v1"
    );
    let key = config.upstreams[0].api_key.as_ref().unwrap();
    assert_eq!(key.expose_secret(), "sk-canary-upstream");
    assert_eq!(config.personality.default.as_deref(), Some("007"));
    // YYChat goes on saving.
    assert!(config.memory.enabled);
    assert_eq!(config.memory.recall_deadline, Duration::from_millis(500));
    assert_eq!(config.memory.recall_limit, 0);
    assert_eq!(config.memory.cache_capacity, 0);
    assert_eq!(config.memory.cache_ttl, Duration::from_secs(60));
    assert_eq!(config.memory.save, model::Save::User);
    assert!(!config.tools.enabled);
    assert_eq!(config.log.level, "warn");
}

#[test]
fn the_environments_upstream_has_a_default_model_and_its_gateway_an_admin_key() {
    let variables = [
        ("OPENAI_MODEL", "qwen3"),
        ("YYCHAT_ADMIN_KEY", "sk-canary-admin-0123456789"),
    ];
    let plain = config("", &variables);
    assert_eq!(plain.upstreams[0].default_model.as_deref(), Some("qwen3"));
    let key = plain.server.admin_key.expect("an admin key");
    assert_eq!(key.expose_secret(), "sk-canary-admin-0123456789");

    let own = "server.admin_key = { env = \"OTHER\" }\n\
               [[upstreams]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1\"";
    let other = [("OTHER", "sk-canary-other-0123456789")];
    let own = config(own, &[&variables[..], &other].concat());
    assert_eq!(own.upstreams[0].default_model, None);
    let key = own.server.admin_key.expect("an admin key");
    assert_eq!(key.expose_secret(), "sk-canary-other-0123456789");
}

#[test]
fn what_each_key_may_is_read() {
    let path = Path::new("tests/fixtures/config/valid/every_key.toml");
    let config = load_file(path).unwrap().config;
    let [app, other] = &config.auth.keys[..] else {
        panic!("two keys")
    };
    assert_eq!(app.expires.unwrap().to_string(), "2099-12-31T15:59:59Z");
    assert_eq!(
        app.budgets[1],
        model::Budget {
            allowance: model::Allowance::Usd(0.5),
            per: model::Period::Month
        }
    );
    assert!(app.models.as_ref().unwrap().is_match("llama3"));
    assert!(other.models.is_none() && other.budgets.is_empty());
    assert_eq!(other.memory, model::MemoryMode::Full);
    assert_eq!(config.memory.time_zone.iana_name(), Some("Asia/Shanghai"));
    assert!(config.server.admin_hosts.contains("gateway.example.com"));
    assert!(config.cors.origins.allow("http://localhost:3000"));
    assert!(!config.cors.origins.allow("http://localhost:3001"));
}

#[test]
fn general_names_that_are_somebody_elses_are_ignored_and_told_of() {
    for (name, text) in [
        ("SERVER_PORT", "tcp://10.96.0.12:8000"),
        ("SERVER_PORT", "70000"),
        ("SERVER_PORT", "http"),
        ("SERVER_HOST", "server.default.svc"),
        ("SERVER_HOST", "tcp://10.96.0.12"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_LEVEL", "tcp://10.96.0.12:8000"),
        ("LOG_LEVEL", "20"),
    ] {
        let loaded = load_text("", &[(name, text)]).unwrap();
        assert_eq!(
            changed(&loaded.config, &config("", &[])),
            Vec::<String>::new()
        );
        let [warning] = &loaded.warnings[..] else {
            panic!("one warning of {name}={text}")
        };
        let warning = warning.to_string();
        assert!(warning.starts_with(&format!("environment: {name} is {text:?}, which is not")));
    }
    // A name of its own is meant, whatever it says.
    let shown = faults("", &[("YYCHAT__LOG__LEVEL", "verbose")]);
    assert!(shown.contains("set by YYCHAT__LOG__LEVEL"), "{shown}");
}

#[test]
fn opentelemetrys_variables_turn_traces_on() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/"),
        ("OTEL_SERVICE_NAME", "gateway"),
        ("YYCHAT__TRACES__SAMPLE_RATIO", "0.25"),
    ];
    let traces = config("traces.sample_ratio = 1", &variables).traces;
    let endpoint = traces.endpoint.expect("an endpoint");
    assert_eq!(endpoint.as_str(), "http://127.0.0.1:4318/");
    assert_eq!(traces.service_name, "gateway");
    assert!((traces.sample_ratio - 0.25).abs() < f64::EPSILON);
    assert!(config("", &[]).traces.endpoint.is_none());
}

#[test]
fn old_variables_of_lists_yield_to_lists() {
    let upstream = [
        ("OPENAI_API_KEY", "sk-canary-upstream"),
        ("YYCHAT__UPSTREAMS__0__NAME", "local"),
        ("YYCHAT__UPSTREAMS__0__BASE_URL", "http://127.0.0.1:1/v1"),
    ];
    let config = config("", &upstream);
    assert_eq!(config.upstreams[0].name, "local");
    assert!(
        config.upstreams[0].api_key.is_none(),
        "a key must not go elsewhere"
    );
}

#[test]
fn old_variables_may_be_empty_or_ipv6() {
    let config = config(
        "server.listen = \"127.0.0.1:1\"",
        &[
            ("SERVER_HOST", "::1"),
            ("OPENAI_API_KEY", ""),
            ("LOG_LEVEL", ""),
        ],
    );
    assert_eq!(config.server.listen, "[::1]:1".parse().unwrap());
    assert!(config.upstreams[0].api_key.is_none());
}

#[test]
fn lists_can_be_set_whole_or_by_element() {
    let file = "[[upstreams]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1\"\n";
    let element = config(file, &[("YYCHAT__UPSTREAMS__0__NAME", "b")]);
    assert_eq!(element.upstreams[0].name, "b");
    assert_eq!(element.upstreams[0].base_url.port(), Some(1));

    let second = [
        ("YYCHAT__UPSTREAMS__1__NAME", "b"),
        ("YYCHAT__UPSTREAMS__1__BASE_URL", "http://127.0.0.1:2"),
    ];
    assert_eq!(config(file, &second).upstreams.len(), 2);

    for whole in [
        r#"[{ name = "b", base_url = "http://127.0.0.1:2", models = ["x", "y"] }]"#,
        r#"[{"name": "b", "base_url": "http://127.0.0.1:2", "models": ["x", "y"]}]"#,
    ] {
        let config = config(file, &[("YYCHAT__UPSTREAMS", whole)]);
        assert_eq!(config.upstreams.len(), 1);
        assert_eq!(config.upstreams[0].model_patterns, ["x", "y"]);
    }
}

#[test]
fn a_fault_names_the_layer_that_it_comes_from() {
    let shown = faults(
        "[[upstreams]]\nname = \"a\"\n[server]\nworkers = 1",
        &[
            ("YYCHAT__SERVER__WORKERS", "many"),
            ("YYCHAT__SERVR__LISTEN", "127.0.0.1:1"),
            ("YYCHAT__UPSTREAMS__2__NAME", "b"),
            ("YYCHAT__AUTH__KEYS__x", "1"),
            ("MEMORY_RETRIEVAL_TIMEOUT", "later"),
        ],
    );
    for part in [
        "test.toml:1: `upstreams.0.base_url` is missing",
        "environment: `auth.keys`, set by YYCHAT__AUTH__KEYS__x, is a table, expected a list",
        "environment: `server.workers`, set by YYCHAT__SERVER__WORKERS, is text, expected a whole",
        "environment: `servr`, set by YYCHAT__SERVR__LISTEN, is not a known key (did you mean",
        "environment: `upstreams.1.name`, beside YYCHAT__UPSTREAMS__2__NAME, is missing",
        "environment: `memory.recall_deadline`, set by MEMORY_RETRIEVAL_TIMEOUT, is \"later\"",
    ] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
}

#[test]
fn keys_that_a_variable_shadows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.toml");
    let text = "tools.enabled = true\n[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\n\
                [[upstreams]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1/v1\"\n";
    fs::write(&path, text).unwrap();
    let variables = [
        ("SERVER_PORT", "8000"),
        ("USE_TOOLS_DEFAULT", ""),
        ("LOG_LEVEL", "INFO"),
        ("YYCHAT__SERVER__WORKERS", "2"),
        ("YYCHAT__UPSTREAMS__0__BASE_URL", "http://127.0.0.1:2/v1"),
        ("YYCHAT__UPSTREAMS__1__NAME", "b"),
    ];
    let shadowed = shadowed(&Sources {
        file: Some(path),
        env: variables.map(|(n, t)| (n.to_owned(), t.to_owned())).into(),
        ..Sources::default()
    });
    let said = shadowed.iter().map(|fault| {
        let line = fault.line.expect("a line");
        format!("{line} {}", fault.what)
    });
    assert_eq!(
        said.collect::<Vec<_>>(),
        [
            "3 `server.listen` has no effect: the variable SERVER_PORT is stronger",
            "4 `server.workers` has no effect: the variable YYCHAT__SERVER__WORKERS is stronger",
            "7 `upstreams.0.base_url` has no effect: the variable YYCHAT__UPSTREAMS__0__BASE_URL \
             is stronger",
        ]
    );
}

#[test]
fn a_base_url_that_is_none_is_remarked_upon() {
    for (url, remark) in [
        (
            "https://api.openai.com/v1/chat/completions",
            "ends in `/chat/completions`",
        ),
        (
            "https://api.openai.com/v1/chat/completions/",
            "ends in `/chat/completions`",
        ),
        (
            "https://api.anthropic.com/v1/messages",
            "ends in `/messages`",
        ),
        ("http://127.0.0.1:1/v1/responses", "ends in `/responses`"),
        ("http://127.0.0.1:11434", "has no `/v1`"),
        ("http://127.0.0.1:11434/", "has no `/v1`"),
        ("http://127.0.0.1:11434/api", "has no `/v1`"),
        ("https://gateway.example.com/openai", "has no `/v1`"),
    ] {
        let text = format!("[[upstreams]]\nname = \"a\"\nbase_url = \"{url}\"\n");
        let loaded = load_text(&text, &[]).unwrap();
        let [warning] = &loaded.warnings[..] else {
            panic!("one warning of {url}: {:?}", loaded.warnings)
        };
        let warning = warning.to_string();
        assert!(
            warning.contains(remark) && warning.contains("test.toml:3"),
            "{warning}"
        );
    }
    for url in [
        "https://api.openai.com/v1",
        "https://api.deepseek.com",
        "https://open.bigmodel.cn/api/paas/v4/",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "https://name.openai.azure.com/openai/v1/",
        "https://api.groq.com/openai/v1",
        "http://127.0.0.1:1/prefix/v1",
    ] {
        let text = format!("[[upstreams]]\nname = \"a\"\nbase_url = \"{url}\"\n");
        assert_eq!(load_text(&text, &[]).unwrap().warnings, [], "{url}");
    }
}

#[test]
fn a_command_line_fault_says_so() {
    let sources = Sources {
        file: Some("tests/fixtures/config/valid/empty.toml".into()),
        overrides: vec![("server.workers".into(), "x".into())],
        ..Sources::default()
    };
    let faults = load(&sources).unwrap_err();
    assert_eq!(faults.0[0].origin, Path::new("command line"));
}

#[test]
fn changes_are_named_and_those_that_need_a_restart() {
    let old = config("", &[("A", CANARY)]);
    let text = "server.workers = 9\nmemory.store = \"postgres\"\nmemory.url = { env = \"URL\" }\n\
                tools.timeout = \"31s\"\nlog.level = \"debug\"";
    let postgres = |password| {
        let url = format!("postgres://{password}@host/db");
        config(text, &[("URL", &url)])
    };
    let (new, newer) = (postgres("one"), postgres("two"));
    let keys = [
        "log.level",
        "memory.path",
        "memory.store",
        "memory.url",
        "server.workers",
        "tools.timeout",
    ];
    assert_eq!(changed(&old, &new), keys);
    assert_eq!(
        needs_restart(&old, &new),
        [
            "memory.path",
            "memory.store",
            "memory.url",
            "server.workers"
        ]
    );
    assert_eq!(
        changed(&new, &newer),
        ["memory.url"],
        "a secret's new value counts"
    );
    assert_eq!(changed(&new, &new.clone()), Vec::<String>::new());
}

#[test]
fn what_waits_for_a_restart_is_not_in_force() {
    let started = config("", &[]);
    let path = Path::new("tests/fixtures/config/valid/every_key.toml");
    let new = load_file(path).unwrap().config;
    let settled = in_force(&started, &new);
    // That memory is off is in force.
    assert_eq!(needs_restart(&started, &settled), ["memory.enabled"]);
    let mut waits = needs_restart(&started, &new);
    waits.retain(|key| key != "memory.enabled");
    assert_eq!(changed(&settled, &new), waits);
    assert!(in_force(&new, &started).memory.enabled == new.memory.enabled);
}

#[test]
fn the_example_of_old_variables_is_read_and_changes_nothing() {
    let text = fs::read_to_string(".env.example").unwrap();
    let variables = environment::parse(Path::new(".env.example"), &text).unwrap();
    let variables: Vec<_> = variables
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    assert_eq!(
        changed(&config("", &variables), &config("", &[])),
        Vec::<String>::new()
    );
}

#[test]
fn a_line_of_dotenv_that_is_none_is_named_by_number_alone() {
    let faults = environment::parse(Path::new(".env"), "A=1\nsk-canary 'x\nB=2\n").unwrap_err();
    assert_eq!(
        faults.to_string(),
        ".env:2: is not a variable (write NAME=value, in quotes where the value holds spaces)"
    );
}

#[test]
fn a_number_for_a_key_is_an_unknown_key() {
    let shown = faults("0 = 1\n[server]\n1 = {}", &[]);
    assert!(
        shown.contains("test.toml:1: `0` is not a known key"),
        "{shown}"
    );
    assert!(
        shown.contains("test.toml:3: `server.1` is not a known key"),
        "{shown}"
    );
}
