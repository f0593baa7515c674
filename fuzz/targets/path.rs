//! A request's target: where it is taken, the upstream's path stays under that of `base_url`,
//! whether the upstream decodes and resolves it or not.
#![no_main]

use std::sync::LazyLock;

use http::Uri;
use libfuzzer_sys::fuzz_target;
use url::Url;
use yychat_fuzz::error;

#[path = "../../src/proxy/edge/path.rs"]
mod path;

static BASES: LazyLock<[Url; 3]> = LazyLock::new(|| {
    ["http://u/", "http://u/v1", "http://u/openai/deployments/"]
        .map(|base| base.parse().expect("a URL"))
});

fuzz_target!(|input: &[u8]| {
    let Some((&choice, target)) = input.split_first() else {
        return;
    };
    let base = &BASES[usize::from(choice) % BASES.len()];
    let Ok(client) = Uri::try_from([b"/v1/", target].concat()) else {
        return;
    };
    if path::spelled(client.path(), |_| false).is_err() {
        return;
    }
    let sent = path::under(&client, base);
    let prefix = base.path().trim_end_matches('/');
    assert!(sent.starts_with(&format!("{prefix}/")), "{sent}");
    assert!(
        sent.bytes().all(|byte| byte > b' ' && byte != 0x7f),
        "{sent}"
    );
    let asked = base.join(&format!("http://u{sent}")).expect("a URL");
    assert_eq!(asked.host_str(), Some("u"), "{sent}");
    assert!(asked.path().starts_with(prefix), "{sent}");
    // As an upstream may read it: decoded, a backslash for a slash, `;` cut off, `..` resolved.
    let path = sent.split('?').next().unwrap_or_default();
    let mut depth = 0;
    for segment in decoded(path).split(['/', '\\']).skip(1) {
        match segment.split(';').next() {
            Some("..") => depth -= 1,
            Some("" | ".") | None => {}
            Some(_) => depth += 1,
        }
        assert!(depth >= 0, "{sent}");
    }
    assert!(
        !decoded(path).split('/').any(|segment| segment == ".."),
        "{sent}"
    );
});

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned()
}
