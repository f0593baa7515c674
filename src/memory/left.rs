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
use super::store::Selection;
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

/// Patterns of the names of what gateways left of a selection: blocks, and what the gateway's tools
/// gave, which lies under `round:=USER:=CONVERSATION:`, either of them empty where nobody is named.
pub fn patterns(of: &Selection) -> Vec<String> {
    match of {
        Selection::All => patterns_of_all().into(),
        Selection::Scope(scope) => match scope.holder() {
            Holder::User(id) => {
                let id = encoded(id);
                vec![format!("round:={id}:*"), format!("block:user:{id}:*")]
            }
            Holder::Conversation(id) => {
                let id = encoded(id);
                vec![
                    format!("round::={id}:*"),
                    format!("block:conversation:{id}:*"),
                ]
            }
        },
        Selection::Conversation { id, user } => {
            let id = encoded(id);
            let whose = match user {
                Some(user) => format!("={}", encoded(user)),
                None => "*".to_owned(),
            };
            vec![
                format!("round:{whose}:={id}:*"),
                format!("block:conversation:{id}:*"),
            ]
        }
    }
}

/// The patterns of the erasures that take a scope's blocks.
pub fn erased_by(scope: &Scope) -> Vec<String> {
    let mut patterns = patterns(&Selection::Scope(scope.clone()));
    patterns.extend(patterns_of_all());
    patterns.retain(|pattern| pattern.starts_with("block:"));
    patterns
}

fn patterns_of_all() -> [String; 2] {
    ["round:*".into(), "block:*".into()]
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::shared::testing::Server;
    use crate::shared::{Notes, Store};
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn an_erasure_takes_what_gateways_left_of_whom_it_is_and_of_nobody_else() {
        let server = Server::start();
        let minute = Duration::from_secs(60);
        let url = server.url().into();
        let store = Store::new(&url, minute, Arc::new(Metrics::new())).expect("a store");
        let notes = Notes::of(Arc::new(store));
        let names = [
            "round:=ann:=c:0",
            "round:=ann::0",
            "block:user:ann:0",
            "round:=ann%40home:=c:0",
            "round:=bob:=c:0",
            "round::=c:0",
            "block:conversation:c:0",
            "origin:file",
        ]
        .map(str::to_owned);
        let erased_of = async |of: Selection| {
            let all = names.clone().map(|name| (name, Bytes::from_static(b"x")));
            notes.keep("t", &all, minute).await;
            notes.keep("u", &all, minute).await;
            notes.erase("t", &patterns(&of)).await;
            let others = notes.find("u", &names).await;
            assert!(others.iter().all(Option::is_some));
            let left = notes.find("t", &names).await;
            let gone = left.iter().map(|note| u8::from(note.is_none()));
            gone.collect::<Vec<_>>()
        };
        let conversation = |user: Option<&str>| Selection::Conversation {
            id: "c".into(),
            user: user.map(str::to_owned),
        };
        let ann = Scope::of("t", Some("ann"), None).expect("a scope");
        let of_ann = erased_of(Selection::Scope(ann)).await;
        assert_eq!(of_ann, [1, 1, 1, 0, 0, 0, 0, 0]);
        let of_anns = erased_of(conversation(Some("ann"))).await;
        assert_eq!(of_anns[..6], [1, 0, 0, 0, 0, 0]);
        let of_all = erased_of(conversation(None)).await;
        assert_eq!(of_all, [1, 0, 0, 1, 1, 1, 1, 0]);
        assert_eq!(erased_of(Selection::All).await, [1, 1, 1, 1, 1, 1, 1, 0]);
    }
}
