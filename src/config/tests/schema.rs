//! The JSON Schema that editors check `yychat.toml` by.

use super::*;
use crate::config::schema::schema;

/// The one that is shipped beside the configuration; `YYCHAT_BLESS=1` writes it.
#[test]
fn the_shipped_schema_is_that_of_the_configuration() {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    let shipped = "conf/yychat.schema.json";
    if std::env::var_os("YYCHAT_BLESS").is_some() {
        fs::write(shipped, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(shipped).unwrap(), text);
    let conf = fs::read_to_string(DEFAULT_FILE).unwrap();
    assert!(conf.starts_with("#:schema ./yychat.schema.json\n"));
}
