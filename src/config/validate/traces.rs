//! `[traces]`.

use secrecy::SecretString;

use super::upstreams::base_url;
use crate::config::check::Check;
use crate::config::model::Traces;
use crate::config::raw;

pub(super) fn traces(raw: &raw::Traces, check: &mut Check<'_>) -> Traces {
    let endpoint = raw.endpoint.as_ref().map(|text| {
        let example = "http://127.0.0.1:4318";
        base_url("traces.endpoint", text, example, check)
    });
    check.required("traces.service_name", &raw.service_name);
    let ratio = raw.sample_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        check.fault(
            "traces.sample_ratio",
            format!("is {ratio}, out of range"),
            "give 0 to 1, such as 0.01 for one request in a hundred",
        );
    }
    Traces {
        headers: raw.headers.as_ref().map(|secret| headers(secret, check)),
        endpoint,
        sample_ratio: ratio,
        service_name: raw.service_name.clone(),
    }
}

fn headers(secret: &raw::Secret, check: &mut Check<'_>) -> SecretString {
    let key = "traces.headers";
    let headers = check.secret(key, secret);
    let parses = Traces::fields(&headers).is_some();
    if !parses && !check.places.has_fault_in(key) {
        check.fault(
            key,
            "does not hold header fields",
            "put `name=value` there, with a comma between two and values percent-encoded, as in \
             \"authorization=Bearer%20abc\"",
        );
    }
    headers
}
