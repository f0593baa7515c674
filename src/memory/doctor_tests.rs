//! What the first version stored and nobody said.

use std::sync::Arc;

use super::store::Change;
use super::store_tests::scope;
use super::tests::config;
use super::*;

const NOW: i64 = 1_700_000_000_000;

fn turn(at: i64, role: &str, text: &str, request: &str) -> Record {
    let mut record = Record::new(&scope("ann"), role, text.into(), Source::Chat, NOW + at);
    record.request_id = Some(request.into());
    record
}

fn title(text: &str) -> Option<Arc<str>> {
    text.starts_with("### Task:").then(|| "title".into())
}

#[tokio::test]
async fn what_nobody_said_is_found_and_goes_and_all_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(&config(folder.path()), None).unwrap();
    let errand = turn(0, "user", "### Task:\nGenerate a concise title.", "r1");
    let answer = turn(
        1,
        "assistant",
        "{\"title\": \"Cats and their names\"}",
        "r1",
    );
    let mut fact = turn(2, "fact", "The user writes titles.", "r1");
    fact.source = Source::Extraction;
    fact.derived_from = vec![errand.id, answer.id];
    let template = turn(
        3,
        "user",
        "<context>\n<source id=\"1\">Cats sleep a lot.</source>\n</context>\n\nMy cat is called Pixel.",
        "r2",
    );
    let mut thinking = turn(
        4,
        "assistant",
        "<think>The user may live in Leeds.</think>\n\nPixel is a fine name.",
        "r2",
    );
    thinking.history.push(record::Revision {
        text: "<think>Hm.</think> Pixel!".into(),
        replaced_at: NOW,
        reason: record::Reason::Superseded,
    });
    let only_thinking = turn(5, "assistant", "<think>Nothing to say.</think>", "r3");
    let mut kept_fact = fact.clone();
    kept_fact.id = record::new_id(NOW + 6);
    kept_fact.derived_from = vec![errand.id, template.id];
    let mut own = turn(7, "user", "### Task: buy milk", "r4");
    own.source = Source::Api;
    let well = [
        kept_fact,
        own,
        turn(8, "user", "I live in York,\r\n  by the river.", "r5"),
        turn(
            9,
            "assistant",
            "`<think>` is a tag that models write.",
            "r5",
        ),
    ];
    let ill = [
        &errand,
        &answer,
        &fact,
        &template,
        &thinking,
        &only_thinking,
    ];
    let all = ill.into_iter().chain(&well).cloned();
    let puts = all.map(Change::Put).collect();
    memory.store.apply(puts).await.unwrap();

    let mut findings = examined(&memory).await;
    findings.sort_by_key(|found| found.record.id);
    let found: Vec<_> = findings
        .iter()
        .map(|found| {
            (
                &found.record.text,
                &found.ill,
                found.said.as_ref().map(|it| &*it.text),
            )
        })
        .collect();
    let rule: Arc<str> = "title".into();
    let expected = [
        (&errand.text, &Ill::Auxiliary(rule), None),
        (&answer.text, &Ill::Answer, None),
        (&fact.text, &Ill::Fact, None),
        (
            &template.text,
            &Ill::Template,
            Some("My cat is called Pixel."),
        ),
        (
            &thinking.text,
            &Ill::Thinking,
            Some("Pixel is a fine name."),
        ),
        (&only_thinking.text, &Ill::Thinking, None),
    ];
    assert_eq!(found, expected);

    // What is deleted meanwhile does not come back.
    let template_id = template.id.to_string();
    memory.delete("tenant", None, &template_id).await.unwrap();
    memory.cure(findings).await.unwrap();
    assert!(examined(&memory).await.is_empty());
    let (records, _) = memory.store.scan(None, 100).await.unwrap();
    let cured = records.iter().find(|it| it.id == thinking.id).unwrap();
    assert_eq!(cured.text, "Pixel is a fine name.");
    assert_eq!((&cured.history[..], cured.created_at), (&[][..], NOW + 4));
    assert_eq!(records.len(), well.len() + 1);
    for record in &well {
        assert!(records.contains(record), "{}", record.text);
    }
}

async fn examined(memory: &Memory) -> Vec<Finding> {
    let (records, _) = memory.store.scan(None, 100).await.unwrap();
    let mut doctor = Doctor::new(&title);
    for _ in 0..2 {
        records.iter().rev().for_each(|record| doctor.see(record));
    }
    let judged = records.into_iter().rev().filter_map(|it| doctor.judge(it));
    judged.collect()
}
