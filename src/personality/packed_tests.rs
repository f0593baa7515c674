//! Cards that are packed into other files, and those that other programs write.

use std::io::{Cursor, Write};

use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// An archive of those files, kept as they are.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let kept = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in files {
        archive.start_file(*name, kept).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// An archive as other programs write it: `card.json`, deflated.
const DEFLATED: &str = "UEsDBBQAAAAIAAAAIVx1+2v7QgAAAGQAAAAJAAAAY2FyZC5qc29uq1YqLkhNVrJSUErOSCxKjE9OLEqJLzNW0lFQSk\
    ksSQRKVCvlJeamglT4ZhYlgiVSi5OLMgtKMvPzQMIpeIFSbS0AUEsBAhQDFAAAAAgAAAAhXHX7a/tCAAAAZAAAAAkA\
    AAAAAAAAAAAAAIABAAAAAGNhcmQuanNvblBLBQYAAAAAAQABADcAAABpAAAAAAA=";

#[test]
fn a_card_is_read_from_a_charx() {
    let card = json!({"spec": "chara_card_v3", "data": {"name": "Mira", "description": "d"}});
    let stored = archive(&[
        ("assets/icon/image/main.png", b"picture"),
        ("card.json", format!("\u{feff}{card}").as_bytes()),
    ]);
    let behind_a_picture = [b"\xff\xd8\xff\xe0picture".as_slice(), &stored].concat();
    let deflated = BASE64_STANDARD.decode(DEFLATED).unwrap();
    for archive in [stored, behind_a_picture, deflated] {
        let personalities = load(&[("Mira.CHARX", &archive)]);
        assert_eq!(faults(&personalities), [""; 0]);
        let mira = personalities.get("Mira").unwrap();
        assert_eq!((&*mira.name, mira.format), ("Mira", Format::CharaCardV3));
    }
}

#[test]
fn a_charx_without_a_card_says_so() {
    let fault = |archive: &[u8]| fault(&[("x.charx", archive)]);
    assert!(fault(&archive(&[("other.json", b"{}")])).contains("holds no `card.json`"));
    assert!(fault(&archive(&[("card.json", b"\xff")])).contains("`card.json` is not UTF-8"));
    assert!(fault(&archive(&[("card.json", b"{")])).contains("x.charx:1: EOF"));
    assert!(fault(b"no archive").contains("not a readable CHARX"));
}

#[test]
fn a_chunk_is_decoded_however_its_writer_encoded_it() {
    let json = json!({"name": "Mira", "description": "??>>~~\u{ff}\u{ff}\u{ff}"}).to_string();
    let standard = BASE64_STANDARD.encode(&json);
    for encoded in [
        BASE64_URL_SAFE_NO_PAD.encode(&json),
        format!("data:application/json;base64,{standard}"),
        BASE64_STANDARD.encode(format!("\u{feff}{json}")),
        BASE64_STANDARD.encode(format!("{json}\0\0")),
        format!("{}\n{}\n", &standard[..20], &standard[20..]),
    ] {
        let image = png(&[(Chunk::Text, "chara", &encoded)]);
        let personalities = load(&[("x.png", &image)]);
        let mira = personalities
            .get("x")
            .unwrap_or_else(|| panic!("{encoded}"));
        assert_eq!(mira.name, "Mira");
    }
}

#[test]
fn fields_are_found_under_the_names_of_other_programs() {
    let talk = Talk(&["a dragon"]);
    let book = json!({"entries": [{"keys": ["dragon"], "content": "LORE"}]});
    for card in [
        json!({"name": "M", "description": "d", "first_mes": "", "characterBook": book}),
        json!({"name": "M", "description": "d", "first_mes": "", "lorebook": book}),
        json!({"data": {"name": "M", "desc": "d", "globalLore": book["entries"]}}),
        json!({"name": "M", "description": "d", "first_mes": "", "character_book": null,
            "extensions": {"character_book": book}}),
    ] {
        let personalities = load(&[("x.json", card.to_string().as_bytes())]);
        let prompt = prompt(&assemble(&personalities.get("x").unwrap(), None, &talk));
        assert!(prompt.ends_with("LORE\n\nd"), "{card}: {prompt}");
    }
    let bare = json!({"name": "M", "description": "", "personality": null});
    let bare = load(&[("x.json", bare.to_string().as_bytes())]);
    assert_eq!(bare.get("x").unwrap().format, Format::CharaCardV1);
}

#[test]
fn a_bound_below_nothing_bounds_nothing() {
    let card = json!({"name": "M", "description": "d", "first_mes": "", "character_book": {
        "scan_depth": -1, "token_budget": -1,
        "entries": [{"keys": ["dragon"], "content": "LORE"}]}});
    let personalities = load(&[("x.json", card.to_string().as_bytes())]);
    let assembled = assemble(&personalities.get("x").unwrap(), None, &Talk(&["a dragon"]));
    assert!(prompt(&assembled).contains("LORE"));
}

#[test]
fn what_holds_no_personality_or_several_says_so() {
    let fault = |json: &str| fault(&[("x.json", json.as_bytes())]);
    assert!(fault("").contains("x.json: is empty"));
    assert!(fault(" \n").contains("x.json: is empty"));
    let two = r#"[{"name":"A","description":"a"},{"name":"B","description":"b"}]"#;
    assert!(fault(two).contains("is a list of 2, and a personality is one"));
    assert!(fault("null").contains("it holds no object"));
}
