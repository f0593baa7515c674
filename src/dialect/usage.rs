//! What several legs cost together.

use serde_json::{Number, Value};

/// Adds what another leg cost: numbers are added, objects member by member. What is there already
/// stays where it is neither.
pub fn add(sum: &mut Value, more: &Value) {
    match (sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            for (name, value) in more {
                match sum.get_mut(name) {
                    Some(known) => add(known, value),
                    None => {
                        sum.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Number(sum), Value::Number(more)) => {
            let whole = sum.as_u64().zip(more.as_u64());
            if let Some(total) = whole.and_then(|(a, b)| a.checked_add(b)) {
                *sum = total.into();
            } else if let Some(total) = sum.as_f64().zip(more.as_f64())
                && let Some(total) = Number::from_f64(total.0 + total.1)
            {
                *sum = total;
            }
        }
        (sum @ Value::Null, more) => *sum = more.clone(),
        _ => {}
    }
}
