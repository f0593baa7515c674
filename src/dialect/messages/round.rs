//! What the next leg is told of a leg that asked for calls.

use bytes::Bytes;
use serde_json::json;

use crate::dialect::calls::Round;

/// The messages that tell the model what became of its calls: its own turn, then one with what each
/// call gave.
pub fn follow_up(round: &Round, results: &[String]) -> Vec<Bytes> {
    let results: Vec<_> = self::results(round, results).collect();
    let user = [
        br#"{"role":"user","content":["#,
        &results.join(&b',')[..],
        b"]}",
    ]
    .concat();
    let said = round.said.iter().cloned();
    said.chain([user.into()]).collect()
}

/// The blocks that tell what each call gave.
pub fn results(round: &Round, results: &[String]) -> impl Iterator<Item = Bytes> {
    round.calls.iter().zip(results).map(|(call, content)| {
        let block = json!({ "type": "tool_result", "tool_use_id": call.id, "content": content });
        block.to_string().into()
    })
}

/// The assistant's turn with these blocks.
pub fn turn(blocks: &[Bytes]) -> Bytes {
    let content = blocks.join(&b',');
    [br#"{"role":"assistant","content":["#, &content[..], b"]}"]
        .concat()
        .into()
}
