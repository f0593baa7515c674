//! A folder with one personality file of any content: faults or a persona, which can be shown and
//! assembled for any conversation.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use libfuzzer_sys::fuzz_target;
use yychat_fuzz::dialect::{Dialect, Request};
use yychat_fuzz::personality::{AssembleContext, Personalities};
use yychat_fuzz::reading::Reading;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("yychat-fuzz-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder that can be made");
    folder
});

static CHAT: LazyLock<Request> = LazyLock::new(|| {
    let body = br#"{"messages":[{"role":"user","content":"a dragon, two keys"},
        {"role":"assistant","content":"b"},{"role":"user","content":"c 3 \u9f99"}]}"#;
    Dialect::Chat
        .read(Bytes::from_static(body), 64)
        .expect("a chat")
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, content)) = input.split_first() else {
        return;
    };
    let (name, content) = match choice % 8 {
        0 => ("a.toml", content.to_vec()),
        1 => ("a.png", content.to_vec()),
        2 => ("a.png", image(content)),
        _ => ("a.json", content.to_vec()),
    };
    let file = FOLDER.join(name);
    fs::write(&file, content).expect("a folder that can be written");
    let loaded = Personalities::load(&FOLDER, None, &Reading::default());
    fs::remove_file(&file).expect("the file that was written");
    let Ok(personas) = loaded else {
        return;
    };
    for persona in personas.iter() {
        assert!(!persona.id.is_empty() && !persona.id.contains(['/', '\\', '\0', '\n']));
        serde_json::to_vec(&persona.detail()).expect("text keys");
        for user_name in [None, Some("Ada \"{{user}}\"")] {
            persona.assemble(&AssembleContext {
                user_name,
                now: Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC),
                history: &*CHAT,
            });
        }
    }
});

/// A picture of one dot whose text chunk `ccv3` holds the base64 of `content`.
fn image(content: &[u8]) -> Vec<u8> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = [b"ccv3\0", BASE64_STANDARD.encode(content).as_bytes()].concat();
    let mut image = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0][..]),
        (b"tEXt", &text),
        (b"IDAT", &[120, 156, 99, 0, 0, 0, 2, 0, 1][..]),
        (b"IEND", &[]),
    ] {
        let chunk = [&kind[..], data].concat();
        image.extend(
            u32::try_from(data.len())
                .expect("a small chunk")
                .to_be_bytes(),
        );
        image.extend(&chunk);
        image.extend(crc32fast::hash(&chunk).to_be_bytes());
    }
    image
}
