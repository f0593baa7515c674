//! What callers do, over every route, and what they were shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::act::{Act, Chance, TENANTS, mark, marks};
use crate::support::client::{Client, Response};

/// What was done and seen.
#[derive(Debug, Default)]
pub struct Tally {
    pub operations: BTreeMap<&'static str, usize>,
    /// Marks that a caller saw and may see, by operation.
    pub seen: BTreeMap<&'static str, usize>,
    pub cross_reads: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        for (sum, counts) in [
            (&mut self.operations, other.operations),
            (&mut self.seen, other.seen),
        ] {
            for (what, count) in counts {
                *sum.entry(what).or_default() += count;
            }
        }
        self.cross_reads.extend(other.cross_reads);
    }
}

/// Ids of records that were made, by whom.
pub type Made = Mutex<Vec<(char, String)>>;

pub struct Caller<'a> {
    pub client: Client,
    pub admin: SocketAddr,
    pub chance: Chance,
    pub tally: Tally,
    pub made: &'a Made,
}

const HOLDERS: [Option<char>; 6] = [Some('0'), Some('1'), Some('2'), Some('x'), Some('y'), None];
const HELD: [Option<char>; 5] = [Some('0'), Some('1'), Some('2'), Some('x'), Some('y')];

const QUESTIONS: [&str; 2] = [
    "What is known of the dragon and the river?",
    "And of the tea, the violin and 龙井茶?",
];

impl Caller<'_> {
    pub fn operate(&mut self) {
        match self.chance.below(20) {
            0..5 => self.chat("/v1/chat/completions"),
            5 => self.chat("/v1/preview"),
            6..9 => self.create(),
            9..11 => self.list(),
            11 => self.search(),
            12..15 => self.single(),
            15 => self.conversation(),
            16 => self.performance(),
            17 => self.passing_through(),
            18 => self.admin(),
            _ => self.delete(),
        }
    }

    /// Notes an answer; `whole_tenant`: it may show all that the tenant has.
    fn judge(&mut self, what: &'static str, act: &Act, answer: &Response, whole_tenant: bool) {
        *self.tally.operations.entry(what).or_default() += 1;
        let head: String = answer
            .head
            .fields
            .iter()
            .map(|(_, value)| &**value)
            .collect();
        for mark in marks(&answer.text()).into_iter().chain(marks(&head)) {
            if act.may_see(mark, whole_tenant) {
                *self.tally.seen.entry(what).or_default() += 1;
            } else {
                let saw = format!("{what}: {mark:?} was shown to {act:?}");
                self.tally.cross_reads.push(saw);
            }
        }
    }

    fn text(&mut self, act: &Act) -> String {
        let noun = self
            .chance
            .of(&["dragon", "river", "tea", "violin", "龙井茶"]);
        let own = mark(act.tenant, act.holder.unwrap_or('m'));
        format!(
            "the {noun} number {} belongs to {own}",
            self.chance.below(1000)
        )
    }

    fn chat(&mut self, path: &'static str) {
        let holder = self.chance.of(&HOLDERS);
        let mut act = Act::new(&mut self.chance, holder).for_chat(&mut self.chance);
        act.body["model"] = json!(mark(act.tenant, 'm'));
        act.body["stream"] = json!(self.chance.one_in(2));
        // All begin alike, so that only their scopes keep apart what was put in before.
        let asked = self.chance.below(QUESTIONS.len() + 1);
        let mut messages = Vec::new();
        for question in &QUESTIONS[..asked] {
            messages.push(json!({ "role": "user", "content": question }));
            messages.push(json!({ "role": "assistant", "content": "A lot." }));
        }
        let text = match QUESTIONS.get(asked).filter(|_| self.chance.one_in(2)) {
            Some(question) => (*question).to_owned(),
            None => self.text(&act),
        };
        messages.push(json!({ "role": "user", "content": text }));
        act.body["messages"] = messages.into();
        // The anonymous have no memory, and are shown their own words alone.
        act.holder = act.holder.or(Some('m'));
        let answer = act.send(&mut self.client, "POST", path);
        assert_eq!(answer.status(), 200, "{act:?}: {}", answer.text());
        self.judge(path, &act, &answer, false);
    }

    fn create(&mut self) {
        let holder = self.chance.of(&HELD);
        let mut act = Act::new(&mut self.chance, holder).for_memory(&mut self.chance, false);
        act.body["text"] = json!(self.text(&act));
        act.body["role"] = json!("user");
        act.body["tenant"] = json!(format!("tenant-{}", self.chance.of(&TENANTS)));
        if let Some(id) = self.any_id() {
            act.body["id"] = json!(id);
        }
        let answer = act.send(&mut self.client, "POST", "/v1/memories");
        if answer.status() == 409 {
            // Somebody erased that memory while this was on its way.
            assert_eq!(answer.error(409)["code"], "memory_erased", "{act:?}");
            return self.judge("create", &act, &answer, false);
        }
        assert_eq!(answer.status(), 201, "{act:?}: {}", answer.text());
        let shown: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let id = shown["id"].as_str().expect("an id").to_owned();
        self.made.lock().expect("no panic").push((act.tenant, id));
        self.judge("create", &act, &answer, false);
    }

    fn list(&mut self) {
        let holder = self.chance.of(&HOLDERS);
        let mut act = Act::new(&mut self.chance, holder).for_memory(&mut self.chance, true);
        let (what, path) = self
            .chance
            .of(&[("list", "/v1/memories"), ("export", "/v1/memories/export")]);
        if let Some(id) = self.any_id().filter(|_| self.chance.one_in(2)) {
            let joint = if act.query.is_empty() { '?' } else { '&' };
            act.query.push_str(&format!("{joint}cursor={id}"));
        }
        let answer = act.send(&mut self.client, "GET", path);
        // A conversation's list holds what each user of the tenant said in it.
        let is_user = act.holder.is_some_and(|holder| holder.is_ascii_digit());
        self.judge(what, &act, &answer, !is_user);
    }

    fn search(&mut self) {
        let holder = self.chance.of(&HELD);
        let mut act = Act::new(&mut self.chance, holder).for_memory(&mut self.chance, false);
        act.body["query"] = json!("whose is the dragon, the river and the tea?");
        act.body["limit"] = json!(50);
        let answer = act.send(&mut self.client, "POST", "/v1/memories/search");
        assert_eq!(answer.status(), 200, "{act:?}: {}", answer.text());
        self.judge("search", &act, &answer, false);
    }

    /// Reads, edits or removes one record, which is mostly another's.
    fn single(&mut self) {
        let Some(id) = self.any_id() else {
            return;
        };
        let holder = self.chance.of(&[Some('0'), Some('1'), Some('2'), None]);
        let mut act = Act::new(&mut self.chance, holder);
        if let Some(user) = act.holder {
            act.fields.push(format!("X-YYChat-User-Id: u{user}"));
        }
        let method = self.chance.of(&["GET", "GET", "PUT", "DELETE"]);
        // An edit by nobody in particular leaves the tenant's mark.
        act.body = json!({ "text": self.text(&act) });
        let answer = act.send(&mut self.client, method, &format!("/v1/memories/{id}"));
        let owner = self.owner(&id);
        if owner != act.tenant {
            assert_eq!(answer.status(), 404, "{method} {id} of {owner}: {act:?}");
        }
        self.judge("single", &act, &answer, false);
    }

    fn conversation(&mut self) {
        let act = Act::new(&mut self.chance, None);
        let path = format!("/v1/conversations/c{}/memory", self.chance.of(&['x', 'y']));
        let answer = act.send(&mut self.client, "GET", &path);
        self.judge("conversation", &act, &answer, true);
    }

    fn performance(&mut self) {
        let act = Act::new(&mut self.chance, None);
        let path = self
            .chance
            .of(&["/v1/performance/recent?count=1000", "/v1/performance/stats"]);
        let answer = act.send(&mut self.client, "GET", path);
        self.judge("performance", &act, &answer, true);
    }

    fn passing_through(&mut self) {
        let mut act = Act::new(&mut self.chance, None);
        act.body = json!({ "model": mark(act.tenant, 'm'), "input": "x" });
        let answer = act.send(&mut self.client, "POST", "/v1/embeddings");
        self.judge("passing through", &act, &answer, true);
    }

    /// The admin listener has users' texts for an app's key alone, and only that tenant's.
    fn admin(&mut self) {
        let mut act = Act::new(&mut self.chance, None);
        let keyed = self.chance.one_in(2);
        if !keyed {
            act.fields.clear();
        }
        let path = self
            .chance
            .of(&["/v1/memories", "/v1/memories/export", "/metrics", "/status"]);
        let answer = act.send(&mut Client::connect(self.admin), "GET", path);
        if !keyed && path.starts_with("/v1/") {
            assert_eq!(answer.status(), 401, "{path}");
        }
        if path.starts_with("/v1/") {
            self.judge("admin", &act, &answer, true);
        } else {
            // Figures of everyone; what users said is no part of them.
            *self.tally.operations.entry("admin, figures").or_default() += 1;
            let said = marks(&answer.text())
                .into_iter()
                .any(|(_, holder)| holder != 'm');
            assert!(!said, "{path}: {}", answer.text());
        }
    }

    fn delete(&mut self) {
        let holder = self.chance.of(&HELD);
        let act = Act::new(&mut self.chance, holder).for_memory(&mut self.chance, true);
        let answer = act.send(&mut self.client, "DELETE", "/v1/memories");
        self.judge("delete", &act, &answer, false);
    }

    fn any_id(&mut self) -> Option<String> {
        let made = self.made.lock().expect("no panic");
        let newest = made.len().min(500);
        (newest > 0).then(|| made[made.len() - 1 - self.chance.below(newest)].1.clone())
    }

    fn owner(&self, id: &str) -> char {
        let made = self.made.lock().expect("no panic");
        let found = made.iter().rev().find(|(_, known)| known == id);
        found
            .map(|(tenant, _)| *tenant)
            .expect("an id that was made")
    }
}
