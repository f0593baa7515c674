//! What is known of a scope without reading its records.

use redb::ReadableTable;
use xxhash_rust::xxh3::xxh3_64;

/// A scope's version and number of records.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    pub version: u64,
    pub records: u64,
}

impl Head {
    pub fn encode(self, key: &[u8]) -> Vec<u8> {
        let mut content = self.version.to_be_bytes().to_vec();
        content.extend_from_slice(&self.records.to_be_bytes());
        let mut value = head_sum(key, &content).to_vec();
        value.extend(content);
        value
    }

    pub fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let (sum, content) = value.split_first_chunk::<8>()?;
        let (version, records) = content.split_first_chunk::<8>()?;
        let records = records.try_into().ok()?;
        (*sum == head_sum(key, content)).then(|| Self {
            version: u64::from_be_bytes(*version),
            records: u64::from_be_bytes(records),
        })
    }
}

fn head_sum(key: &[u8], content: &[u8]) -> [u8; 8] {
    (xxh3_64(content) ^ xxh3_64(key).rotate_left(32)).to_be_bytes()
}

/// Reads a scope's head; one that is not there is all zero, one that is corrupt is `None`.
pub fn head(
    scopes: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Head>, redb::Error> {
    Ok(match scopes.get(key)? {
        None => Some(Head::default()),
        Some(value) => Head::decode(key, value.value()),
    })
}
