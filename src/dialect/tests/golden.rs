//! Every body under `tests/fixtures/chat/`, composed in the usual ways, beside a snapshot named
//! after it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use bytes::Bytes;

use crate::dialect::{
    Composed, Dialect, Fragment, Injection, MemoryText, Persona, PersonaMode, Placement, ToolOffer,
    compose,
};
use crate::wire::Escaped;

const TOOL: &[u8] = br#"{"type":"function","function":{"name":"gettime","parameters":{}}}"#;

fn injection(mode: PersonaMode, placement: Placement) -> Injection {
    Injection {
        persona: Some(Persona {
            fragments: vec![
                Fragment::Text(Escaped::new("You are \"Ada\".\n")),
                Fragment::Book(Escaped::new("Ada lives in London.")),
            ],
            mode,
        }),
        memory: Some(MemoryText {
            text: Escaped::new("<memory>likes tea</memory>"),
            placement,
        }),
        post_history: Some(Escaped::new("Stay brief.")),
        tools: ToolOffer::Add(vec![Bytes::from_static(TOOL)]),
        ..Injection::default()
    }
}

fn ways() -> [(&'static str, Injection); 5] {
    let mut quoting = injection(PersonaMode::Prepend, Placement::Tail);
    quoting.persona = Some(Persona {
        fragments: vec![
            Fragment::Text(Escaped::new("You are Ada.\n[")),
            Fragment::Original,
            Fragment::Text(Escaped::new("]")),
        ],
        mode: PersonaMode::Prepend,
    });
    [
        (
            "prepend, memory at the tail",
            injection(PersonaMode::Prepend, Placement::Tail),
        ),
        (
            "append, memory at the head",
            injection(PersonaMode::Append, Placement::Head),
        ),
        ("the original quoted", quoting),
        (
            "replace, strict roles, a last leg that calls nothing",
            Injection {
                strict_roles: true,
                tools: ToolOffer::Close(vec![Bytes::from_static(TOOL)]),
                follow_up: vec![Bytes::from_static(
                    br#"{"role":"tool","tool_call_id":"call_1","content":"noon"}"#,
                )],
                ..injection(PersonaMode::Replace, Placement::Tail)
            },
        ),
        (
            "append, strict roles",
            Injection {
                strict_roles: true,
                ..injection(PersonaMode::Append, Placement::Tail)
            },
        ),
    ]
}

fn show(composed: &Composed, client: &str) -> String {
    let output = composed.to_bytes();
    let output = str::from_utf8(&output).expect("UTF-8");
    let mut shown = format!("{output}\n");
    for insertion in &composed.insertions {
        let text = &output[insertion.at.clone()];
        writeln!(shown, "  + {:?}: {text}", insertion.source).expect("in memory");
    }
    for cut in &composed.cuts {
        writeln!(shown, "  - {}", &client[cut.clone()]).expect("in memory");
    }
    shown
}

#[test]
fn bodies_come_out_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/chat");
    let mut bodies = 0;
    for entry in fs::read_dir(folder).expect("the fixtures") {
        let path = entry.expect("a fixture").path();
        let client = fs::read_to_string(&path).expect("a body");
        let request = Dialect::Chat
            .read(client.clone().into(), 64)
            .expect("a valid body");
        let shown: Vec<_> = ways()
            .iter()
            .map(|(way, injection)| {
                format!(
                    "== {way} ==\n{}",
                    show(&compose(&request, injection), &client)
                )
            })
            .collect();
        let name = path.file_stem().expect("a name").to_string_lossy();
        insta::assert_snapshot!(&*name, shown.join("\n"));
        bodies += 1;
    }
    assert!(bodies > 0);
}
