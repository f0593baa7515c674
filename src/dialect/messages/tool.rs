//! The gateway's tools, as this API has them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::injection::ToolSpec;

/// `{"name","description","input_schema"}`.
pub fn tool(spec: &ToolSpec<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Tool<'a> {
        name: &'a str,
        description: &'a str,
        input_schema: &'a RawValue,
    }
    let tool = Tool {
        name: spec.name,
        description: spec.description,
        input_schema: spec.parameters,
    };
    // Texts and ready JSON alone: there is nothing in it that serde_json could refuse.
    serde_json::to_vec(&tool).unwrap_or_default().into()
}
