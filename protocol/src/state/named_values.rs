//! Named values that a later version may extend: terms of entries, restrictions of keys.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::text_form::text_form;

/// The name of a term or a restriction: 1 to 32 lower-case letters, digits, `-` and `_`, the first
/// a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermName(String);

/// Text that is not the name of a term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is not a term's name: 1 to 32 lower-case letters, digits, '-' or '_', the first a letter"
)]
pub struct TermNameError {
    given: String,
}

/// JSON values by name, of at most `MAX` bytes as a JSON object.
///
/// A reader keeps names and values that it does not know, and decides which consequence they have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NamedValues<const MAX: usize>(BTreeMap<TermName, Value>);

/// Named values that take too much space.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the terms {names} have {bytes} bytes, at most {max} are allowed")]
pub struct NamedValuesError {
    names: String,
    bytes: usize,
    max: usize,
}

impl<const MAX: usize> NamedValues<MAX> {
    /// Creates named values; the order of the members of a value is not kept.
    pub fn new(mut values: BTreeMap<TermName, Value>) -> Result<Self, NamedValuesError> {
        // Equal values must have equal texts, whatever order their members were written in.
        values.values_mut().for_each(Value::sort_all_objects);
        let bytes = serde_json::to_string(&values)
            .expect("named values have names as keys")
            .len();
        if bytes <= MAX {
            return Ok(Self(values));
        }
        let names: Vec<&str> = values.keys().map(TermName::as_str).collect();
        let names = names.join(", ");
        Err(NamedValuesError {
            names: names.chars().take(80).collect(),
            bytes,
            max: MAX,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&TermName, &Value)> {
        self.0.iter()
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for NamedValues<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Members<MAX> {
            type Value = NamedValues<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<TermName, Value>()? {
                    let shown = name.clone();
                    // Another reader might take the other value, so a repeated name has no
                    // meaning.
                    if values.insert(name, value).is_some() {
                        return Err(A::Error::custom(format!("duplicate term `{shown}`")));
                    }
                }
                NamedValues::new(values).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<const MAX: usize> JsonSchema for NamedValues<MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("NamedValues{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": format!("Values by name, at most {MAX} bytes as JSON."),
            "type": "object",
            "propertyNames": { "pattern": NAME_PATTERN },
        })
    }
}

const NAME_PATTERN: &str = "^[a-z][a-z0-9_-]{0,31}$";

impl TermName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TermName {
    type Err = TermNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let letter = |b: u8| b.is_ascii_lowercase();
        let fits = text.len() <= 32
            && text.bytes().next().is_some_and(letter)
            && text
                .bytes()
                .all(|b| letter(b) || b.is_ascii_digit() || b"-_".contains(&b));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(TermNameError {
                given: text.chars().take(64).collect(),
            })
        }
    }
}

impl fmt::Display for TermName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(TermName, "TermName", "^[a-z][a-z0-9_-]{0,31}$");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    type Values = NamedValues<40>;

    #[test]
    fn equal_values_have_equal_texts() {
        let one = r#"{"a":{"y":1,"x":[2]},"b":null}"#;
        let other = r#"{ "b": null, "a": {"x": [2], "y": 1} }"#;
        let read = |text: &str| serde_json::from_str::<Values>(text).unwrap();
        assert_eq!(read(one), read(other));
        let text = serde_json::to_string(&read(one)).unwrap();
        assert_eq!(text, r#"{"a":{"x":[2],"y":1},"b":null}"#);
        assert_eq!(serde_json::to_string(&read(other)).unwrap(), text);
    }

    #[test]
    fn repeated_names_and_large_values_are_refused() {
        let read = |text: &str| serde_json::from_str::<Values>(text).is_ok();
        let long = |n: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(n));
        assert!(read("{}") && read(&long(32)));
        assert!(!read(&long(33)));
        assert!(!read(r#"{"a":1,"a":1}"#));
        assert!(!read(r#"{"A":1}"#) && !read(r#"{"":1}"#) && !read("[]"));
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("Up".parse::<TermName>().unwrap_err(), @r#""Up" is not a term's name: 1 to 32 lower-case letters, digits, '-' or '_', the first a letter"#);
        let name = |name: &str| name.parse::<TermName>().unwrap();
        let long = Value::from("x".repeat(30));
        let values = BTreeMap::from([(name("deadline"), long), (name("a"), Value::Null)]);
        let error = Values::new(values).unwrap_err();
        insta::assert_snapshot!(messages([error]), @"the terms a, deadline have 54 bytes, at most 40 are allowed");
    }
}
