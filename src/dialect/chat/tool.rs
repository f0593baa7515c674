//! The gateway's tools, as this API has them.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::dialect::injection::ToolSpec;

/// `{"type":"function","function":{"name","description","parameters"}}`.
pub fn tool(spec: &ToolSpec<'_>) -> Bytes {
    #[derive(Serialize)]
    struct Tool<'a> {
        r#type: &'static str,
        function: Function<'a>,
    }
    #[derive(Serialize)]
    struct Function<'a> {
        name: &'a str,
        description: &'a str,
        parameters: &'a RawValue,
    }
    let tool = Tool {
        r#type: "function",
        function: Function {
            name: spec.name,
            description: spec.description,
            parameters: spec.parameters,
        },
    };
    // Texts and ready JSON alone: there is nothing in it that serde_json could refuse.
    serde_json::to_vec(&tool).unwrap_or_default().into()
}
