//! The decorators of V3: lines of an entry's content that begin with `@@`.
//!
//! Those that ask for what this gateway cannot know (the model's context limit, earlier matches,
//! greetings, icons) or that are for contexts without chat are ignored, as the specification asks:
//! their fallbacks (`@@@`) are tried instead. All of them are taken out of the content.

use super::Slot;

/// What an entry's decorators say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decorators {
    pub(super) activate: bool,
    pub(super) dont_activate: bool,
    pub(super) only_after: Option<usize>,
    pub(super) only_every: Option<usize>,
    pub(super) scan_depth: Option<usize>,
    pub(super) depth: Option<usize>,
    pub(super) position: Option<Slot>,
    /// One group for each `@@additional_keys`.
    pub(super) additional_keys: Vec<Vec<String>>,
    pub(super) exclude_keys: Option<Vec<String>>,
}

impl Decorators {
    /// Takes the decorators out of `content`; `slots` are the places that the card has.
    pub(super) fn take(content: &str, slots: &[Slot]) -> (Self, String) {
        let mut decorators = Self::default();
        let mut text: Vec<&str> = Vec::new();
        // Whether the decorator that a fallback would belong to still waits for one.
        let mut unanswered = false;
        for line in content.lines() {
            let Some(decorator) = line.trim().strip_prefix("@@") else {
                text.push(line);
                unanswered = false;
                continue;
            };
            unanswered = match decorator.strip_prefix('@') {
                Some(fallback) => unanswered && !decorators.apply(fallback, slots),
                None => !decorators.apply(decorator, slots),
            };
        }
        (decorators, text.join("\n").trim().to_owned())
    }

    /// Whether the decorator is one that is understood, value included. Of several with one name
    /// the first counts.
    fn apply(&mut self, decorator: &str, slots: &[Slot]) -> bool {
        let (name, value) = decorator
            .split_once(char::is_whitespace)
            .unwrap_or((decorator, ""));
        let value = value.trim();
        match name {
            "activate" => self.activate = true,
            "dont_activate" => self.dont_activate = true,
            "activate_only_after" => return first(&mut self.only_after, number(value)),
            "activate_only_every" => {
                return first(
                    &mut self.only_every,
                    number(value).filter(|every| *every > 0),
                );
            }
            "scan_depth" => return first(&mut self.scan_depth, number(value)),
            "depth" => return first(&mut self.depth, number(value)),
            "position" => {
                let slot = slot(value).filter(|slot| slots.contains(slot));
                return first(&mut self.position, slot);
            }
            "additional_keys" if !value.is_empty() => self.additional_keys.push(commas(value)),
            "exclude_keys" if !value.is_empty() => {
                return first(&mut self.exclude_keys, Some(commas(value)));
            }
            _ => return false,
        }
        true
    }
}

/// Keeps what stands in `known`; false where there is no valid value.
fn first<T>(known: &mut Option<T>, value: Option<T>) -> bool {
    let valid = value.is_some();
    if known.is_none() {
        *known = value;
    }
    valid
}

/// A whole number; below 0 is as good as 0.
fn number(value: &str) -> Option<usize> {
    let number: i64 = value.parse().ok()?;
    usize::try_from(number.max(0)).ok()
}

fn slot(value: &str) -> Option<Slot> {
    Some(match value {
        "before_desc" => Slot::BeforeDescription,
        "after_desc" => Slot::AfterDescription,
        "personality" => Slot::Personality,
        "scenario" => Slot::Scenario,
        _ => return None,
    })
}

/// The values of a list with commas, without the white space around them.
pub(super) fn commas(list: &str) -> Vec<String> {
    list.split(',').map(|key| key.trim().to_owned()).collect()
}
