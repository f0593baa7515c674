//! Finding the gateway's own keys in what is about to leave it, however they are written there.

use std::borrow::Cow;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::percent_decode;

/// How often a text is percent-decoded: one reader more than a request is likely to meet.
const DECODED: usize = 3;

/// Finds keys as they are, percent-encoded, and within base64 wherever they begin there.
pub struct KeyFinder {
    /// Absent where there are no keys.
    written: Option<AhoCorasick>,
    /// The keys in any case, as a field's name would have them.
    in_names: Option<AhoCorasick>,
    shortest: usize,
}

impl KeyFinder {
    /// A finder of `keys`.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let keys: Vec<_> = keys.into_iter().filter(|key| !key.is_empty()).collect();
        let forms = keys.iter().flat_map(|key| forms(key));
        let mut in_names = AhoCorasick::builder();
        in_names.ascii_case_insensitive(true);
        // Building fails for want of 2^31 states, which no configuration file comes near.
        let some = !keys.is_empty();
        Self {
            written: some.then(|| AhoCorasick::new(forms).ok()).flatten(),
            in_names: some.then(|| in_names.build(&keys).ok()).flatten(),
            shortest: keys.iter().map(|key| key.len()).min().unwrap_or(0),
        }
    }

    /// Whether there is anything to find.
    pub fn is_idle(&self) -> bool {
        self.written.is_none()
    }

    /// Whether one of the keys stands in `text`.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let Some(written) = &self.written else {
            return false;
        };
        if text.len() < self.shortest {
            return false;
        }
        if written.is_match(text) {
            return true;
        }
        let mut text = Cow::Borrowed(text);
        for _ in 0..DECODED {
            if !text.contains(&b'%') {
                return false;
            }
            text = Cow::Owned(percent_decode(&text).collect());
            if written.is_match(&*text) {
                return true;
            }
        }
        false
    }

    /// Whether one of the keys stands in the name of a field.
    pub fn is_in_name(&self, name: &str) -> bool {
        let long = name.len() >= self.shortest;
        long && self.in_names.as_ref().is_some_and(|it| it.is_match(name))
    }
}

/// A key as it is, and what base64 makes of it for each of the three places in a group of bytes
/// where it can begin, without the letters that its neighbours have a part in.
fn forms(key: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![key.to_vec()];
    for before in 0..3 {
        let bytes = [&[0; 2][..before], key].concat();
        let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let form = engine.encode(&bytes).as_bytes()[first..end].to_vec();
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const KEY: &str = "key>of?an~app-0123456789";

    fn finder() -> KeyFinder {
        KeyFinder::new([KEY.as_bytes(), b"another-key-0123456789"])
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let finder = finder();
        let encode = |text: &str| {
            let bytes = text.bytes();
            bytes.map(|byte| format!("%{byte:02x}")).collect::<String>()
        };
        let once = encode(KEY);
        for text in [
            KEY.to_owned(),
            format!("Bearer {KEY}"),
            format!("x{KEY}y"),
            KEY.replace('>', "%3E").replace('k', "%6B"),
            once.clone(),
            once.to_uppercase(),
            encode(&once),
            "s=another-key-0123456789".to_owned(),
        ] {
            assert!(finder.is_in(text.as_bytes()), "{text}");
        }
        for before in ["", "u", "us", "use", "user:"] {
            for after in ["", ":", ":p", ":pa", ":pass"] {
                let pair = format!("{before}{KEY}{after}");
                for text in [STANDARD.encode(&pair), URL_SAFE.encode(&pair)] {
                    assert!(finder.is_in(format!("Basic {text}").as_bytes()), "{pair}");
                    assert!(finder.is_in(encode(&text).as_bytes()), "{pair}, encoded");
                }
            }
        }
        assert!(finder.is_in_name("x-ANOTHER-key-0123456789"));
    }

    #[test]
    fn what_is_no_key_is_not_found() {
        let finder = finder();
        for text in [
            "",
            "%",
            "Bearer sk-of-the-callers-own-0123456789",
            "key>of?an~app-012345678",
            "KEY>OF?AN~APP-0123456789",
            &STANDARD.encode("key>of?an~app-012345678"),
            &"%25".repeat(10_000),
        ] {
            assert!(!finder.is_in(text.as_bytes()), "{text}");
        }
        assert!(!finder.is_in_name("authorization"));
        let none = KeyFinder::new([]);
        assert!(none.is_idle() && !none.is_in(b"") && !none.is_in_name(""));
    }
}
