//! Documents with their signatures. A document is parsed only after its signature has verified.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::BoundedText;
use crate::signature::{MAX_SIGNATURE_BYTES, PublicKey, SignatureError, verify};

/// Largest signed document, in bytes: the largest assignments, with room to spare.
pub const MAX_DOCUMENT_BYTES: usize = 192 << 10;

/// A JSON document that a publisher signs.
///
/// Each kind has its own fields, refuses unknown fields and contains its name. So a signature
/// of one kind never counts for another kind.
pub trait SignedDocument: Serialize + DeserializeOwned + JsonSchema {
    /// Name of the kind in errors.
    const NAME: &'static str;

    /// Returns the text to sign, which is always the same for the same value.
    fn to_document(&self) -> String {
        serde_json::to_string(self).expect("documents have names as keys and no other maps")
    }
}

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

/// A document of kind `D` with its signature in minisign format, both unverified.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<D> {
    document: BoundedText<MAX_DOCUMENT_BYTES>,
    signature: BoundedText<MAX_SIGNATURE_BYTES>,
    #[serde(skip)]
    kind: PhantomData<D>,
}

/// A document that a trusted key has signed.
///
/// [`Signed::verify`] is the only way to create one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<D>(D);

/// Errors from verifying a signed document.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("cannot verify the {name}")]
    Signature {
        name: &'static str,
        #[source]
        source: SignatureError,
    },
    #[error("cannot read the {name}")]
    Json {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

/// A document or a signature above its size limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document or its signature is too large: {reason}")]
pub struct TooLarge {
    reason: String,
}

impl<D: SignedDocument> Signed<D> {
    /// Combines a document and its signature, without verifying it.
    pub fn new(document: String, signature: String) -> Result<Self, TooLarge> {
        let too_large = |reason| TooLarge { reason };
        Ok(Self {
            document: document.try_into().map_err(too_large)?,
            signature: signature.try_into().map_err(too_large)?,
            kind: PhantomData,
        })
    }

    pub fn document(&self) -> &str {
        self.document.as_str()
    }

    pub fn signature(&self) -> &str {
        self.signature.as_str()
    }

    /// Verifies the signature, which any of the keys may have made, then parses the document.
    ///
    /// An expired document verifies too, because it still shows withdrawals.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<Verified<D>, SignedError> {
        let name = D::NAME;
        let document = self.document.as_str();
        // The signature comes first: nothing of an unsigned document is parsed.
        verify(document.as_bytes(), self.signature.as_str(), keys)
            .map_err(|source| SignedError::Signature { name, source })?;
        serde_json::from_str(document)
            .map(Verified)
            .map_err(|source| SignedError::Json { name, source })
    }
}

impl<D> fmt::Debug for Signed<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({:?})", self.document)
    }
}

impl<D: SignedDocument> JsonSchema for Signed<D> {
    fn schema_name() -> Cow<'static, str> {
        format!("Signed{}", D::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": format!("The text of a `{}`, and its signature in minisign format.", D::schema_name()),
            "type": "object",
            "properties": {
                "document": generator.subschema_for::<BoundedText<MAX_DOCUMENT_BYTES>>(),
                "signature": generator.subschema_for::<BoundedText<MAX_SIGNATURE_BYTES>>(),
            },
            "required": ["document", "signature"],
        })
    }
}

impl<D> Deref for Verified<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;
    use crate::keys::KeyList;

    #[test]
    fn error_messages() {
        let name = KeyList::NAME;
        let json = serde_json::from_str::<Schema<1>>("2").unwrap_err();
        insta::assert_snapshot!(messages([
            SignedError::Signature {
                name,
                source: SignatureError::Mismatch,
            },
            SignedError::Json { name, source: json },
        ]), @"
        cannot verify the key list: the signature does not match the document
        cannot read the key list: expected schema 1, found 2: update the agent
        ");
        let long = "x".repeat(MAX_DOCUMENT_BYTES + 1);
        insta::assert_snapshot!(Signed::<KeyList>::new(long, String::new()).unwrap_err(), @"the document or its signature is too large: text has 196609 bytes, at most 196608 are allowed");
    }
}
