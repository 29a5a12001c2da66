//! Terms: conditions of a single entry.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::named_values::{NamedValues, NamedValuesError, TermName};

/// Largest form of an entry's terms as JSON, in bytes. With it, the largest number of entries
/// fits into a document.
pub const MAX_TERMS_BYTES: usize = 100;

/// Name of the term that lets a package replace a later one of the same name.
pub const DOWNGRADE: &str = "downgrade";

/// The terms that this version knows.
pub const VOCABULARY: &[&str] = &[DOWNGRADE];

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

    /// Returns the terms that a device with this vocabulary cannot meet: unknown names, and known
    /// names with an unknown value. The entry waits if there is one.
    pub fn unknown<'a>(&'a self, vocabulary: &'a [&str]) -> impl Iterator<Item = &'a TermName> {
        let unknown = |name: &TermName, value: &Value| match name.as_str() {
            known if !vocabulary.contains(&known) => true,
            DOWNGRADE => *value != Value::Bool(true),
            _ => true,
        };
        let terms = self.0.iter();
        terms.filter_map(move |(name, value)| unknown(name, value).then_some(name))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
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
}
