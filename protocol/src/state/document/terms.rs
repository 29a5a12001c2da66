//! Terms: conditions of a single entry.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::name::RolloutId;
use super::super::named_values::{NamedValues, NamedValuesError, TermName};
use super::MAX_TEXT_BYTES;

/// Largest form of an entry's terms as JSON, in bytes. A reader has no smaller limit than that of
/// the document, because a term of a later version must not make the document unreadable.
pub const MAX_TERMS_BYTES: usize = MAX_TEXT_BYTES;

/// Name of the term that lets a package replace a later one of the same name.
pub const DOWNGRADE: &str = "downgrade";

/// Name of the term with the id of the rollout by which devices begin with the package.
pub const ROLLOUT: &str = "rollout";

/// The terms that this version knows.
pub const VOCABULARY: &[&str] = &[DOWNGRADE, ROLLOUT];

/// Terms of an entry, by name.
///
/// A term that a device does not know makes the entry wait, not the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Terms(NamedValues<MAX_TERMS_BYTES>);

impl Terms {
    /// Creates terms from their values, which may be of a later version.
    pub fn new(values: BTreeMap<TermName, Value>) -> Result<Self, NamedValuesError> {
        NamedValues::new(values).map(Self)
    }

    /// Returns the terms that let a package replace a later one of the same name.
    pub fn allowing_downgrade() -> Self {
        let name = DOWNGRADE.parse().expect("the term has a name");
        let values = BTreeMap::from([(name, Value::Bool(true))]);
        Self::new(values).expect("one short term fits")
    }

    /// Returns whether the package may replace a later one of the same name.
    pub fn allows_downgrade(&self) -> bool {
        self.0
            .iter()
            .any(|(name, value)| name.as_str() == DOWNGRADE && *value == Value::Bool(true))
    }

    /// Returns the terms with this rollout instead of any other.
    ///
    /// # Errors
    /// The terms with the rollout take too much space.
    pub fn with_rollout(&self, rollout: RolloutId) -> Result<Self, NamedValuesError> {
        let name = ROLLOUT.parse().expect("the term has a name");
        let mut values = self.others();
        values.insert(name, Value::String(rollout.to_string()));
        Self::new(values)
    }

    /// Returns the terms without a rollout.
    #[must_use]
    pub fn without_rollout(&self) -> Self {
        Self::new(self.others()).expect("fewer terms take less space")
    }

    /// Returns the terms other than a rollout.
    fn others(&self) -> BTreeMap<TermName, Value> {
        let others = self.0.iter().filter(|(name, _)| name.as_str() != ROLLOUT);
        let others = others.map(|(name, value)| (name.clone(), value.clone()));
        others.collect()
    }

    /// Returns the rollout by which devices begin with the package; `None` if devices begin at once.
    ///
    /// A value that is no id of a rollout is [unknown](Terms::unknown).
    pub fn rollout(&self) -> Option<RolloutId> {
        let value = self.0.iter().find(|(name, _)| name.as_str() == ROLLOUT)?.1;
        rollout_of(value)
    }

    /// Returns the terms that a device with this vocabulary cannot meet: unknown names, and known
    /// names with an unknown value. The entry waits if there is one.
    pub fn unknown<'a>(&'a self, vocabulary: &'a [&str]) -> impl Iterator<Item = &'a TermName> {
        let unknown = |name: &TermName, value: &Value| match name.as_str() {
            known if !vocabulary.contains(&known) => true,
            DOWNGRADE => *value != Value::Bool(true),
            ROLLOUT => rollout_of(value).is_none(),
            _ => true,
        };
        let terms = self.0.iter();
        terms.filter_map(move |(name, value)| unknown(name, value).then_some(name))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn rollout_of(value: &Value) -> Option<RolloutId> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Terms {
        serde_json::from_str(text).unwrap()
    }

    fn unknown(text: &str) -> Vec<String> {
        let terms = terms(text);
        terms.unknown(VOCABULARY).map(ToString::to_string).collect()
    }

    #[test]
    fn a_downgrade_is_allowed_by_its_term_alone() {
        assert_eq!(terms(r#"{"downgrade":true}"#), Terms::allowing_downgrade());
        assert!(Terms::allowing_downgrade().allows_downgrade());
        for other in ["{}", r#"{"downgrade":false}"#, r#"{"downgrade":1}"#] {
            assert!(!terms(other).allows_downgrade(), "{other}");
        }
    }

    #[test]
    fn names_and_values_outside_the_vocabulary_are_unknown() {
        assert_eq!(unknown("{}"), [""; 0]);
        assert_eq!(unknown(r#"{"downgrade":true}"#), [""; 0]);
        assert_eq!(unknown(r#"{"downgrade":false}"#), ["downgrade"]);
        let later = r#"{"window":{"from":9},"downgrade":true,"ensure":1}"#;
        assert_eq!(unknown(later), ["ensure", "window"]);
        assert!(terms(later).allows_downgrade());
        let older = Terms::allowing_downgrade();
        assert_eq!(older.unknown(&[]).count(), 1);
    }

    #[test]
    fn a_rollout_is_named_by_its_id_alone() {
        let id = RolloutId::from_bytes([7; 16]);
        let in_rollout = Terms::allowing_downgrade().with_rollout(id).unwrap();
        let text = serde_json::to_string(&in_rollout).unwrap();
        insta::assert_snapshot!(text, @r#"{"downgrade":true,"rollout":"a4dqobyha4dqobyha4dqobyha4"}"#);
        assert_eq!(in_rollout.rollout(), Some(id));
        assert!(in_rollout.allows_downgrade());
        assert_eq!(unknown(&text), [""; 0]);
        let other = RolloutId::from_bytes([8; 16]);
        let replaced = in_rollout.with_rollout(other).unwrap();
        assert_eq!(replaced.rollout(), Some(other));
        assert_eq!(replaced.without_rollout(), Terms::allowing_downgrade());
        for value in [r#""""#, "7", "true", r#"["a4dqobyha4dqobyha4dqobyha4"]"#] {
            let text = format!(r#"{{"rollout":{value}}}"#);
            assert_eq!(unknown(&text), ["rollout"]);
            assert_eq!(terms(&text).rollout(), None);
        }
    }
}
