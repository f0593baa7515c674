//! Content codings that upstreams put around an answer though none was asked for.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf, Bytes};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header;
use pingora::http::ResponseHeader;

/// Bytes of a piece of what brotli and zstd made small.
const PIECE: usize = 64 * 1024;
/// Bytes that are given to a decoder of deflate at once: it makes at most about a thousand of each.
const FEW: usize = 256;
const BROTLI_BUFFER: usize = 4096;
/// Windows of 8 MiB are what a decoder of HTTP has to know (RFC 9659), and room for one is taken at once.
const ZSTD_WINDOW_LOG: u32 = 23;

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

/// Undoes a coding, as the bytes come: [`Decoder::feed`], then [`Decoder::piece`] until there is none.
///
/// However much a few bytes hold, one piece of it is there at a time.
pub struct Decoder {
    kind: Kind,
    /// Its first byte has come.
    has_begun: bool,
}

enum Kind {
    /// What is said to be coded and is not.
    Plain(Bytes),
    Gzip(Writing<MultiGzDecoder<Vec<u8>>>),
    /// Its first byte tells which of the two it is that servers mean by `deflate`.
    Deflate,
    Zlib(Writing<ZlibDecoder<Vec<u8>>>),
    Raw(Writing<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<brotli::Decompressor<Arriving>>),
    Zstd(Box<zstd::Decoder<'static, Arriving>>),
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
            "gzip" | "x-gzip" => Kind::Gzip(Writing::new(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Kind::Deflate,
            "br" => {
                let decoder = brotli::Decompressor::new(Arriving::default(), BROTLI_BUFFER);
                Kind::Brotli(Box::new(decoder))
            }
            "zstd" => {
                let mut decoder = zstd::Decoder::with_buffer(Arriving::default()).ok()?;
                decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
                Kind::Zstd(Box::new(decoder))
            }
            _ => return None,
        };
        let has_begun = false;
        Some(Self { kind, has_begun })
    }

    /// Goes by the first byte where that tells what the name of the coding does not.
    fn begin(&mut self, first: u8) {
        const DEFLATED: u8 = 8;
        self.kind = match &self.kind {
            Kind::Gzip(_) if first != 0x1f => Kind::Plain(Bytes::new()),
            // A frame, or one to be skipped.
            Kind::Zstd(_) if !matches!(first, 0x28 | 0x50..=0x5f) => Kind::Plain(Bytes::new()),
            // No stream of brotli begins so.
            Kind::Brotli(_) if first == b'{' => Kind::Plain(Bytes::new()),
            Kind::Deflate if first & 0x0f == DEFLATED => {
                Kind::Zlib(Writing::new(ZlibDecoder::new(Vec::new())))
            }
            Kind::Deflate => Kind::Raw(Writing::new(DeflateDecoder::new(Vec::new()))),
            _ => return,
        };
    }

    /// Takes the next bytes, once there is no further piece of those before.
    pub fn feed(&mut self, bytes: Bytes) {
        if let Some(first) = bytes.first().filter(|_| !self.has_begun) {
            self.has_begun = true;
            self.begin(*first);
        }
        match &mut self.kind {
            Kind::Plain(plain) => *plain = bytes,
            Kind::Gzip(decoder) => decoder.arriving = bytes,
            Kind::Zlib(decoder) => decoder.arriving = bytes,
            Kind::Raw(decoder) => decoder.arriving = bytes,
            Kind::Deflate => {}
            Kind::Brotli(decoder) => decoder.get_mut().0 = bytes,
            Kind::Zstd(decoder) => decoder.get_mut().0 = bytes,
        }
    }

    /// The next piece of what the bytes so far hold; `None` where more of them must come first.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.kind {
            Kind::Plain(plain) => Ok(Some(std::mem::take(plain)).filter(|it| !it.is_empty())),
            Kind::Gzip(decoder) => decoder.piece(MultiGzDecoder::get_mut),
            Kind::Zlib(decoder) => decoder.piece(ZlibDecoder::get_mut),
            Kind::Raw(decoder) => decoder.piece(DeflateDecoder::get_mut),
            Kind::Deflate => Ok(None),
            Kind::Brotli(decoder) => read(decoder),
            Kind::Zstd(decoder) => read(decoder),
        }
    }
}

/// A decoder that is written to. Those of flate2 that are read from keep the last bytes that have come
/// until the next ones do.
struct Writing<D> {
    decoder: D,
    arriving: Bytes,
}

impl<D: Write> Writing<D> {
    fn new(decoder: D) -> Self {
        let arriving = Bytes::new();
        Self { decoder, arriving }
    }

    fn piece(&mut self, out: fn(&mut D) -> &mut Vec<u8>) -> io::Result<Option<Bytes>> {
        while !self.arriving.is_empty() {
            let few = self.arriving.len().min(FEW);
            match self.decoder.write(&self.arriving[..few])? {
                // What stands behind the end is not of the answer.
                0 => self.arriving.clear(),
                taken => self.arriving.advance(taken),
            }
            if self.arriving.is_empty() {
                self.decoder.flush()?;
            }
            let out = std::mem::take(out(&mut self.decoder));
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
        Ok(None)
    }
}

/// What has come and is not read yet.
#[derive(Default)]
struct Arriving(Bytes);

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.0.is_empty() {
            // No end: more may come.
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(&self.0),
        }
    }

    fn consume(&mut self, read: usize) {
        self.0.advance(read);
    }
}

impl Read for Arriving {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(room)?;
        self.consume(read);
        Ok(read)
    }
}

fn read(decoder: &mut impl Read) -> io::Result<Option<Bytes>> {
    let mut room = vec![0; PIECE];
    match decoder.read(&mut room) {
        Ok(0) => Ok(None),
        Ok(read) => {
            room.truncate(read);
            Ok(Some(room.into()))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const CODINGS: [&str; 5] = ["gzip", "deflate", "raw", "br", "zstd"];

    fn decoder(coding: &str) -> Decoder {
        let coding = if coding == "raw" { "deflate" } else { coding };
        let mut header = ResponseHeader::build(200, None).unwrap();
        header
            .insert_header(header::CONTENT_ENCODING, coding)
            .unwrap();
        Decoder::new(&header).unwrap()
    }

    fn coded(coding: &str, text: &[u8]) -> Bytes {
        let best = Compression::best();
        let coded = match coding {
            "gzip" => through(GzEncoder::new(Vec::new(), best), text).finish(),
            "deflate" => through(ZlibEncoder::new(Vec::new(), best), text).finish(),
            "raw" => through(DeflateEncoder::new(Vec::new(), best), text).finish(),
            "br" => {
                let mut out = Vec::new();
                let parameters = brotli::enc::BrotliEncoderParams::default();
                brotli::BrotliCompress(&mut &text[..], &mut out, &parameters).map(|_| out)
            }
            _ => zstd::encode_all(text, 3),
        };
        coded.unwrap().into()
    }

    fn through<W: Write>(mut encoder: W, text: &[u8]) -> W {
        encoder.write_all(text).unwrap();
        encoder
    }

    #[test]
    fn what_was_coded_comes_back_however_it_is_cut() {
        let text: String = (0..5000)
            .map(|n| format!("data: {{\"n\":{n}}}\n\n"))
            .collect();
        for coding in CODINGS {
            let coded = coded(coding, text.as_bytes());
            for cut in [1, 7, 1000, usize::MAX] {
                let (mut decoder, mut out) = (decoder(coding), Vec::new());
                for chunk in coded.chunks(cut.min(coded.len())) {
                    decoder.feed(Bytes::copy_from_slice(chunk));
                    while let Some(piece) = decoder.piece().unwrap() {
                        out.extend_from_slice(&piece);
                    }
                }
                assert!(out == text.as_bytes(), "{coding} by {cut}");
            }
        }
    }

    #[test]
    fn what_has_come_of_a_stream_is_there_before_more_comes() {
        let text = b"data: {}\n\n".repeat(20_000);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&text).unwrap();
        encoder.flush().unwrap();
        let mut decoder = decoder("gzip");
        decoder.feed(std::mem::take(encoder.get_mut()).into());
        let mut out = Vec::new();
        while let Some(piece) = decoder.piece().unwrap() {
            out.extend_from_slice(&piece);
        }
        assert!(out == text);
    }

    #[test]
    fn a_few_bytes_that_hold_very_many_give_them_piece_by_piece() {
        const LARGEST: usize = 512 * 1024;
        let text = vec![b'x'; 64 << 20];
        for coding in CODINGS {
            let mut decoder = decoder(coding);
            decoder.feed(coded(coding, &text));
            let mut length = 0;
            while let Some(piece) = decoder.piece().unwrap() {
                assert!(piece.len() <= LARGEST, "{coding}: {}", piece.len());
                length += piece.len();
            }
            assert_eq!(length, text.len(), "{coding}");
        }
    }

    #[test]
    fn what_is_not_of_the_coding_is_an_error_and_what_stands_behind_it_is_none() {
        for coding in CODINGS {
            let mut decoder = decoder(coding);
            let first = match coding {
                "gzip" => 0x1f,
                "zstd" => 0x28,
                _ => 0xff,
            };
            let bytes = [&[first][..], &[0xff; 64]].concat();
            decoder.feed(bytes.into());
            assert!(decoder.piece().is_err(), "{coding}");
        }
        for coding in ["deflate", "raw"] {
            let mut decoder = decoder(coding);
            decoder.feed([&coded(coding, b"{}")[..], b"\n\0\0"].concat().into());
            assert_eq!(decoder.piece().unwrap().unwrap(), "{}", "{coding}");
            assert_eq!(decoder.piece().unwrap(), None, "{coding}");
        }
    }

    #[test]
    fn what_is_said_to_be_coded_and_is_not_is_read_as_it_is() {
        for coding in ["gzip", "br", "zstd"] {
            let mut decoder = decoder(coding);
            for part in ["{\"a\":", "(1)}"] {
                decoder.feed(Bytes::from_static(part.as_bytes()));
                assert_eq!(decoder.piece().unwrap().unwrap(), part, "{coding}");
                assert_eq!(decoder.piece().unwrap(), None, "{coding}");
            }
        }
    }

    #[test]
    fn a_window_larger_than_http_has_is_refused() {
        // A frame's header alone: no single segment, a window of 2 GiB.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8];
        let mut decoder = decoder("zstd");
        decoder.feed(Bytes::copy_from_slice(&[&header[..], &[0; 16]].concat()));
        assert!(decoder.piece().is_err());
    }
}
