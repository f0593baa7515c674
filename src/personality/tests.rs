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
use crate::reading::Reading;
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
    Personalities::load(
        &project("tests/fixtures/personalities/valid"),
        None,
        &Reading::default(),
    )
    .unwrap()
}

fn odd() -> Personalities {
    Personalities::load(
        &project("tests/fixtures/personalities/odd"),
        None,
        &Reading::default(),
    )
    .unwrap()
}

/// What is wrong with the files of a folder.
fn faults(personalities: &Personalities) -> Vec<String> {
    let broken = personalities.broken().iter();
    let faults = broken.flat_map(|broken| &broken.faults.0);
    faults.map(ToString::to_string).collect()
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
    let now = "2026-11-03T20:05:09[UTC]".parse().unwrap();
    persona.assemble(&AssembleContext {
        user_name,
        now,
        history,
    })
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

fn load(files: &[(&str, &[u8])]) -> Personalities {
    Personalities::load(folder(files).path(), None, &Reading::default()).unwrap()
}

/// The one fault of a folder.
fn fault(files: &[(&str, &[u8])]) -> String {
    let faults = faults(&load(files));
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.concat()
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

#[path = "packed_tests.rs"]
mod packed;

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
    let shipped =
        Personalities::load(&project("conf/personalities"), None, &Reading::default()).unwrap();
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
    let personalities = Personalities::load(&dir, None, &Reading::default()).unwrap();
    let faults = faults(&personalities);
    let count = fs::read_dir(&dir).unwrap().count();
    // Of the twins, only the second is at fault.
    assert_eq!(faults.len(), count - 1, "{faults:?}");
    let ids: Vec<&str> = personalities.iter().map(|persona| &*persona.id).collect();
    assert_eq!(ids, ["twin"]);
    let report = faults
        .join("\n")
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
    let personalities = Personalities::load(dir.path(), None, &Reading::default()).unwrap();
    let ids: Vec<&str> = personalities
        .iter()
        .map(|persona| persona.id.as_str())
        .collect();
    assert_eq!(ids, ["B", "a"]);
}

#[test]
fn a_personality_in_yaml_is_a_fault_that_says_so() {
    let told = fault(&[(
        "seraphina.yaml",
        b"# mine\nname: Seraphina\ncontext: |-\n  She heals.\n",
    )]);
    assert!(told.contains("in YAML, which is not read"), "{told}");
    assert!(told.contains("seraphina.yaml:2"), "{told}");
    let passed = load(&[("compose.yml", b"services:\n  a:\n    name: x\n")]);
    assert!(faults(&passed).is_empty());
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
    assert_eq!(
        Personalities::load(dir.path(), None, &Reading::default())
            .unwrap()
            .iter()
            .len(),
        1
    );

    symlink("..data/gone.json", dir.path().join("gone.json")).unwrap();
    let faults = faults(&Personalities::load(dir.path(), None, &Reading::default()).unwrap());
    assert!(
        faults[0].contains("gone.json: cannot be read"),
        "{faults:?}"
    );
}

#[test]
fn a_missing_folder_is_a_fault_with_its_mend() {
    let faults =
        Personalities::load(Path::new("no/such/folder"), None, &Reading::default()).unwrap_err();
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
        let personalities = load(&[("mira.png", &image)]);
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
        let personalities = load(&[("x.png", &image)]);
        assert_eq!(personalities.get("x").unwrap().name, "New");
    }
}

#[test]
fn a_damaged_card_gives_way_to_a_whole_one() {
    let old = card("chara_card_v2", "Old");
    for damaged in ["%%%%", &old[..old.len() - 8], "bm90IGpzb24="] {
        let image = png(&[(Chunk::Text, "ccv3", damaged), (Chunk::Tail, "chara", &old)]);
        let personalities = load(&[("x.png", &image)]);
        assert_eq!(personalities.get("x").unwrap().name, "Old");
    }
    // Some writers do not compute checksums, some do not encode.
    let plain = json!({ "name": "V1", "description": "d" }).to_string();
    let mut image = png(&[(Chunk::Text, "Chara", &plain)]);
    let at = image.windows(4).position(|bytes| bytes == b"IDAT").unwrap();
    image[at - 8..at - 4].copy_from_slice(&[0; 4]);
    let personalities = load(&[("x.png", &image)]);
    let v1 = personalities.get("x").unwrap();
    assert_eq!((&*v1.name, v1.format), ("V1", Format::CharaCardV1));
}

#[test]
fn a_picture_beside_its_card_is_no_fault() {
    let picture = png(&[]);
    let file = br#"{"system_prompt":"x"}"#;
    assert!(faults(&load(&[("a.png", &picture), ("a.json", file)])).is_empty());
    assert!(fault(&[("b.png", &picture), ("a.json", file)]).contains("b.png: the image holds no"));
}

#[test]
fn cards_are_read_as_the_programs_that_write_them_read_them() {
    let odd = odd();
    assert_eq!(faults(&odd), [] as [&str; 0]);
    let prompt_of = |id: &str, talk: &[&str]| {
        prompt(&assemble(&odd.get(id).unwrap(), Some("Ada"), &Talk(talk)))
    };
    let in_character = "Stay in character in every reply.";
    let fallback = |name: &str| format!("You are {name}. {in_character}");
    for (id, format, expected) in [
        (
            "as_texts",
            Format::CharaCardV2,
            fallback("Numbers") + "\n\nalways\n\n7\n\nScenario: one\ntwo",
        ),
        (
            "v1",
            Format::CharaCardV1,
            fallback("Vee")
                + "\n\nVee is from the first version.\n\nVee's personality: dry\n\n[Example conversation]\nAda: Hi.\nVee: Hm.",
        ),
        (
            "notepad",
            Format::CharaCardV1,
            fallback("Pyg") + "\n\nPyg digs.\n\nScenario: a farm",
        ),
        (
            "wrapped",
            Format::CharaCardV2,
            fallback("Wren") + "\n\nWren is small.",
        ),
        (
            "flat",
            Format::CharaCardV2,
            "You are flat.\n\nWithout data.".to_owned(),
        ),
        (
            "later",
            Format::CharaCardV3,
            fallback("Lat") + "\n\nLat comes later.",
        ),
        (
            "nameless",
            Format::CharaCardV2,
            fallback("nameless") + "\n\nnameless has no name.",
        ),
    ] {
        assert_eq!(odd.get(id).unwrap().format, format, "{id}");
        assert_eq!(prompt_of(id, &["hello"]), expected, "{id}");
    }
    let told = prompt_of("as_texts", &["An INN for A,B"]);
    assert!(told.ends_with("early\n\nlate"), "{told}");
    let told = prompt_of("world_info", &["the ford"]);
    assert!(
        told.contains("The bridge.\n\nThe ford.\n\nAtlas knows."),
        "{told}"
    );
    let warned: Vec<_> = odd.warnings().map(ToString::to_string).collect();
    assert_eq!(warned.len(), 2, "{warned:?}");
    assert!(
        warned[0].contains("`character_book.entries[4]` is no object"),
        "{warned:?}"
    );
}

#[test]
fn golden_prompts_of_an_export_of_sillytavern() {
    let mira = odd().get("sillytavern").unwrap();
    insta::assert_snapshot!(
        "st_quiet",
        shown(&assemble(&mira, None, &Talk(&["Hello."])))
    );
    let talk = Talk(&[
        "Is mira's cellar dry?",
        "*smiles* No.",
        "Rain and flood! Here is a gold (coin), and it is haunted?",
    ]);
    insta::assert_snapshot!("st_book", shown(&assemble(&mira, Some("Ada"), &talk)));
}

#[test]
fn texts_come_in_what_windows_and_javascript_write() {
    let text = r#"{"name":"W","description":"cut \ud83d and whole \ud83d\ude00"}"#;
    let utf16: Vec<u8> = format!("\u{feff}{text}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let marked = format!("\u{feff}{text}\0");
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let personalities = load(&[
        ("a.json", &utf16),
        ("b.json", marked.as_bytes()),
        // Without a mark.
        ("c.json", &utf16[2..]),
        ("d.json", &big),
    ]);
    for id in ["a", "b", "c", "d"] {
        let persona = personalities.get(id).unwrap();
        let told = prompt(&assemble(&persona, None, &Untouched));
        assert!(told.ends_with("cut \u{fffd} and whole 😀"), "{told}");
    }
}

#[test]
fn an_id_is_one_however_its_letters_are_composed() {
    let (composed, decomposed) = ("민지 é", "민지 é".nfd().collect::<String>());
    assert_ne!(composed, decomposed);
    let file = br#"{"system_prompt":"x"}"#;
    let own = json!({ "id": decomposed, "system_prompt": "x" }).to_string();
    for personalities in [
        load(&[(&format!("{decomposed}.json"), file)]),
        load(&[(&format!("{composed}.json"), file)]),
        load(&[("own.json", own.as_bytes())]),
    ] {
        for id in [composed, &decomposed] {
            assert_eq!(personalities.find(id).unwrap().id, composed);
        }
    }
    let both = load(&[
        (&format!("{decomposed}.json"), file),
        ("own.json", own.as_bytes()),
    ]);
    assert!(faults(&both)[0].contains("is that of"), "{both:?}");
}

#[test]
fn a_broken_file_costs_its_own_persona_alone() {
    let dir = folder(&[
        ("a.json", br#"{"id":"ada","system_prompt":"first"}"#),
        ("b.json", br#"{"system_prompt":"x"}"#),
        ("c.json", b"{"),
    ]);
    let first = Personalities::load(dir.path(), None, &Reading::default()).unwrap();
    let ids = |personalities: &Personalities| {
        let ids = personalities.iter().map(|persona| persona.id.clone());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ["ada", "b"]);
    let refused = first.find("c").unwrap_err();
    assert_eq!(
        (refused.status.as_u16(), refused.code),
        (404, Some("personality_not_found"))
    );
    assert!(
        refused
            .message
            .contains("`c` cannot be used: c.json:1: EOF"),
        "{refused}"
    );
    assert!(
        first
            .find("d")
            .unwrap_err()
            .message
            .contains("There is no personality `d`")
    );

    fs::write(dir.path().join("a.json"), "{").unwrap();
    fs::remove_file(dir.path().join("b.json")).unwrap();
    let second = Personalities::load(dir.path(), Some(&first), &Reading::default()).unwrap();
    assert_eq!(ids(&second), ["ada"]);
    let last_good = |personalities: &Personalities| {
        let broken = personalities.broken().iter();
        broken
            .map(|broken| (broken.id.clone(), broken.is_last_good))
            .collect::<Vec<_>>()
    };
    let kept = [("ada".to_owned(), true), ("c".to_owned(), false)];
    assert_eq!(last_good(&second), kept);
    // The last good one outlives the next reload too.
    let third = Personalities::load(dir.path(), Some(&second), &Reading::default()).unwrap();
    assert_eq!(last_good(&third), kept);
    fs::write(
        dir.path().join("a.json"),
        r#"{"id":"bob","system_prompt":"x"}"#,
    )
    .unwrap();
    let fourth = Personalities::load(dir.path(), Some(&third), &Reading::default()).unwrap();
    assert_eq!(ids(&fourth), ["bob"]);
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
    let other = BASE64_STANDARD.encode("{\"workflow\":\"x\"}");
    let other = png(&[(Chunk::Text, "chara", &other)]);
    assert!(fault(&[("a.png", &other)]).contains("is no character card"));
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
    let personalities = load(&[("mira.json", text.to_string().as_bytes())]);
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
        let personalities = Personalities::load(dir.path(), None, &Reading::default()).unwrap();
        prop_assert_eq!(personalities.iter().len(), 0);
        prop_assert_eq!(personalities.broken().len(), 3);
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
        let personalities = load(&[("x.json", card.to_string().as_bytes())]);
        let persona = personalities.get("x").unwrap();
        let shown = shown(&assemble(&persona, Some("Ada"), &Talk(&[&text, &key])));
        prop_assert!(!shown.is_empty());
    }

    #[test]
    fn any_yychat_prompt_is_sent_as_it_is_written(text in "\\PC*[^\\s]\\PC*") {
        let file = json!({ "system_prompt": text }).to_string();
        let personalities = load(&[("x.json", file.as_bytes())]);
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
