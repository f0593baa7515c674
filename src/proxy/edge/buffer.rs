//! Where a body is gathered. A large one has pages of its own, which go back to the system when it is
//! dropped: an allocator would keep them for the next one, however long that takes to come.

use bytes::{Bytes, BytesMut};
use memmap2::MmapMut;

/// From this size on a body has pages of its own.
const MAPPED: usize = 256 * 1024;
/// Pages are taken for so much at least, where nobody said how much will come.
const FIRST_MAP: usize = 1 << 20;

/// A body as far as it has come.
#[derive(Debug)]
pub struct Buffer {
    place: Place,
    /// How large it is said to become.
    expected: usize,
}

#[derive(Debug)]
enum Place {
    /// The one piece that has come.
    Piece(Bytes),
    Heap(BytesMut),
    Pages(Pages),
}

/// Pages, of which the first `len` bytes are written. What is not written is not resident.
#[derive(Debug)]
struct Pages {
    map: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.len]
    }
}

impl Buffer {
    /// An empty one; `expected` is how large it may become, as far as that is known.
    pub fn new(expected: Option<usize>) -> Self {
        Self {
            place: Place::Piece(Bytes::new()),
            expected: expected.unwrap_or_default(),
        }
    }

    /// How much has come.
    pub fn len(&self) -> usize {
        match &self.place {
            Place::Piece(piece) => piece.len(),
            Place::Heap(heap) => heap.len(),
            Place::Pages(pages) => pages.len,
        }
    }

    /// Adds a piece.
    pub fn push(&mut self, piece: Bytes) {
        let len = self.len() + piece.len();
        match &mut self.place {
            Place::Piece(first) if first.is_empty() => self.place = Place::Piece(piece),
            Place::Pages(pages) if len <= pages.map.len() => pages.put(&piece),
            Place::Heap(heap) if len <= MAPPED => heap.extend_from_slice(&piece),
            _ => self.move_on(len, &piece),
        }
    }

    /// Takes a larger place, for `len` bytes of which `piece` are the last.
    fn move_on(&mut self, len: usize, piece: &[u8]) {
        let so_far = std::mem::replace(self, Self::new(None));
        self.expected = so_far.expected;
        let expected = self.expected.max(len);
        let pages = (expected > MAPPED).then(|| {
            // Twice as much each time, so that little is copied.
            let size = expected.max(FIRST_MAP).max(match self.expected < len {
                true => len.saturating_mul(2),
                false => 0,
            });
            MmapMut::map_anon(size)
        });
        let so_far = so_far.freeze();
        self.place = match pages {
            Some(Ok(map)) => {
                let mut pages = Pages { map, len: 0 };
                pages.put(&so_far);
                pages.put(piece);
                Place::Pages(pages)
            }
            // Without pages of its own it does with what the allocator has.
            _ => {
                let mut heap = BytesMut::with_capacity(expected.min(MAPPED).max(len));
                heap.extend_from_slice(&so_far);
                heap.extend_from_slice(piece);
                Place::Heap(heap)
            }
        };
    }

    /// All that has come.
    pub fn freeze(self) -> Bytes {
        match self.place {
            Place::Piece(piece) => piece,
            Place::Heap(heap) => heap.freeze(),
            Place::Pages(pages) => Bytes::from_owner(pages),
        }
    }
}

impl Pages {
    fn put(&mut self, piece: &[u8]) {
        let end = self.len + piece.len();
        self.map[self.len..end].copy_from_slice(piece);
        self.len = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_what_went_in_whatever_was_announced() {
        let whole: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        for length in [0, 1, 1000, MAPPED, MAPPED + 1, FIRST_MAP + 1, whole.len()] {
            for expected in [None, Some(0), Some(length / 2), Some(length), Some(4 * length)] {
                for size in [1021, 65_536, whole.len()] {
                    let mut buffer = Buffer::new(expected);
                    for piece in whole[..length].chunks(size) {
                        buffer.push(Bytes::copy_from_slice(piece));
                    }
                    assert_eq!(buffer.len(), length);
                    let is_mapped = matches!(buffer.place, Place::Pages(_));
                    assert_eq!(is_mapped, length > MAPPED && size < length, "{length} {size}");
                    assert!(buffer.freeze() == whole[..length], "{length} {expected:?} {size}");
                }
            }
        }
    }
}
