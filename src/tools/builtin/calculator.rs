//! Arithmetic on two numbers.

use serde_json::{Map, Value, json};

/// Whole numbers up to here are exact in a double: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// `{operation, a, b}` to `{"result": …}`.
///
/// # Errors
///
/// Tells the model what cannot be computed.
pub(super) fn calculate(arguments: &Map<String, Value>) -> Result<Value, String> {
    let operation = arguments.get("operation").and_then(Value::as_str);
    let operation = operation.ok_or("`operation` is missing")?;
    let number = |name: &str| {
        let number = arguments.get(name).and_then(Value::as_f64);
        number.ok_or(format!("{operation} needs the number `{name}`"))
    };
    let a = number("a")?;
    let result = match operation {
        "add" => a + number("b")?,
        "subtract" => a - number("b")?,
        "multiply" => a * number("b")?,
        "divide" => match number("b")? {
            0.0 => return Err(format!("{a} divided by zero has no value")),
            b => a / b,
        },
        "pow" => power(a, number("b")?)?,
        "sqrt" if a < 0.0 => return Err(format!("{a} is negative: it has no real square root")),
        "sqrt" => a.sqrt(),
        other => {
            return Err(format!(
                "there is no operation {other:?}; use add, subtract, multiply, divide, pow or sqrt"
            ));
        }
    };
    if !result.is_finite() {
        return Err("the result is too large for a double, beyond 1.8e308".to_owned());
    }
    Ok(json!({ "result": written(result) }))
}

fn power(base: f64, exponent: f64) -> Result<f64, String> {
    if base == 0.0 && exponent < 0.0 {
        return Err("zero to a negative power divides by zero".to_owned());
    }
    if base < 0.0 && exponent.fract() != 0.0 {
        return Err(format!("{base} to the power {exponent} has no real value"));
    }
    Ok(base.powf(exponent))
}

/// A whole number without `.0`, as people write it.
fn written(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Value::from(number as i64);
    }
    Value::from(number)
}
