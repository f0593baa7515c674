//! A raw header section: the end is found in the same place wherever the bytes are cut, and what
//! passes has one Host and one clear framing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yychat_fuzz::framing::{header_end, inspect};

fuzz_target!(|input: &[u8]| {
    let whole = header_end(input, &mut 0);
    let mut searched = 0;
    let mut cut = Ok(None);
    for end in 0..=input.len() {
        cut = header_end(&input[..end], &mut searched);
        if !matches!(cut, Ok(None)) {
            break;
        }
    }
    assert_eq!(whole.is_err(), cut.is_err());
    let Ok(Some(end)) = whole else {
        return;
    };
    assert_eq!(cut.ok().flatten(), Some(end));
    let section = &input[..end];
    if inspect(section, 100).is_err() {
        return;
    }
    let text = String::from_utf8_lossy(section).to_lowercase();
    let fields = |name: &str| text.matches(&format!("\r\n{name}:")).count();
    let (lengths, codings) = (fields("content-length"), fields("transfer-encoding"));
    assert!(lengths + codings <= 1, "{text:?}");
    assert!(fields("host") <= 1, "{text:?}");
    assert!(!section.contains(&0) && !text.contains("\r\n "), "{text:?}");
});
