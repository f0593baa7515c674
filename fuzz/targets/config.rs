//! A configuration file of any text: faults or a configuration, and neither shows a secret.
#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use yychat_fuzz::config::{Sources, load};
use yychat_fuzz::reading::Reading;

const SECRET: &str = "sk-canary-0123456789abcdef";

fuzz_target!(|input: &[u8]| {
    let file: PathBuf =
        std::env::temp_dir().join(format!("yychat-fuzz-{}.toml", std::process::id()));
    std::fs::write(&file, input).expect("a folder that can be written");
    let sources = Sources {
        file: Some(file),
        env: [("KEY".to_owned(), SECRET.to_owned())].into(),
        overrides: Vec::new(),
    };
    let shown = match load(&sources, &Reading::default()) {
        Ok(loaded) => format!(
            "{loaded:?}{}",
            serde_json::to_string(&loaded.config).expect("text keys")
        ),
        Err(faults) => faults.to_string(),
    };
    assert!(!shown.contains(SECRET) || input.windows(SECRET.len()).any(|w| w == SECRET.as_bytes()));
});
