//! Where a body is gathered. A large one has pages of its own, which go back to the system as soon as
//! nobody needs it: an allocator would keep them for the next one, however long that takes to come.

use bytes::{Bytes, BytesMut};
use memmap2::{MmapMut, MmapOptions};

/// A body larger than this has pages of its own.
const MAPPED: usize = 256 * 1024;

/// A body as far as it has come.
#[derive(Debug)]
pub struct Gathered {
    place: Place,
    /// How large it is said to become, where that is said.
    announced: Option<usize>,
    /// How large it can become.
    limit: usize,
}

#[derive(Debug)]
enum Place {
    /// The one piece that has come.
    Piece(Bytes),
    Heap(BytesMut),
    Pages(Pages),
}

/// Pages, of which the first `len` bytes are written.
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

impl Gathered {
    /// Nothing yet, of `announced` bytes where that is known, and of `limit` at most.
    pub fn new(announced: Option<usize>, limit: usize) -> Self {
        Self {
            place: Place::Piece(Bytes::new()),
            announced,
            limit,
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
        let (announced, limit) = (self.announced, self.limit);
        let so_far = std::mem::replace(self, Self::new(announced, limit)).freeze();
        let expected = announced.unwrap_or_default().max(len);
        // All that may come is reserved, and nothing of it is resident before it is written.
        let most = announced.unwrap_or(limit).max(2 * len);
        let pages = (expected > MAPPED).then(|| Pages::reserve(most)).flatten();
        self.place = match pages {
            Some(mut pages) => {
                pages.put(&so_far);
                pages.put(piece);
                Place::Pages(pages)
            }
            None => {
                let mut heap = BytesMut::with_capacity(expected.min(MAPPED).max(2 * len));
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
    /// Room for `most` bytes; `None` where the system gives none, and the allocator has to.
    fn reserve(most: usize) -> Option<Self> {
        let mut reserved = MmapOptions::new();
        let map = reserved.len(most).no_reserve_swap().map_anon().ok()?;
        // A huge page would be resident whole with its first byte.
        #[cfg(target_os = "linux")]
        drop(map.advise(memmap2::Advice::NoHugePage));
        Some(Self { map, len: 0 })
    }

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
        for length in [0, 1, 1000, MAPPED, MAPPED + 1, whole.len()] {
            for announced in [
                None,
                Some(0),
                Some(length / 2),
                Some(length),
                Some(4 * length),
            ] {
                for size in [1021, 65_536, whole.len()] {
                    let mut gathered = Gathered::new(announced, 4 << 20);
                    for piece in whole[..length].chunks(size) {
                        gathered.push(Bytes::copy_from_slice(piece));
                    }
                    assert_eq!(gathered.len(), length);
                    let in_pages = matches!(gathered.place, Place::Pages(_));
                    let is_large = length.max(announced.unwrap_or(0)) > MAPPED;
                    let told = format!("{length} {announced:?} {size}");
                    assert_eq!(in_pages, is_large && length > size, "{told}");
                    assert!(gathered.freeze() == whole[..length], "{told}");
                }
            }
        }
    }
}
