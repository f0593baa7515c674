//! Content codings that upstreams put around an answer though none was asked for.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header;
use pingora::http::ResponseHeader;

/// What has to be undone before an answer can be read. A name that is none of these is no coding:
/// some servers write a charset there, or `none`.
const CODINGS: [&str; 10] = [
    "gzip",
    "x-gzip",
    "deflate",
    "compress",
    "x-compress",
    "br",
    "zstd",
    "dcb",
    "dcz",
    "exi",
];

/// Undoes a coding, as the bytes come.
pub struct Decoder(Kind);

enum Kind {
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// Its first byte tells which of the two it is that servers mean by `deflate`.
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
}

/// The codings of an answer.
fn of(header: &ResponseHeader) -> impl Iterator<Item = &str> {
    let values = header.headers.get_all(header::CONTENT_ENCODING).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| {
        CODINGS
            .iter()
            .any(|coding| coding.eq_ignore_ascii_case(name))
    })
}

/// Whether an answer is in any coding.
pub fn is_coded(header: &ResponseHeader) -> bool {
    of(header).next().is_some()
}

impl Decoder {
    /// For the coding of an answer, where it is one that can be undone.
    pub fn new(header: &ResponseHeader) -> Option<Self> {
        let mut codings = of(header);
        let (Some(coding), None) = (codings.next(), codings.next()) else {
            return None;
        };
        let kind = match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Kind::Gzip(MultiGzDecoder::new(Vec::new())),
            "deflate" => Kind::Deflate,
            _ => return None,
        };
        Some(Self(kind))
    }

    /// What the next bytes hold, as far as they tell.
    pub fn decode(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        const DEFLATED: u8 = 8;
        if let (Kind::Deflate, Some(first)) = (&self.0, bytes.first()) {
            self.0 = match first & 0x0f {
                DEFLATED => Kind::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Kind::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        let out = match &mut self.0 {
            Kind::Gzip(decoder) => {
                through(decoder, bytes)?;
                std::mem::take(decoder.get_mut())
            }
            Kind::Zlib(decoder) => {
                through(decoder, bytes)?;
                std::mem::take(decoder.get_mut())
            }
            Kind::Raw(decoder) => {
                through(decoder, bytes)?;
                std::mem::take(decoder.get_mut())
            }
            Kind::Deflate => Vec::new(),
        };
        Ok(out.into())
    }
}

fn through(decoder: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    decoder.write_all(bytes)?;
    decoder.flush()
}
