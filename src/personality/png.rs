//! The card inside a PNG or APNG: base64 of its JSON in a text chunk, `ccv3` before `chara`.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use png::Decoder;

use super::load::MAX_BYTES;
use super::loose;
use crate::error::Fault;

/// The chunk of V3 is preferred, as its specification asks.
const KEYWORDS: [&str; 2] = ["ccv3", "chara"];

/// Writers differ about padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The JSON text of the card in `image`; `None` where it holds none. A card that is damaged gives
/// way to an older one that is whole.
pub(super) fn card_json(path: &Path, image: &[u8]) -> Result<Option<String>, Fault> {
    let texts = texts(image).map_err(|error| {
        Fault::new(
            path,
            format!("not a readable PNG: {error}"),
            "export the card again, or remove the file",
        )
    })?;
    let cards = KEYWORDS.iter().flat_map(|keyword| {
        texts
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(keyword))
    });
    let mut damage = None;
    for (keyword, encoded) in cards {
        match decode(encoded) {
            Ok(json) => return Ok(Some(json)),
            Err(what) => {
                damage.get_or_insert(Fault::new(
                    path,
                    format!("the card in the `{keyword}` chunk {what}"),
                    "it was cut or damaged: export the card again",
                ));
            }
        }
    }
    damage.map_or(Ok(None), Err)
}

/// What a chunk holds: base64 of JSON in either alphabet, as a data URL or alone, or the JSON itself.
fn decode(encoded: &str) -> Result<String, String> {
    if encoded.trim_start().starts_with('{') {
        return Ok(encoded.to_owned());
    }
    let encoded = match encoded.split_once(";base64,") {
        Some((kind, encoded)) if kind.trim_start().starts_with("data:") => encoded,
        _ => encoded,
    };
    let standard = |c: char| match c {
        '-' => '+',
        '_' => '/',
        c => c,
    };
    let written = |c: &char| !c.is_ascii_whitespace() && *c != '\0';
    let encoded: String = encoded.chars().filter(written).map(standard).collect();
    let json = BASE64
        .decode(encoded)
        .map_err(|error| format!("is not valid base64: {error}"))?;
    let json = String::from_utf8(json).map_err(|error| format!("is not UTF-8: {error}"))?;
    let json = loose::bare(&json);
    loose::parse(json)
        .map(|_| json.to_owned())
        .map_err(|error| format!("is not valid JSON: {error}"))
}

/// Keyword and text of every text chunk, wherever it stands and however it is compressed.
///
/// Many writers put the card behind the image data, so the whole file is read; damage in the image
/// itself is passed over once a text was found.
fn texts(image: &[u8]) -> Result<Vec<(String, String)>, png::DecodingError> {
    let mut decoder = Decoder::new(Cursor::new(image));
    decoder.set_ignore_iccp_chunk(true);
    // Not every writer of cards computes them.
    decoder.ignore_checksums(true);
    let mut reader = decoder.read_info()?;
    let finished = reader.finish();

    let info = reader.info();
    let mut texts: Vec<(String, String)> = Vec::new();
    for chunk in &info.uncompressed_latin1_text {
        texts.push((chunk.keyword.clone(), chunk.text.clone()));
    }
    for chunk in &info.compressed_latin1_text {
        if is_card(&chunk.keyword) {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MAX_BYTES)?;
            texts.push((chunk.keyword.clone(), chunk.get_text()?));
        }
    }
    for chunk in &info.utf8_text {
        if is_card(&chunk.keyword) {
            let mut chunk = chunk.clone();
            chunk.decompress_text_with_limit(MAX_BYTES)?;
            texts.push((chunk.keyword.clone(), chunk.get_text()?));
        }
    }
    if texts.is_empty() {
        finished?;
    }
    Ok(texts)
}

fn is_card(keyword: &str) -> bool {
    KEYWORDS
        .iter()
        .any(|card| keyword.eq_ignore_ascii_case(card))
}
