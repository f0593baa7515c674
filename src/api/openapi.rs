//! The description of the gateway's own endpoints, kept by hand beside them. Tests hold it to the
//! routes that there are, and every answer that they see to it.

/// OpenAPI 3.1 as JSON, with the version of this build.
pub fn document() -> String {
    let text = include_str!("openapi.json");
    text.replacen("0.0.0", env!("CARGO_PKG_VERSION"), 1)
}
