//! What a turn leaves, by where it stands in the history that the client sent.

use super::similar::fingerprint;
use super::store_tests::scope;
use super::tests::{open, query, saved, texts, turn};
use super::*;

/// A chat of one client: what it has been told, in turns of the user and the assistant.
#[derive(Clone, Default)]
struct Chat {
    conversation: Option<&'static str>,
    said: Vec<(bool, String)>,
}

impl Chat {
    fn history(&self, asked: &str) -> History {
        let said = self
            .said
            .iter()
            .map(|(is_user, text)| (*is_user, fingerprint(text)));
        History::of(said.chain([(true, fingerprint(asked))]))
    }

    /// Asks and is answered; the history goes on.
    async fn ask(&mut self, memory: &Memory, asked: &str, answer: &str) {
        let mut turn = turn(&scope("ann"), "", asked, answer);
        turn.conversation = self.conversation.map(Into::into);
        turn.history = self.history(asked);
        turn.now += 1000 * self.said.len() as i64;
        saved(memory, turn).await;
        self.said.push((true, asked.into()));
        self.said.push((false, answer.into()));
    }

    /// Goes back before the last `turns`.
    fn back(&mut self, turns: usize) {
        self.said.truncate(self.said.len() - 2 * turns);
    }

    /// What is recalled for a question that is asked now.
    async fn recalled(&self, memory: &Memory, asked: &str) -> Vec<String> {
        let mut query = query(asked);
        query.conversation = self.conversation.map(Into::into);
        query.history = self.history(asked);
        query.already_sent = self
            .said
            .iter()
            .map(|(_, text)| fingerprint(text))
            .collect();
        query.already_sent.push(fingerprint(asked));
        let recall = memory.recall(&scope("ann"), &query).await;
        let texts = recall.records.iter().map(|it| it.record.text.clone());
        texts.collect()
    }
}

fn chats() -> [Chat; 2] {
    [None, Some("c1")].map(|conversation| Chat {
        conversation,
        ..Chat::default()
    })
}

#[tokio::test]
async fn what_is_answered_again_takes_the_place_of_the_rejected_answer() {
    for mut chat in chats() {
        let (memory, _folder) = open();
        chat.ask(&memory, "I grow tomatoes.", "How nice.").await;
        chat.ask(&memory, "What eats tomatoes?", "Wolves eat your tomatoes.")
            .await;
        chat.back(1);
        let asked = "What eats tomatoes?";
        assert_eq!(chat.recalled(&memory, asked).await, [] as [&str; 0]);
        chat.ask(&memory, asked, "Slugs eat your tomatoes.").await;
        let all = [
            "I grow tomatoes.",
            "How nice.",
            asked,
            "Slugs eat your tomatoes.",
        ];
        assert_eq!(texts(&memory, &scope("ann")).await, all);
        let recall = memory
            .recall(&scope("ann"), &query("slugs and wolves"))
            .await;
        let history = &recall.records[0].record.history;
        assert_eq!(history[0].text, "Wolves eat your tomatoes.");
        assert_eq!(history[0].reason, record::Reason::Superseded);
        // The chat goes on from there.
        chat.ask(&memory, "And carrots, what eats them?", "Flies.")
            .await;
        assert_eq!(texts(&memory, &scope("ann")).await.len(), 6);
    }
}

#[tokio::test]
async fn what_is_edited_takes_the_place_of_what_was_withdrawn() {
    for mut chat in chats() {
        let (memory, _folder) = open();
        chat.ask(&memory, "I grow tomatoes.", "How nice.").await;
        chat.ask(&memory, "My cat is called Rex.", "Hello Rex.")
            .await;
        chat.back(1);
        let asked = "My cat is called Max.";
        assert_eq!(chat.recalled(&memory, asked).await, [] as [&str; 0]);
        chat.ask(&memory, asked, "Hello Max.").await;
        let all = ["I grow tomatoes.", "How nice.", asked, "Hello Max."];
        assert_eq!(texts(&memory, &scope("ann")).await, all);
    }
}

#[tokio::test]
async fn a_client_that_goes_on_from_a_rejected_try_has_it_back() {
    for mut chat in chats() {
        let (memory, _folder) = open();
        chat.ask(&memory, "I grow tomatoes.", "How nice.").await;
        chat.ask(&memory, "What eats tomatoes?", "Slugs eat your tomatoes.")
            .await;
        let first = chat.clone();
        chat.back(1);
        chat.ask(
            &memory,
            "What eats my tomatoes now?",
            "Wolves eat your tomatoes.",
        )
        .await;
        chat = first;
        let asked = "Who hunts what eats tomatoes?";
        assert_eq!(chat.recalled(&memory, asked).await, [] as [&str; 0]);
        chat.ask(&memory, asked, "Hedgehogs hunt slugs.").await;
        let all = [
            "I grow tomatoes.",
            "How nice.",
            "What eats tomatoes?",
            "Slugs eat your tomatoes.",
            asked,
            "Hedgehogs hunt slugs.",
        ];
        assert_eq!(texts(&memory, &scope("ann")).await, all);
        // The one that was last is no more than what was said meanwhile.
        let recall = memory.recall(&scope("ann"), &query("slugs")).await;
        let slugs = |it: &&Recalled| it.record.text.starts_with("Slugs");
        let history = &recall.records.iter().find(slugs).unwrap().record.history;
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].text, "Wolves eat your tomatoes.");
    }
}

#[tokio::test]
async fn the_first_question_asked_again_replaces_its_answer_alone() {
    for mut chat in chats() {
        let (memory, _folder) = open();
        chat.ask(&memory, "What eats tomatoes?", "Wolves do.").await;
        chat.back(1);
        assert_eq!(
            chat.recalled(&memory, "What eats tomatoes?").await,
            [] as [&str; 0]
        );
        chat.ask(&memory, "What eats tomatoes?", "Slugs do.").await;
        chat.back(1);
        chat.ask(&memory, "What eats carrots?", "Flies do.").await;
        let mut all = texts(&memory, &scope("ann")).await;
        all.sort();
        let expected = [
            "Flies do.",
            "Slugs do.",
            "What eats carrots?",
            "What eats tomatoes?",
        ];
        assert_eq!(all, expected);
    }
}

#[tokio::test]
async fn a_client_that_sends_its_newest_message_alone_replaces_nothing() {
    let examples = Chat {
        said: vec![(true, "What is 1 + 1?".into()), (false, "It is 2.".into())],
        ..Chat::default()
    };
    let greeting = Chat {
        said: vec![(false, "Welcome! What can I do for you?".into())],
        ..Chat::default()
    };
    for begin in [Chat::default(), examples, greeting] {
        for conversation in [None, Some("c1")] {
            let (memory, _folder) = open();
            let told = [
                "I am allergic to nuts.",
                "My blood type is zero.",
                "I live in Leeds.",
            ];
            for text in told {
                let mut chat = begin.clone();
                chat.conversation = conversation;
                assert!(
                    !chat
                        .recalled(&memory, "nuts, blood, Leeds")
                        .await
                        .is_empty()
                        || text == told[0]
                );
                chat.ask(&memory, text, &format!("Noted: {text}")).await;
            }
            let all = texts(&memory, &scope("ann")).await;
            assert_eq!(all.len(), 6, "{all:?}");
        }
    }
}

#[tokio::test]
async fn chats_that_begin_alike_replace_nothing_of_each_other() {
    let (memory, _folder) = open();
    for (conversation, told) in [
        (None, "I am allergic to nuts."),
        (None, "My blood type is zero."),
        (Some("c1"), "I live in Leeds."),
        (Some("c2"), "I work as a nurse."),
    ] {
        let mut chat = Chat {
            conversation,
            ..Chat::default()
        };
        chat.ask(&memory, "Good morning", "Hello! What can I do for you?")
            .await;
        chat.ask(&memory, told, "Noted.").await;
    }
    let all = texts(&memory, &scope("ann")).await;
    for told in ["nuts", "blood", "Leeds", "nurse"] {
        assert!(
            all.iter().any(|text| text.contains(told)),
            "{told}: {all:?}"
        );
    }
}

#[tokio::test]
async fn what_was_said_elsewhere_too_is_not_withdrawn() {
    let (memory, _folder) = open();
    let mut other = Chat {
        conversation: Some("c0"),
        ..Chat::default()
    };
    other.ask(&memory, "I like green tea.", "Good.").await;
    let [_, mut chat] = chats();
    chat.ask(&memory, "I grow tomatoes.", "How nice.").await;
    chat.ask(&memory, "I like green tea.", "So do I.").await;
    chat.back(1);
    chat.ask(&memory, "I like black coffee.", "So do I.").await;
    let all = texts(&memory, &scope("ann")).await;
    assert!(all.contains(&"I like green tea.".to_owned()), "{all:?}");
    assert!(all.contains(&"I like black coffee.".to_owned()), "{all:?}");
}

#[tokio::test]
async fn an_answer_after_the_clients_tools_is_part_of_its_turn() {
    let (memory, _folder) = open();
    let [_, mut chat] = chats();
    chat.ask(&memory, "I grow tomatoes.", "How nice.").await;
    for answer in ["It is sunny in Leeds.", "It rains in Leeds."] {
        // The call comes first, without an answer; then its result, without a user's message.
        let asked = "How is the weather in Leeds?";
        let history = chat.history(asked);
        for (user, assistant) in [(asked, ""), ("", answer)] {
            let mut turn = turn(&scope("ann"), "c1", user, assistant);
            turn.history = history;
            turn.now += 5000;
            saved(&memory, turn).await;
        }
    }
    let asked = "How is the weather in Leeds?";
    let all = ["I grow tomatoes.", "How nice.", asked, "It rains in Leeds."];
    assert_eq!(texts(&memory, &scope("ann")).await, all);
}

#[tokio::test]
async fn a_brief_answer_is_kept_with_its_question() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    for (asked, said, kept) in [
        (
            "Nice! And what is your blood type?",
            "O+",
            "And what is your blood type? — O+",
        ),
        ("What is your name?", "Ann", "What is your name? — Ann"),
        ("你吃素吗？", "是", "你吃素吗？ — 是"),
        ("Shall I go on.", "ok", ""),
    ] {
        let mut brief = turn(&ann, "c1", said, "");
        brief.asked = Some(asked.into());
        saved(&memory, brief).await;
        let all = texts(&memory, &ann).await;
        let is_last = all.last().is_some_and(|it| it == kept);
        assert!(kept.is_empty() || is_last, "{all:?}");
    }
    saved(&memory, turn(&ann, "c1", "How old am I?", "41")).await;
    let all = texts(&memory, &ann).await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(all[3], "How old am I? — 41");
    // A client that does not send the question again.
    saved(
        &memory,
        turn(&ann, "c2", "I have a dog.", "What is it called?"),
    )
    .await;
    let mut late = turn(&ann, "c2", "Rex", "");
    late.now += 60_000;
    saved(&memory, late).await;
    let found = memory.recall(&ann, &query("Rex")).await;
    assert_eq!(found.records[0].record.text, "What is it called? — Rex");
    // Who has the question and the answer in the history needs neither.
    let mut query = query("Rex");
    query.conversation = Some("c2".into());
    query.already_sent = ["Rex", "I have a dog.", "What is it called?"]
        .map(fingerprint)
        .into();
    assert_eq!(memory.recall(&ann, &query).await.outcome, Outcome::Miss);
}

#[tokio::test]
async fn who_said_it_is_kept_and_what_was_thought_is_not() {
    let (memory, _folder) = open();
    let ann = scope("ann");
    let mut named = turn(
        &ann,
        "c1",
        "I bring the salad on Sunday",
        "<think>Who?</think>Thank you, Bob!",
    );
    named.user_name = Some("Bob".into());
    saved(&memory, named.clone()).await;
    named.user_name = Some("Cleo".into());
    named.assistant_text = "<think>who is that".into();
    saved(&memory, named.clone()).await;
    named.user_name = Some("assistant".into());
    saved(&memory, named).await;
    let page = memory
        .list("tenant", &Selection::Scope(ann), None, 10)
        .await
        .unwrap();
    let said = page.records.iter().map(|it| (&*it.role, &*it.text));
    let mut said: Vec<_> = said.collect();
    said.sort_unstable();
    let salad = "I bring the salad on Sunday";
    let thanks = ("assistant", "Thank you, Bob!");
    assert_eq!(
        said,
        [("Bob", salad), ("Cleo", salad), thanks, ("user", salad)]
    );
}
