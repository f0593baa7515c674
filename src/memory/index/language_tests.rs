//! People ask in their own language, and in their own spelling.

use super::tests::*;
use super::*;

/// `# Language`, then a fact and what is asked for it a line.
const LANGUAGES: &str = include_str!("languages.txt");

#[test]
fn every_language_is_read() {
    let (mut asked, mut right) = (0, 0);
    for part in LANGUAGES.split("# ").skip(1) {
        let (language, lines) = part.split_once('\n').unwrap();
        let facts = lines.lines().map(|line| line.split_once(" | ").unwrap());
        let facts: Vec<(&str, &str)> = facts.collect();
        let index = Index::build(
            (0..)
                .zip(&facts)
                .map(|(n, (fact, _))| document(fact, hours(n))),
        );
        let first = |question: &str| {
            let told = |doc: u32| document(facts[doc as usize].0, hours(i64::from(doc)));
            let (_, found) = index.rank(
                &Query::new(question, &[]),
                (None, &Clock::default()),
                told,
                1,
            );
            found.first().map(|found| found.doc as usize)
        };
        let wrong = facts.iter().enumerate();
        let wrong = wrong.filter(|(n, (_, question))| first(question) != Some(*n));
        let wrong: Vec<_> = wrong.map(|(_, (_, question))| *question).collect();
        println!(
            "{language}: {} of {} {wrong:?}",
            facts.len() - wrong.len(),
            facts.len()
        );
        let most = facts.len().div_ceil(5);
        assert!(wrong.len() <= most, "{language}: {wrong:?}");
        asked += facts.len();
        right += facts.len() - wrong.len();
    }
    assert!(right * 100 >= asked * 92, "{right} of {asked}");
}
