//! Frames of a WebSocket of Responses, one a line, some the client's and some an upstream's. What is taken
//! of a client's becomes a body that is read as one, and that body a frame which asks for the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use yychat_fuzz::dialect::Dialect;
use yychat_fuzz::dialect::socket::{Heard, History, Lineage, Said, http_error, in_lane, read};

fuzz_target!(|input: &[u8]| {
    let (mut history, mut lineage) = (History::default(), Lineage::default());
    let mut asked = None;
    let mut heard = [Heard::default(), Heard::default()];
    for line in input.split(|byte| *byte == b'\n') {
        let frame = Bytes::copy_from_slice(line);
        if let Ok(Said::Create(create)) = read(&frame, 64) {
            let (body, told) = history.body(&create);
            Dialect::Responses.read(body.clone(), 64).expect("a body");
            let json: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(json["stream"], true);
            let (frame, again, is_rest) = lineage.frame(&body);
            let json: Value = serde_json::from_slice(&frame).expect("JSON");
            assert_eq!(json["type"], "response.create");
            assert!(!is_rest || json["previous_response_id"].is_string());
            asked = Some((told, again));
            continue;
        }
        let _ = http_error(&frame);
        let event = in_lane(frame, Some("lane"));
        heard.iter_mut().for_each(|heard| heard.event(&event));
        if heard[0].has_ended()
            && let Some((told, again)) = asked.take()
        {
            let [first, second] = std::mem::take(&mut heard);
            history.answered(told, first);
            lineage.answered(again, second);
        }
    }
});
