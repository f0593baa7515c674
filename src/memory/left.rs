//! Blocks that stay where they stood, as gateways leave them for each other.
//!
//! One that another gateway left stands only where this one has all of its records, as they were.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::block::Block;
use super::record::Record;
use super::scope::{Holder, Scope};
use super::scope_index::ScopeIndex;
use crate::shared::encoded;

/// A block with the names of its records.
#[derive(Debug, Serialize, Deserialize)]
pub struct Left {
    text: String,
    records: Vec<Named>,
}

/// A record as it was.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    id: Uuid,
    /// By which it is found.
    print: u64,
    /// Of its text.
    sum: u64,
}

impl Left {
    /// What is left of a block for others; `None` where there is nothing to leave.
    pub fn note(block: &Block) -> Option<Bytes> {
        let named = |(record, print): (&Arc<Record>, u64)| Named {
            id: record.id,
            print,
            sum: xxh3_64(record.text.as_bytes()),
        };
        let quoted = [b"\"", &block.text.bytes()[..], b"\""].concat();
        let left = Self {
            text: serde_json::from_slice(&quoted).ok()?,
            records: block.fingerprinted().map(named).collect(),
        };
        Some(serde_json::to_vec(&left).ok()?.into())
    }

    /// Reads it; what another version wrote may not be readable.
    pub fn read(note: &[u8]) -> Option<Self> {
        serde_json::from_slice(note).ok()
    }

    /// The block, where all of its records are there as they were.
    pub fn block(&self, index: &ScopeIndex) -> Option<Arc<Block>> {
        let found = self.records.iter().map(|named| {
            let known = index.named(named.id, named.print)?;
            let is_same = xxh3_64(known.text.as_bytes()) == named.sum;
            is_same.then(|| known.clone())
        });
        let records = found.collect::<Option<Vec<_>>>()?;
        Some(Block::again(&self.text, records).into())
    }
}

/// The name of a place among its tenant's. The scope is here itself, as in the place.
pub fn name(scope: &Scope, said: u128) -> String {
    let (kind, id) = match scope.holder() {
        Holder::User(id) => ("user", id),
        Holder::Conversation(id) => ("conversation", id),
    };
    let mut name = format!("block:{kind}:{}", encoded(id));
    let _ = write!(name, ":{said:032x}");
    name
}
