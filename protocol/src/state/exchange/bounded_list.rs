//! Lists of limited length in requests.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};

use super::at_most;

/// At most `MAX` values. A reader refuses a longer list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BoundedList<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> BoundedList<T, MAX> {
    /// Creates a list of the first `MAX` values.
    pub fn first(values: impl IntoIterator<Item = T>) -> Self {
        Self(values.into_iter().take(MAX).collect())
    }

    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T, const MAX: usize> Default for BoundedList<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for BoundedList<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        at_most::<D, Vec<T>, MAX>(deserializer).map(Self)
    }
}

impl<T: JsonSchema, const MAX: usize> JsonSchema for BoundedList<T, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}List{MAX}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "array",
            "items": generator.subschema_for::<T>(),
            "maxItems": MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_at_most_its_limit() {
        type Two = BoundedList<u8, 2>;
        assert_eq!(Two::first([1, 2, 3]).as_slice(), [1, 2]);
        assert!(Two::default().is_empty() && !Two::first([1]).is_empty());
        let read = |text: &str| serde_json::from_str::<Two>(text);
        assert_eq!(read("[1,2]").unwrap(), Two::first([1, 2]));
        insta::assert_snapshot!(read("[1,2,3]").unwrap_err(), @"expected at most 2 items, found 3");
    }
}
