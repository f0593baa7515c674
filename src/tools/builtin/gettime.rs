//! The current time.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::tools::manifest::Section;

/// Knows in which time zone it stands.
#[derive(Debug, Clone)]
pub(in crate::tools) struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// Reads `timezone`, an IANA name; UTC without one.
    pub fn read(config: Option<&mut Section<'_>>) -> Self {
        let mut zone = TimeZone::UTC;
        if let Some(config) = config
            && let Some(name) = config.text("timezone")
        {
            match TimeZone::get(name.value) {
                Ok(found) => zone = found,
                Err(_) => config.fault(
                    "timezone",
                    format!("is {:?}, which is no time zone", name.value),
                    "give an IANA name, such as \"Europe/Berlin\" or \"Asia/Shanghai\"",
                ),
            }
        }
        Self { zone }
    }

    /// `{timezone?}` to `{current_time, timezone, timestamp}`: RFC 3339, IANA name, Unix seconds.
    ///
    /// # Errors
    ///
    /// Tells the model that there is no such zone.
    pub fn tell(&self, arguments: &Map<String, Value>, now: Timestamp) -> Result<Value, String> {
        let zone = match arguments.get("timezone").and_then(Value::as_str) {
            None | Some("") => self.zone.clone(),
            Some(name) => TimeZone::get(name).map_err(|_| {
                format!("there is no time zone {name:?}; use an IANA name such as Europe/Berlin")
            })?,
        };
        let local = now.to_zoned(zone);
        Ok(json!({
            "current_time": local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            "timezone": local.time_zone().iana_name().unwrap_or("UTC"),
            "timestamp": now.as_second(),
        }))
    }
}
