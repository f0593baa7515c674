//! The card inside a CHARX: a ZIP archive, whatever stands before it, with a `card.json` and the
//! character's pictures.

use std::borrow::Cow;
use std::io::{Cursor, Read};
use std::path::Path;

use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::load::MAX_BYTES;
use super::loose;
use crate::error::Fault;

/// What the card is called in the archive.
const CARD: &str = "card.json";

/// The JSON text of the card in `archive`.
pub(super) fn card_json(path: &Path, archive: &[u8]) -> Result<String, Fault> {
    read(archive)
        .map_err(|what| Fault::new(path, what, "export the card again, or remove the file"))
}

fn read(archive: &[u8]) -> Result<String, String> {
    let unreadable = |error| format!("not a readable CHARX: {error}");
    let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(unreadable)?;
    let is_card = |name: &str| name.trim_start_matches("./").eq_ignore_ascii_case(CARD);
    let names = archive.file_names().flatten();
    let mut names = names.filter(|name| is_card(name)).map(Cow::into_owned);
    let name = names.next();
    drop(names);
    let at = name.and_then(|name| archive.index_for_name(&name));
    let Some(at) = at else {
        return Err(format!("the archive holds no `{CARD}`"));
    };
    // The library that inflates pictures does it here too.
    let mut file = archive.by_index_raw(at).map_err(unreadable)?;
    let mut json = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    let taken = match file.compression() {
        CompressionMethod::Stored => file.take(most).read_to_end(&mut json),
        _ => DeflateDecoder::new(&mut file)
            .take(most)
            .read_to_end(&mut json),
    };
    taken.map_err(|error| format!("`{CARD}` cannot be unpacked: {error}"))?;
    if json.len() > MAX_BYTES {
        return Err(format!("`{CARD}` is larger than 16 MiB"));
    }
    let json = String::from_utf8(json).map_err(|_| format!("`{CARD}` is not UTF-8"))?;
    Ok(loose::bare(&json).to_owned())
}
