//! Documents beside their signatures: nothing of one is read before its signature holds.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::Text;
use crate::signature::{MAX_SIGNATURE_BYTES, PublicKey, SignatureError, verify};

/// The largest document that travels beside its signature, in bytes: what the largest
/// assignments need, with room.
pub const MAX_DOCUMENT_BYTES: usize = 192 << 10;

/// What a publisher signs as JSON.
///
/// Each kind has fields that no other has, refuses those it does not know and says its kind:
/// a signature over one never counts for another.
pub trait Document: Serialize + DeserializeOwned + JsonSchema {
    /// What it is called in errors.
    const NAME: &'static str;

    /// Writes the text that is signed: the same for the same value, wherever it is written.
    fn to_document(&self) -> String {
        serde_json::to_string(self).expect("documents have names as keys and no other maps")
    }
}

/// The number 1, the only format so far of every document that is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SchemaNumber;

impl TryFrom<u32> for SchemaNumber {
    type Error = String;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == 1 {
            Ok(Self)
        } else {
            Err(format!(
                "schema {number} is not known, only 1: update the agent"
            ))
        }
    }
}

impl From<SchemaNumber> for u32 {
    fn from(_: SchemaNumber) -> Self {
        1
    }
}

impl JsonSchema for SchemaNumber {
    fn schema_name() -> Cow<'static, str> {
        "SchemaNumber".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "const": 1 })
    }
}

/// A document of kind `D` with its signature in minisign format, neither looked at yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Signed<D> {
    document: Text<MAX_DOCUMENT_BYTES>,
    signature: Text<MAX_SIGNATURE_BYTES>,
    #[serde(skip)]
    kind: PhantomData<D>,
}

/// A document that a trusted key has signed.
///
/// There is no other way to get one than [`Signed::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<D>(D);

/// Why a signed document does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    #[error("the signature of the {name} was refused")]
    Signature {
        name: &'static str,
        #[source]
        source: SignatureError,
    },
    #[error("the {name} cannot be read")]
    Json {
        name: &'static str,
        #[source]
        source: serde_json::Error,
    },
}

/// A document or a signature that is larger than any that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document or its signature is too large: {reason}")]
pub struct TooLarge {
    reason: String,
}

impl<D: Document> Signed<D> {
    /// Puts a document and its signature together; whether it holds is asked by
    /// [`Signed::verify`].
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

    /// Checks signature and form, in this order; any of the keys may have signed.
    ///
    /// Whether the document has expired is another question: one that has may still say what
    /// is not wanted any more.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<Verified<D>, SignedError> {
        let name = D::NAME;
        let document = self.document.as_str();
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

impl<D: Document> JsonSchema for Signed<D> {
    fn schema_name() -> Cow<'static, str> {
        format!("Signed{}", D::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "description": format!("The text of a `{}`, and its signature in minisign format.", D::schema_name()),
            "type": "object",
            "properties": {
                "document": generator.subschema_for::<Text<MAX_DOCUMENT_BYTES>>(),
                "signature": generator.subschema_for::<Text<MAX_SIGNATURE_BYTES>>(),
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
