//! Vectors of eight bits a dimension, compared one by one: a scope is small enough.

use std::collections::HashMap;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::memory::record::{Record, checksum};

/// An embedded text. Its length is of no meaning, only its direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vector {
    /// Hash of the name of the space in which it stands.
    pub space: u64,
    /// Hash of the text that it stands for.
    text: u64,
    codes: Box<[i8]>,
}

impl Vector {
    /// Quantises `values`; `None` if they have no direction.
    pub fn new(space: u64, text: &str, values: &[f32]) -> Option<Self> {
        let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        let usable = largest.is_normal() && values.iter().all(|v| v.is_finite());
        usable.then(|| Self {
            space,
            text: xxh3_64(text.as_bytes()),
            codes: values
                .iter()
                .map(|v| (v / largest * 127.0).round() as i8)
                .collect(),
        })
    }

    /// The same for another text, of which the one that was embedded is a part.
    pub fn of(mut self, text: &str) -> Self {
        self.text = xxh3_64(text.as_bytes());
        self
    }

    /// Whether it is what this record needs.
    pub fn stands_for(&self, space: u64, record: &Record) -> bool {
        self.space == space && self.text == xxh3_64(super::passage(record).as_bytes())
    }

    /// A checksum over key and content, then the content.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut content = self.space.to_be_bytes().to_vec();
        content.extend_from_slice(&self.text.to_be_bytes());
        content.extend(self.codes.iter().map(|code| code.cast_unsigned()));
        let mut value = checksum(key, &content).to_vec();
        value.extend(content);
        value
    }

    /// Reads what [`Vector::encode`] wrote under this key.
    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (sum, content) = value.split_first_chunk::<8>()?;
        let (space, rest) = content.split_first_chunk::<8>()?;
        let (text, codes) = rest.split_first_chunk::<8>()?;
        (*sum == checksum(key, content)).then(|| Self {
            space: u64::from_be_bytes(*space),
            text: u64::from_be_bytes(*text),
            codes: codes.iter().map(|code| code.cast_signed()).collect(),
        })
    }
}

fn dot(a: &[i8], b: &[i8]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(a, b)| i32::from(i16::from(*a) * i16::from(*b)))
        .sum()
}

fn norm(codes: &[i8]) -> f32 {
    (dot(codes, codes) as f32).sqrt()
}

/// The vectors of a scope's documents, of one space.
#[derive(Debug, Default)]
pub struct Vectors {
    space: u64,
    dimensions: usize,
    codes: Vec<i8>,
    /// Length of each vector; 0 for a document that has none.
    norms: Vec<f32>,
    count: usize,
}

impl Vectors {
    /// Of those found, the ones that are up to date; the documents are these records in their order.
    pub fn build(records: &[Record], found: Vec<(Uuid, Vector)>) -> Self {
        let mut vectors = Self::default();
        if found.is_empty() {
            return vectors;
        }
        let found: HashMap<Uuid, Vector> = found.into_iter().collect();
        for (doc, record) in records.iter().enumerate() {
            if let Some(vector) = found.get(&record.id)
                && vector.stands_for(vector.space, record)
            {
                vectors.put(doc, vector);
            }
        }
        vectors
    }

    /// How many documents have one.
    pub fn count(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> usize {
        self.codes.len() + self.norms.len() * 4
    }

    /// Sets a document's vector. The first of another space drops all of the old.
    pub fn put(&mut self, doc: usize, vector: &Vector) {
        if (self.space, self.dimensions) != (vector.space, vector.codes.len()) {
            *self = Self {
                space: vector.space,
                dimensions: vector.codes.len(),
                ..Self::default()
            };
        }
        if self.norms.len() <= doc {
            self.norms.resize(doc + 1, 0.0);
            self.codes.resize((doc + 1) * self.dimensions, 0);
        }
        self.count += usize::from(self.norms[doc] == 0.0);
        self.norms[doc] = norm(&vector.codes);
        self.codes[doc * self.dimensions..][..self.dimensions].copy_from_slice(&vector.codes);
    }

    /// Whether any of them compares with the query.
    pub fn compare(&self, query: &Vector) -> bool {
        self.count > 0 && (self.space, self.dimensions) == (query.space, query.codes.len())
    }

    /// Each document's cosine with the query; `None` where it has no vector, and no list at all
    /// where nothing compares.
    pub fn similarities(&self, query: &Vector) -> Option<Vec<Option<f32>>> {
        if !self.compare(query) {
            return None;
        }
        let length = norm(&query.codes);
        let each = self.codes.chunks_exact(self.dimensions).zip(&self.norms);
        Some(
            each.map(|(codes, norm)| {
                (*norm > 0.0).then(|| dot(codes, &query.codes) as f32 / (norm * length))
            })
            .collect(),
        )
    }
}
