//! A request's body, in each API, and what is put into it. What is refused, serde_json may read or not;
//! what is taken is JSON, stays JSON, and comes back to what it was once the insertions are taken out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use yychat_fuzz::dialect::{
    Composed, Dialect, Fragment, Injection, MemoryText, Persona, PersonaMode, Placement, ToolOffer,
    compose,
};
use yychat_fuzz::wire::Escaped;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    for dialect in Dialect::ALL {
        let Ok(request) = dialect.read(body.clone(), 64) else {
            continue;
        };
        serde_json::from_slice::<IgnoredAny>(&body).expect("what is taken is JSON");
        let composed = compose(&request, &injection(choice));
        let sent = composed.to_bytes();
        assert_eq!(composed.length, sent.len());
        assert_eq!(undo(&composed, &body), body);
        serde_json::from_slice::<IgnoredAny>(&sent).expect("what is sent is JSON");
    }
});

fn injection(choice: u8) -> Injection {
    let persona = Persona {
        fragments: match choice & 4 {
            0 => vec![Fragment::Text(Escaped::new("You are \"P\".\n"))],
            _ => vec![
                Fragment::Original,
                Fragment::Book(Escaped::new("\u{1f980}")),
            ],
        },
        mode: match choice & 3 {
            0 => PersonaMode::Prepend,
            1 => PersonaMode::Append,
            _ => PersonaMode::Replace,
        },
    };
    let memory = MemoryText {
        text: Escaped::new("remembered\\"),
        placement: match choice & 8 {
            0 => Placement::Tail,
            _ => Placement::Head,
        },
    };
    Injection {
        persona: (choice & 16 != 0).then_some(persona),
        memory: (choice & 32 != 0).then_some(memory),
        tools: match choice >> 6 {
            0 => ToolOffer::Keep,
            1 => ToolOffer::Close(vec![Bytes::from_static(b"{}")]),
            _ => ToolOffer::Add(vec![Bytes::from_static(b"{\"type\":\"function\"}")]),
        },
        ..Injection::default()
    }
}

fn undo(composed: &Composed, client: &[u8]) -> Bytes {
    let mut kept = composed.to_bytes().to_vec();
    for insertion in composed.insertions.iter().rev() {
        kept.drain(insertion.at.clone());
    }
    for cut in &composed.cuts {
        kept.splice(cut.start..cut.start, client[cut.clone()].iter().copied());
    }
    kept.into()
}
