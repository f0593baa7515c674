//! A request of a caller: whom it acts for, whom it names beside, and what it may be shown.

use serde_json::{Value, json};

use crate::support::client::{Client, Response};

pub const TENANTS: [char; 3] = ['a', 'b', 'c'];

/// `zqa1zq`: tenant a, user 1. Conversations without a user are x and y, a tenant's models m.
pub fn mark(tenant: char, holder: char) -> String {
    format!("zq{tenant}{holder}zq")
}

/// Every mark in a text, as tenant and holder.
pub fn marks(text: &str) -> Vec<(char, char)> {
    text.match_indices("zq")
        .filter_map(|(at, _)| {
            let mut letters = text.get(at + 2..at + 6)?.chars();
            let (tenant, holder) = (letters.next()?, letters.next()?);
            (letters.as_str() == "zq" && TENANTS.contains(&tenant)).then_some((tenant, holder))
        })
        .collect()
}

/// Marsaglia's xorshift: the same operations for the same seed, on every machine.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

/// Whom a request acts for, and where it says so.
#[derive(Debug)]
pub struct Act {
    pub tenant: char,
    /// A user's number, or a conversation's letter; `None` names nobody.
    pub holder: Option<char>,
    pub fields: Vec<String>,
    pub body: Value,
    pub query: String,
}

impl Act {
    pub fn new(chance: &mut Chance, holder: Option<char>) -> Self {
        let tenant = chance.of(&TENANTS);
        let mut fields = vec![format!("{}key-{tenant}-0123456789", key_field(chance))];
        // What other gateways believe, and this one does not.
        for spoof in [
            "X-Tenant-Id",
            "X-YYChat-Tenant",
            "X-Forwarded-User",
            "X-User-Id",
        ] {
            if chance.one_in(3) {
                fields.push(format!("{spoof}: tenant-{}", chance.of(&TENANTS)));
            }
        }
        Self {
            tenant,
            holder,
            fields,
            body: json!({}),
            query: String::new(),
        }
    }

    /// Names the holder as a chat may name it; where it can be outvoted, others are named too.
    pub fn for_chat(mut self, chance: &mut Chance) -> Self {
        let other = format!("u{}", chance.below(3));
        match self.holder {
            Some(user @ '0'..='9') => {
                let user = format!("u{user}");
                match chance.below(5) {
                    0 => {
                        self.fields.push(format!("X-YYChat-User-Id: {user}"));
                        self.body["user"] = json!(other);
                        self.fields.push(format!("X-OpenWebUI-User-Id: {other}"));
                        self.body["metadata"] = json!({ "user_id": other });
                    }
                    1 => {
                        self.body["user"] = json!(user);
                        self.fields.push(format!("X-SM-User-Id: {other}"));
                        self.fields.push(format!("X-Session-Id: {other}"));
                    }
                    2 => self.fields.push(format!("X-Resource-Id: {user}")),
                    3 => self
                        .fields
                        .push(format!("X-YYChat-User-Id: %75{}", &user[1..])),
                    _ => self.body["metadata"] = json!({ "user_id": user }),
                }
                if chance.one_in(2) {
                    self.body["conversation_id"] = json!(chance.of(&["cx", "cy"]));
                }
            }
            Some(conversation) if chance.one_in(2) => {
                let name = format!("X-YYChat-Conversation-Id: c{conversation}");
                self.fields.push(name);
                self.body["conversation_id"] = json!("cz");
            }
            Some(conversation) => self.body["conversation_id"] = json!(format!("c{conversation}")),
            None => {}
        }
        self.body["tenant"] = json!(format!("tenant-{}", chance.of(&TENANTS)));
        self
    }

    /// Names the holder as the endpoints of memory have it.
    pub fn for_memory(mut self, chance: &mut Chance, in_query: bool) -> Self {
        let other = format!("u{}", chance.below(3));
        match self.holder {
            Some(user @ '0'..='9') => {
                let (user, by_header) = (format!("u{user}"), chance.one_in(2));
                let named = if by_header { other } else { user.clone() };
                if by_header {
                    self.fields.push(format!("X-YYChat-User-Id: {user}"));
                }
                match in_query {
                    true => self.query = format!("?user_id={named}"),
                    false => self.body["user_id"] = json!(named),
                }
            }
            Some(conversation) if in_query => {
                self.query = format!("?conversation_id=c{conversation}");
            }
            Some(conversation) => self.body["conversation_id"] = json!(format!("c{conversation}")),
            None => {}
        }
        self
    }

    pub fn send(&self, client: &mut Client, method: &str, path: &str) -> Response {
        let mut request = format!(
            "{method} {path}{} HTTP/1.1\r\nHost: localhost\r\n",
            self.query
        );
        for field in &self.fields {
            request.push_str(&format!("{field}\r\n"));
        }
        let body = match method {
            "POST" | "PUT" => self.body.to_string(),
            _ => String::new(),
        };
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.exchange(request)
    }

    /// Whether a caller who named this holder may see this mark.
    pub fn may_see(&self, (tenant, holder): (char, char), whole_tenant: bool) -> bool {
        let own = self.holder.is_none_or(|mine| mine == holder) || holder == 'm';
        tenant == self.tenant && (whole_tenant || own)
    }
}

/// The gateway's key, in either of its places; beside the second another's may stand.
fn key_field(chance: &mut Chance) -> String {
    match chance.below(3) {
        0 => format!(
            "Authorization: Bearer key-{}-0123456789\r\nX-YYChat-Api-Key: ",
            chance.of(&TENANTS)
        ),
        1 => "X-YYChat-Api-Key: ".into(),
        _ => "Authorization: Bearer ".into(),
    }
}

#[test]
fn a_cross_read_would_be_noticed() {
    let act = Act {
        tenant: 'a',
        holder: Some('1'),
        fields: Vec::new(),
        body: Value::Null,
        query: String::new(),
    };
    assert_eq!(
        marks("x zqa1zq y zqb1zqzqa2zq zqa"),
        [('a', '1'), ('b', '1'), ('a', '2')]
    );
    assert!(act.may_see(('a', '1'), false) && act.may_see(('a', 'm'), false));
    assert!(!act.may_see(('b', '1'), true) && !act.may_see(('a', '2'), false));
    assert!(act.may_see(('a', '2'), true));
}
