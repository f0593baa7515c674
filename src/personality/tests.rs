use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::dialect::{Dialect, Fragment};
use crate::wire::Escaped;

/// A conversation as texts, the oldest first; the user begins, the assistant answers.
struct Talk<'a>(&'a [&'a str]);

impl History for Talk<'_> {
    fn recent(&self, count: usize) -> Vec<Cow<'_, str>> {
        let newest_first = self.0.iter().rev().take(count);
        newest_first.map(|text| Cow::Borrowed(*text)).collect()
    }

    fn messages(&self) -> usize {
        self.0.len()
    }

    fn assistant_messages(&self) -> usize {
        self.0.len() / 2
    }
}

/// A conversation that nobody may look at.
struct Untouched;

impl History for Untouched {
    fn recent(&self, _: usize) -> Vec<Cow<'_, str>> {
        panic!("a persona without a book reads no messages")
    }

    fn messages(&self) -> usize {
        panic!("a persona without a book counts no messages")
    }

    fn assistant_messages(&self) -> usize {
        panic!("a persona without a book counts no messages")
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn valid() -> Personalities {
    Personalities::load(&project("tests/fixtures/personalities/valid")).unwrap()
}

/// What an escaped text says.
fn said(escaped: &Escaped) -> String {
    let quoted = [b"\"", escaped.bytes().as_ref(), b"\""].concat();
    serde_json::from_slice(&quoted).unwrap()
}

fn prompt(assembled: &Assembled) -> String {
    let fragments = assembled.fragments.iter();
    let texts = fragments.map(|fragment| match fragment {
        Fragment::Text(text) | Fragment::Book(text) => said(text),
        Fragment::Original => "<<the client's own>>".to_owned(),
    });
    texts.collect()
}

fn assemble(persona: &Persona, user_name: Option<&str>, history: &dyn History) -> Assembled {
    persona.assemble(&AssembleContext { user_name, history })
}

/// An assembled prompt as people would read it.
fn shown(assembled: &Assembled) -> String {
    let post_history = assembled.post_history.as_ref().map(said);
    format!(
        "{}\n=== post history ===\n{}\n=== book ===\n{}",
        prompt(assembled),
        post_history.unwrap_or_default(),
        serde_json::to_string_pretty(&assembled.book).unwrap(),
    )
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

fn load(files: &[(&str, &[u8])]) -> Result<Personalities, Faults> {
    Personalities::load(folder(files).path())
}

/// The one fault of a folder.
fn fault(files: &[(&str, &[u8])]) -> String {
    let faults = load(files).unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}");
    faults.0[0].to_string()
}

#[derive(Clone, Copy)]
enum Chunk {
    Text,
    Compressed,
    International,
    /// Behind the image data, where many writers put the card.
    Tail,
}

/// A PNG of one pixel with those text chunks.
fn png(chunks: &[(Chunk, &str, &str)]) -> Vec<u8> {
    let mut image = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut image, 1, 1);
    encoder.set_color(::png::ColorType::Grayscale);
    for (kind, keyword, text) in chunks {
        let (keyword, text) = ((*keyword).to_owned(), (*text).to_owned());
        match kind {
            Chunk::Text => encoder.add_text_chunk(keyword, text).unwrap(),
            Chunk::Compressed => encoder.add_ztxt_chunk(keyword, text).unwrap(),
            Chunk::International => encoder.add_itxt_chunk(keyword, text).unwrap(),
            Chunk::Tail => {}
        }
    }
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[0]).unwrap();
    for (kind, keyword, text) in chunks {
        if let Chunk::Tail = kind {
            let text = ::png::text_metadata::TEXtChunk::new(*keyword, *text);
            writer.write_text_chunk(&text).unwrap();
        }
    }
    writer.finish().unwrap();
    image
}

fn card(spec: &str, name: &str) -> String {
    BASE64_STANDARD.encode(json!({ "spec": spec, "data": { "name": name } }).to_string())
}

#[test]
fn every_valid_file_is_loaded_and_sorted_by_id() {
    let personalities = valid();
    let ids: Vec<&str> = personalities
        .iter()
        .map(|persona| persona.id.as_str())
        .collect();
    assert_eq!(ids, ["city-guide", "innkeeper", "navigator", "诗人"]);
    assert!(personalities.get("City-Guide").is_none());
}

#[test]
fn yychats_text_is_sent_as_it_is_written() {
    let personalities = valid();
    let guide = personalities.get("city-guide").unwrap();
    let assembled = assemble(&guide, Some("Ada"), &Untouched);
    let [Fragment::Text(text)] = assembled.fragments.as_slice() else {
        panic!("one fragment, for it has no dynamic part");
    };
    assert_eq!(
        said(text),
        "You are a city guide.\n\"Be brief\" — {{user}} is in a hurry.\n"
    );
    assert!(assembled.post_history.is_none());

    let poet = personalities.get("诗人").unwrap();
    let assembled = assemble(&poet, None, &Untouched);
    assert_eq!(prompt(&assembled), "You are a poet.\nAnswer in verse.");
}

#[test]
fn a_persona_without_dynamic_parts_shares_its_bytes() {
    let guide = valid().get("city-guide").unwrap();
    let address = |assembled: &Assembled| match &assembled.fragments[..] {
        [Fragment::Text(text)] => text.bytes().as_ptr(),
        other => panic!("one fragment, not {other:?}"),
    };
    let first = assemble(&guide, None, &Untouched);
    let second = assemble(&guide, Some("Ada"), &Untouched);
    assert_eq!(address(&first), address(&second));
}

#[test]
fn allowed_tools_are_absent_empty_or_named() {
    let personalities = valid();
    let tools = |id: &str| {
        let tools = personalities.get(id).unwrap().allowed_tools.clone();
        tools.map(|tools| {
            tools
                .into_iter()
                .map(|tool| tool.tool_name)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(tools("city-guide").unwrap(), ["gettime", "calculator"]);
    assert_eq!(tools("诗人").unwrap(), [] as [&str; 0]);
    assert_eq!(tools("innkeeper").unwrap(), ["gettime"]);
    assert_eq!(tools("navigator"), None);
}

#[test]
fn the_detail_keeps_every_key_and_the_summary_is_short() {
    let personalities = valid();
    let guide = personalities.get("city-guide").unwrap();
    assert_eq!(guide.detail()["voice_settings"]["voice"], "shimmer");
    assert_eq!(guide.detail()["traits"], json!(["quick"]));
    let innkeeper = personalities.get("innkeeper").unwrap();
    assert_eq!(
        innkeeper.detail()["alternate_greetings"],
        json!(["\"We're full.\""])
    );
    assert_eq!(innkeeper.detail()["id"], "innkeeper");
    let poet = personalities.get("诗人").unwrap();
    assert_eq!(poet.detail()["behavior_patterns"]["rhyme"], true);
    assert_eq!(
        poet.summary(),
        json!({ "id": "诗人", "object": "personality", "name": "Poet", "format": "yychat", "allowed_tools": [] })
    );
    assert_eq!(
        personalities.get("navigator").unwrap().summary()["allowed_tools"],
        Value::Null
    );
}

#[test]
fn golden_prompts_of_a_v2_card() {
    let innkeeper = valid().get("innkeeper").unwrap();
    insta::assert_snapshot!(
        "v2_quiet",
        shown(&assemble(&innkeeper, None, &Talk(&["Hello."])))
    );
    let talk = Talk(&["Hello.", "Come in.", "What inn is this?"]);
    insta::assert_snapshot!(
        "v2_book",
        shown(&assemble(&innkeeper, Some("Ada \"A\""), &talk))
    );
}

#[test]
fn golden_prompts_of_a_v3_card() {
    let navigator = valid().get("navigator").unwrap();
    let talk = Talk(&["飞船叫什么？", "远星。", "Jump 4 now"]);
    insta::assert_snapshot!("v3_book", shown(&assemble(&navigator, None, &talk)));
}

#[test]
fn golden_prompts_of_the_shipped_personalities() {
    let shipped = Personalities::load(&project("conf/personalities")).unwrap();
    let ids: Vec<&str> = shipped.iter().map(|persona| persona.id.as_str()).collect();
    assert_eq!(ids, ["friendly", "health_assistant", "professional"]);
    for persona in shipped.iter() {
        insta::assert_snapshot!(
            format!("shipped_{}", persona.id),
            shown(&assemble(persona, None, &Untouched))
        );
        for tool in persona.allowed_tools.as_deref().unwrap_or_default() {
            let known = ["calculator", "gettime", "tavily_search"];
            assert!(known.contains(&tool.tool_name.as_str()), "{tool:?}");
        }
    }
}

#[test]
fn invalid_files_are_all_reported_at_once() {
    let dir = project("tests/fixtures/personalities/invalid");
    let faults = Personalities::load(&dir).unwrap_err();
    let count = fs::read_dir(&dir).unwrap().count();
    // `bad_regex.json` has two faults; of the twins, only the second is at fault.
    assert_eq!(faults.0.len(), count, "{faults}");
    let report = faults
        .to_string()
        .replace(&format!("{}/", dir.display()), "");
    insta::assert_snapshot!("invalid", report);
}

#[test]
fn files_that_are_no_personalities_are_passed_over() {
    let dir = folder(&[
        ("README.md", b"no"),
        (".hidden.json", b"no"),
        ("noending", b"no"),
        ("a.json", br#"{"system_prompt":"x"}"#),
        (
            "B.JSON",
            b"\xef\xbb\xbf{\"system_prompt\":\"with a byte order mark\"}",
        ),
    ]);
    fs::create_dir(dir.path().join("folder.json")).unwrap();
    let personalities = Personalities::load(dir.path()).unwrap();
    let ids: Vec<&str> = personalities
        .iter()
        .map(|persona| persona.id.as_str())
        .collect();
    assert_eq!(ids, ["B", "a"]);
}

#[cfg(unix)]
#[test]
fn kubernetes_links_are_followed_and_counted_once() {
    use std::os::unix::fs::symlink;
    let dir = TempDir::new().unwrap();
    let generation = dir.path().join("..2026_01_01");
    fs::create_dir(&generation).unwrap();
    fs::write(generation.join("a.json"), r#"{"system_prompt":"x"}"#).unwrap();
    symlink("..2026_01_01", dir.path().join("..data")).unwrap();
    symlink("..data/a.json", dir.path().join("a.json")).unwrap();
    assert_eq!(Personalities::load(dir.path()).unwrap().iter().len(), 1);

    symlink("..data/gone.json", dir.path().join("gone.json")).unwrap();
    let faults = Personalities::load(dir.path()).unwrap_err();
    assert!(
        faults.to_string().contains("gone.json: cannot be read"),
        "{faults}"
    );
}

#[test]
fn a_missing_folder_is_a_fault_with_its_mend() {
    let faults = Personalities::load(Path::new("no/such/folder")).unwrap_err();
    assert!(
        faults.to_string().contains("set `personality.dir`"),
        "{faults}"
    );
}

#[test]
fn a_huge_file_is_a_fault() {
    let huge = vec![b' '; super::load::MAX_BYTES + 1];
    assert!(fault(&[("a.json", &huge)]).contains("larger than 16 MiB"));
}

#[test]
fn a_card_is_read_from_every_kind_of_text_chunk() {
    for kind in [
        Chunk::Text,
        Chunk::Compressed,
        Chunk::International,
        Chunk::Tail,
    ] {
        let image = png(&[
            (Chunk::Text, "Comment", "a picture"),
            (kind, "chara", &card("chara_card_v2", "Mira")),
        ]);
        let personalities = load(&[("mira.png", &image)]).unwrap();
        let mira = personalities.get("mira").unwrap();
        assert_eq!(
            (mira.name.as_str(), mira.format),
            ("Mira", Format::CharaCardV2)
        );
    }
}

#[test]
fn ccv3_is_preferred_wherever_it_stands() {
    let (old, new) = (card("chara_card_v2", "Old"), card("chara_card_v3", "New"));
    for (first, second) in [(Chunk::Text, Chunk::Text), (Chunk::Text, Chunk::Tail)] {
        let image = png(&[(first, "chara", &old), (second, "ccv3", &new)]);
        let personalities = load(&[("x.png", &image)]).unwrap();
        assert_eq!(personalities.get("x").unwrap().name, "New");
    }
}

#[test]
fn damaged_images_say_what_is_wrong() {
    let text = card("chara_card_v2", "Mira");
    let whole = png(&[(Chunk::Text, "chara", &text)]);
    let without = png(&[(Chunk::Text, "Comment", "x")]);
    assert!(fault(&[("a.png", &without)]).contains("neither a `ccv3` nor a `chara`"));
    assert!(fault(&[("a.png", &whole[..40])]).contains("not a readable PNG"));
    let cut = png(&[(Chunk::Text, "chara", &text[..text.len() - 7])]);
    assert!(fault(&[("a.png", &cut)]).contains("a.png: "));
    let garbage = png(&[(Chunk::Text, "chara", "%%%%")]);
    assert!(fault(&[("a.png", &garbage)]).contains("`chara` chunk is not valid base64"));
    let latin = png(&[(Chunk::Text, "chara", &BASE64_STANDARD.encode(b"\xff{}"))]);
    assert!(fault(&[("a.png", &latin)]).contains("is not UTF-8"));
    let unknown = png(&[(
        Chunk::Text,
        "chara",
        &BASE64_STANDARD.encode("{\"name\":\"V1\"}"),
    )]);
    assert!(fault(&[("a.png", &unknown)]).contains("the card has no `spec`"));
    let bomb = png(&[(
        Chunk::Compressed,
        "ccv3",
        &"A".repeat(super::load::MAX_BYTES + 1),
    )]);
    assert!(fault(&[("a.png", &bomb)]).contains("not a readable PNG"));
}

#[test]
fn the_user_is_named_only_where_the_card_names_one() {
    let text = json!({ "spec": "chara_card_v2", "data": {
        "name": "Mira", "description": "{{char}} knows {{user}}.",
        "post_history_instructions": "Greet <user>.",
    }});
    let personalities = load(&[("mira.json", text.to_string().as_bytes())]).unwrap();
    let mira = personalities.get("mira").unwrap();
    let fallback = "You are Mira. Stay in character in every reply.";
    for (name, expected) in [(None, "User"), (Some(""), "User"), (Some("李雷"), "李雷")] {
        let assembled = assemble(&mira, name, &Untouched);
        assert_eq!(
            prompt(&assembled),
            format!("{fallback}\n\nMira knows {expected}.")
        );
        let post_history = assembled.post_history.as_ref().map(said);
        assert_eq!(post_history, Some(format!("Greet {expected}.")));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let dir = folder(&[("a.json", &bytes), ("b.toml", &bytes), ("c.png", &bytes)]);
        prop_assert!(Personalities::load(dir.path()).is_err());
    }

    #[test]
    fn no_damage_to_an_image_makes_the_loader_panic(
        at in 0usize..400, byte in any::<u8>(), keep in 0usize..400,
    ) {
        let mut image = png(&[(Chunk::Compressed, "ccv3", &card("chara_card_v3", "Mira"))]);
        let at = at % image.len();
        image[at] = byte;
        image.truncate(keep.max(1));
        let _ = load(&[("c.png", &image)]);
    }

    #[test]
    fn no_card_text_makes_the_loader_or_a_request_panic(
        text in "([{}<>:,/@\\\\\n ]|user|char|random|pick|roll|//|龙|[a-z0-9]){0,40}",
        key in "\\PC{0,12}",
        regex in any::<bool>(),
    ) {
        let card = json!({ "spec": "chara_card_v3", "data": {
            "name": "x", "system_prompt": text, "mes_example": text,
            "character_book": { "recursive_scanning": true, "token_budget": 9, "entries": [
                { "keys": [key], "use_regex": regex, "content": text },
                { "constant": true, "content": text },
            ]},
        }});
        if let Ok(personalities) = load(&[("x.json", card.to_string().as_bytes())]) {
            let persona = personalities.get("x").unwrap();
            let shown = shown(&assemble(&persona, Some("Ada"), &Talk(&[&text, &key])));
            prop_assert!(!shown.is_empty());
        }
    }

    #[test]
    fn any_yychat_prompt_is_sent_as_it_is_written(text in "\\PC*[^\\s]\\PC*") {
        let file = json!({ "system_prompt": text }).to_string();
        let personalities = load(&[("x.json", file.as_bytes())]).unwrap();
        let assembled = assemble(&personalities.get("x").unwrap(), None, &Untouched);
        prop_assert_eq!(prompt(&assembled), text);
    }
}

#[test]
fn a_request_is_read_as_a_conversation() {
    let body = json!({ "messages": [
        { "role": "system", "content": "the inn" },
        { "role": "user", "content": "one" },
        { "role": "assistant", "content": null },
        { "role": "tool", "tool_call_id": "x", "content": "the inn" },
        { "role": "assistant", "content": "two" },
        { "role": "user", "content": [{ "type": "text", "text": "thr\u{e9}e" }] },
    ]});
    let request = Dialect::Chat.read(body.to_string().into(), 64).unwrap();
    assert_eq!(request.recent(2), ["thrée", "two"]);
    assert_eq!(request.recent(9), ["thrée", "two", "", "one"]);
    let history: &dyn History = &request;
    assert_eq!((history.messages(), history.assistant_messages()), (4, 2));
    let innkeeper = valid().get("innkeeper").unwrap();
    assert!(assemble(&innkeeper, None, &request).book.is_empty());
}
