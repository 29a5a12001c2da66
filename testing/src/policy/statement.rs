//! Statements of a policy, with the conditions that the template uses.

use serde_json::Value;

use super::request::Permission;
use crate::template::{text, texts};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    effect: Effect,
    /// Patterns, as are the resources.
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

/// A condition on one key of a request's context.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    key: String,
    /// Patterns, or single values without `*`.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    /// Each value of the request matches a pattern; also true if there is no value.
    EachIsLike,
    /// The request has the key with one of the values.
    Equals,
    /// The request lacks the key (`true`), or has the key (`false`).
    IsAbsent,
}

impl Statement {
    /// Reads a statement of the template.
    ///
    /// # Panics
    /// If the statement has an element or a condition that this module does not know, so that no
    /// test takes it for granted.
    pub(super) fn read(statement: &Value) -> Self {
        let elements = statement.as_object().expect("a statement has elements");
        for element in elements.keys() {
            let known = [
                "Sid",
                "Effect",
                "Principal",
                "Action",
                "Resource",
                "Condition",
            ];
            assert!(known.contains(&element.as_str()), "unknown: {element}");
        }
        if let Some(principal) = elements.get("Principal") {
            assert_eq!(principal, "*", "{statement}");
        }
        let effect = match text(&statement["Effect"]).as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => panic!("unknown effect {other}"),
        };
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        let conditions = conditions.flat_map(|(operator, keys)| {
            let keys = keys.as_object().into_iter().flatten();
            keys.map(|(key, values)| Condition {
                operator: Operator::read(operator),
                key: key.clone(),
                values: texts(values),
            })
        });
        Self {
            effect,
            actions: texts(&statement["Action"]),
            resources: texts(&statement["Resource"]),
            conditions: conditions.collect(),
        }
    }

    /// Returns true if the statement has this effect, and is about the permission.
    pub(super) fn applies(&self, effect: Effect, permission: &Permission) -> bool {
        self.effect == effect
            && any_is_like(&self.actions, &permission.action)
            && any_is_like(&self.resources, &permission.resource)
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(permission))
    }
}

impl Operator {
    fn read(name: &str) -> Self {
        match name {
            "ForAllValues:StringLike" => Self::EachIsLike,
            "StringEquals" | "Bool" => Self::Equals,
            "Null" => Self::IsAbsent,
            other => panic!("unknown condition {other}"),
        }
    }
}

impl Condition {
    fn holds(&self, permission: &Permission) -> bool {
        let value = permission.context.get(self.key.as_str());
        match self.operator {
            Operator::EachIsLike => value.is_none_or(|value| any_is_like(&self.values, value)),
            Operator::Equals => value.is_some_and(|value| self.values.contains(value)),
            Operator::IsAbsent => self.values == [value.is_none().to_string()],
        }
    }
}

fn any_is_like(patterns: &[String], text: &str) -> bool {
    patterns.iter().any(|pattern| is_like(pattern, text))
}

/// Returns true if the text matches a pattern, in which `*` stands for any characters.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            let mut ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.any(|at| is_like(rest, &text[at..]))
        }),
    }
}

#[test]
fn a_star_stands_for_any_characters() {
    for (pattern, text) in [
        ("*", ""),
        ("s3:*", "s3:GetObject"),
        ("GROUP#*", "GROUP#all"),
        ("${Objects.Arn}/d/*", "${Objects.Arn}/d/a/1-1"),
        ("a*c*", "abcd"),
    ] {
        assert!(is_like(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [
        ("KEYS", "KEYS#1"),
        ("GROUP#*", "GROUPS"),
        ("${Objects.Arn}/*", "${Objects.Arn}"),
        ("a*c", "abcd"),
    ] {
        assert!(!is_like(pattern, text), "{pattern} {text}");
    }
}
