//! `yychat memory doctor`: what earlier versions stored and nobody said.

use std::collections::BTreeMap;

use super::Whose;
use super::erase::sure;
use crate::cli::{one_line, print};
use crate::error::Fault;
use crate::memory::{Doctor, Finding, Ill, Memory, Parts, StoreError};
use crate::purpose::Rules;

/// Characters of a text that are shown.
const SHOWN: usize = 100;

/// Lists what is found, one a line, and takes it out where that is asked for.
pub async fn doctor(
    memory: &Memory,
    rules: &Rules,
    whose: &Whose,
    (remove, yes): (bool, bool),
) -> Result<(), Fault> {
    let auxiliary = |text: &str| rules.of_words(text).map(|rule| rule.name.clone());
    let mut doctor = Doctor::new(&auxiliary);
    for _ in 0..2 {
        let mut parts = whose_parts(memory, whose);
        while let Some(records) = memory.next_part(&mut parts).await.map_err(failed)? {
            records.iter().for_each(|record| doctor.see(record));
        }
    }
    if remove {
        let question = "Take out what is found, errands and their answers whole, of others what \
            nobody said?";
        sure(question, yes)?;
    }
    let mut parts = whose_parts(memory, whose);
    let mut seen = 0;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    while let Some(records) = memory.next_part(&mut parts).await.map_err(failed)? {
        seen += records.len();
        let judged = records.into_iter().filter_map(|it| doctor.judge(it));
        let findings: Vec<Finding> = judged.collect();
        print(&findings.iter().map(line).collect::<String>())?;
        for found in &findings {
            *counts.entry(name(&found.ill)).or_insert(0) += 1;
        }
        if remove {
            memory.cure(findings).await.map_err(failed)?;
        }
    }
    let found: usize = counts.values().sum();
    let each = counts.iter().map(|(name, count)| format!("{count} {name}"));
    let each = each.collect::<Vec<_>>().join(", ");
    match (found, remove) {
        (0, _) => eprintln!("{seen} records, all well"),
        (_, true) => eprintln!("{seen} records, of which {found} were mended: {each}"),
        (_, false) => eprintln!("{seen} records, of which {found} are ill: {each}; --remove mends"),
    }
    Ok(())
}

fn whose_parts(memory: &Memory, whose: &Whose) -> Parts {
    let selection = whose.selection();
    memory.parts((!whose.is_everything()).then(|| (whose.tenant(), &selection)))
}

fn name(ill: &Ill) -> &'static str {
    match ill {
        Ill::Auxiliary(_) => "auxiliary",
        Ill::Answer => "answer",
        Ill::Fact => "fact",
        Ill::Template => "template",
        Ill::Thinking => "thinking",
    }
}

fn line(found: &Finding) -> String {
    let record = &found.record;
    let at = jiff::Timestamp::from_millisecond(record.created_at).unwrap_or_default();
    let user = record.scope.user().map_or("-", |user| user);
    let rule = match &found.ill {
        Ill::Auxiliary(rule) => format!(";rule={rule}"),
        _ => String::new(),
    };
    let ill = name(&found.ill);
    let shown = |text: &str| one_line(text).chars().take(SHOWN).collect::<String>();
    let text = shown(&record.text);
    let left = found.said.as_ref();
    let left = left.map_or_else(String::new, |said| format!("  → {}", shown(&said.text)));
    let [user, role] = [user, &record.role].map(one_line);
    format!(
        "{}  {at:.0}  {user}  {ill}{rule}  {role}: {text}{left}\n",
        record.id
    )
}

fn failed(error: StoreError) -> Fault {
    let mend = "mend that and run it again: what was mended stays so";
    Fault::new("memory doctor", error.to_string(), mend)
}
