use proptest::prelude::*;
use serde_json::json;

use super::*;

async fn calculate(arguments: Value) -> (Outcome, Value) {
    let result = shipped()
        .call("calculator", &arguments.to_string(), CONTEXT)
        .await;
    (result.outcome, parsed(result.content.as_bytes()))
}

#[tokio::test]
async fn the_calculator_computes() {
    for (operation, a, b, result) in [
        ("add", json!(1), json!(1), json!(2)),
        ("subtract", json!(0.5), json!(2), json!(-1.5)),
        ("multiply", json!(1e10), json!(1e10), json!(1e20)),
        ("divide", json!(7), json!(2), json!(3.5)),
        ("pow", json!(2), json!(-1), json!(0.5)),
        ("pow", json!(-2), json!(3), json!(-8)),
        ("sqrt", json!(16), json!(0), json!(4)),
    ] {
        let answer = calculate(json!({"operation": operation, "a": a, "b": b})).await;
        assert_eq!(
            answer,
            (Outcome::Ok, json!({"result": result})),
            "{operation}"
        );
    }
    let answer = calculate(json!({"operation": "sqrt", "a": 2})).await;
    assert_eq!(answer.1, json!({"result": 2f64.sqrt()}));
}

#[tokio::test]
async fn what_cannot_be_computed_is_told_to_the_model() {
    for (arguments, told) in [
        (
            json!({"operation": "divide", "a": 1, "b": 0}),
            "1 divided by zero has no value",
        ),
        (json!({"operation": "sqrt", "a": -4}), "-4 is negative"),
        (
            json!({"operation": "pow", "a": 0, "b": -1}),
            "divides by zero",
        ),
        (
            json!({"operation": "pow", "a": -8, "b": 0.5}),
            "no real value",
        ),
        (json!({"operation": "pow", "a": 10, "b": 400}), "too large"),
        (
            json!({"operation": "add", "a": 1}),
            "add needs the number `b`",
        ),
        (json!({"operation": "modulo", "a": 1, "b": 2}), "modulo"),
        (json!({"operation": "add", "a": "1", "b": 2}), "/a"),
        (json!({"operation": "add", "a": 1, "b": 2, "c": 3}), "'c'"),
        (json!([1, 2]), "object"),
    ] {
        let (outcome, answer) = calculate(arguments).await;
        assert_eq!(outcome, Outcome::InvalidArguments);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains(told), "{error}");
    }
    let broken = shipped().call("calculator", "{\"a\": ", CONTEXT).await;
    assert_eq!(broken.outcome, Outcome::InvalidArguments);
    assert!(broken.content.contains("not JSON"), "{}", broken.content);
}

#[tokio::test]
async fn the_clock_knows_zones() {
    let now = |timezone: Value| async move {
        let arguments = json!({"timezone": timezone}).to_string();
        let result = shipped().call("gettime", &arguments, CONTEXT).await;
        (result.outcome, parsed(result.content.as_bytes()))
    };
    let (outcome, answer) = now(json!("Asia/Shanghai")).await;
    assert_eq!(outcome, Outcome::Ok);
    assert_eq!(answer["timezone"], "Asia/Shanghai");
    let told: jiff::Timestamp = answer["current_time"].as_str().unwrap().parse().unwrap();
    assert_eq!(told.as_second(), answer["timestamp"].as_i64().unwrap());
    assert!(answer["current_time"].as_str().unwrap().ends_with("+08:00"));

    let (outcome, answer) = now(json!("Europe/Atlantis")).await;
    assert_eq!(outcome, Outcome::InvalidArguments);
    assert!(answer["error"].as_str().unwrap().contains("IANA"));

    let default = shipped().call("gettime", "", CONTEXT).await;
    assert_eq!(parsed(default.content.as_bytes())["timezone"], "UTC");
}

#[tokio::test]
async fn a_plugin_sets_the_clocks_zone() {
    let toolbox = one(
        "kind = \"builtin\"\nconfig = { timezone = \"America/St_Johns\" }\n[[tools]]\n\
         name = \"gettime\"\ndescription = \"d\"\n",
    );
    let result = toolbox.call("gettime", "{}", CONTEXT).await;
    assert_eq!(
        parsed(result.content.as_bytes())["timezone"],
        "America/St_Johns"
    );
}

#[tokio::test]
async fn calls_beyond_the_rate_are_refused() {
    let toolbox = load(&project("tests/fixtures/plugins/valid")).unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(toolbox.call("gettime", "{}", CONTEXT).await.outcome);
    }
    assert_eq!(outcomes, [Outcome::Ok, Outcome::Ok, Outcome::RateLimited]);
}

#[tokio::test]
async fn a_result_beyond_the_cap_is_refused() {
    let context = CallContext {
        result_cap: 10,
        ..CONTEXT
    };
    let result = shipped().call("gettime", "{}", context).await;
    assert_eq!(result.outcome, Outcome::TooLarge);
    assert!(result.content.contains("larger than 10 bytes"));
}

#[tokio::test]
async fn an_unknown_tool_is_told_with_the_nearest() {
    let result = shipped().call("get_time", "{}", CONTEXT).await;
    assert_eq!(result.outcome, Outcome::UnknownTool);
    assert!(result.content.contains("gettime"), "{}", result.content);
}

#[test]
fn labels_are_what_serde_says() {
    for outcome in Outcome::ALL {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.label());
    }
}

proptest! {
    /// Any arguments give a result, and it is JSON.
    #[test]
    fn no_arguments_panic(
        operation in "add|divide|pow|sqrt",
        a in any::<f64>(),
        b in any::<f64>(),
        garbage in "\\PC{0,30}",
    ) {
        let toolbox = shipped();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let numbers = json!({"operation": operation, "a": a, "b": b}).to_string();
        for arguments in [numbers.as_str(), garbage.as_str()] {
            let result = runtime.block_on(toolbox.call("calculator", arguments, CONTEXT));
            prop_assert!(serde_json::from_str::<Value>(&result.content).is_ok());
        }
    }
}
