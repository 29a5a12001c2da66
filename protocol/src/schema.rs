//! Schema numbers of signed documents.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The number `N` of the schema of a signed document. A reader refuses any other number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Schema<const N: u32>;

impl<const N: u32> TryFrom<u32> for Schema<N> {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == N {
            Ok(Self)
        } else {
            Err(format!(
                "expected schema {N}, found {number}: update the agent"
            ))
        }
    }
}

impl<const N: u32> From<Schema<N>> for u32 {
    fn from(_: Schema<N>) -> Self {
        N
    }
}

impl<const N: u32> JsonSchema for Schema<N> {
    fn schema_name() -> Cow<'static, str> {
        format!("Schema{N}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": N })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_is_refused() {
        assert!(serde_json::from_str::<Schema<1>>("1").is_ok());
        let error = serde_json::from_str::<Schema<1>>("2").unwrap_err();
        insta::assert_snapshot!(error, @"expected schema 1, found 2: update the agent");
    }
}
