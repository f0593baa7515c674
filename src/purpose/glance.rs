//! What tells most rules at a glance that they do not hold.

use super::{Rule, Subject};

/// What a rule needs of a request, or a request has: a bit each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Glance(u16);

impl Glance {
    pub(super) fn of_rule(rule: &Rule) -> Self {
        Self::of([
            !rule.header.is_empty(),
            !rule.begins.is_empty(),
            !rule.user_begins.is_empty(),
            !rule.system_begins.is_empty(),
            rule.without_history,
            rule.answer_schema == Some(true),
            rule.answer_schema == Some(false),
            rule.tools == Some(true),
            rule.tools == Some(false),
            rule.stream == Some(true),
            rule.stream == Some(false),
            rule.output_at_most.is_some(),
        ])
    }

    /// `has_field`: one that a rule looks for; `user` and `system`: what of all that rules look for their texts
    /// begin with.
    pub(super) fn of_request(
        subject: &Subject<'_>,
        has_field: bool,
        (user, system): (&[&str], &[&str]),
    ) -> Self {
        Self::of([
            has_field,
            !(user.is_empty() && system.is_empty()),
            !user.is_empty(),
            !system.is_empty(),
            !subject.has_history,
            subject.has_answer_schema,
            !subject.has_answer_schema,
            subject.brings_tools,
            !subject.brings_tools,
            subject.stream == Some(true),
            subject.stream == Some(false),
            subject.output_limit.is_some(),
        ])
    }

    fn of(signs: [bool; 12]) -> Self {
        let bits = signs.iter().zip(0..);
        Self(bits.fold(0, |all, (is, at)| all | u16::from(*is) << at))
    }

    /// Whether the request has all that the rule needs.
    pub(super) fn is_in(self, request: Self) -> bool {
        self.0 & !request.0 == 0
    }
}
