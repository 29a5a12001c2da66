//! Texts of a target with their signatures. A text is parsed only after its signature has verified.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use schemars::{JsonSchema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::BoundedText;
use crate::digest::Sha256Digest;
use crate::signature::{MAX_SIGNATURE_BYTES, PublicKey, SignatureError, verify};

use super::target::TargetId;

/// A JSON document that a key of a target signs.
///
/// Each kind contains its name and its target, and refuses unknown fields. So a signature of one
/// kind or target never counts for another kind or target.
pub trait TargetDocument: Serialize + DeserializeOwned + JsonSchema {
    /// Name of the kind in errors.
    const NAME: &'static str;

    fn target(&self) -> TargetId;

    /// Returns the text to sign, which is always the same for the same value.
    fn to_text(&self) -> String {
        serde_json::to_string(self).expect("documents have names as keys and no other maps")
    }
}

/// The text of a document of kind `D`, of at most `MAX` bytes, with its signature in minisign
/// format. Both are unverified.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "", from = "Raw<MAX>")]
pub struct SignedText<D, const MAX: usize> {
    #[serde(rename = "document")]
    text: BoundedText<MAX>,
    signature: BoundedText<MAX_SIGNATURE_BYTES>,
    #[serde(skip)]
    digest: Sha256Digest,
    #[serde(skip)]
    kind: PhantomData<D>,
}

/// Wire form of a signed text.
#[derive(Deserialize)]
struct Raw<const MAX: usize> {
    document: BoundedText<MAX>,
    signature: BoundedText<MAX_SIGNATURE_BYTES>,
}

/// A document of the expected target that one of the expected keys has signed.
///
/// [`SignedText::verify`] is the only way to create one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedText<D> {
    value: D,
    signer: PublicKey,
    digest: Sha256Digest,
}

/// Errors from verifying a signed text.
#[derive(Debug, thiserror::Error)]
pub enum SignedTextError {
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
    #[error("the {name} belongs to another target: expected {expected}, found {found}")]
    OtherTarget {
        name: &'static str,
        expected: TargetId,
        found: TargetId,
    },
}

/// A text or a signature above its size limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {name} or its signature is too large: {reason}")]
pub struct SignedTextTooLarge {
    name: &'static str,
    reason: String,
}

impl<D: TargetDocument, const MAX: usize> SignedText<D, MAX> {
    /// Combines a text and its signature, without verifying it.
    pub fn new(text: String, signature: String) -> Result<Self, SignedTextTooLarge> {
        let too_large = |reason| SignedTextTooLarge {
            name: D::NAME,
            reason,
        };
        Ok(Self::from(Raw {
            document: text.try_into().map_err(too_large)?,
            signature: signature.try_into().map_err(too_large)?,
        }))
    }

    /// Verifies the signature, which any of the keys may have made, then parses the text and
    /// compares the target.
    ///
    /// An expired document verifies, too.
    pub fn verify(
        &self,
        target: TargetId,
        keys: &[PublicKey],
    ) -> Result<VerifiedText<D>, SignedTextError> {
        let name = D::NAME;
        // The signature comes first: nothing of an unsigned text is parsed.
        let signer = signer(self.text(), self.signature(), keys)
            .map_err(|source| SignedTextError::Signature { name, source })?;
        let value: D = serde_json::from_str(self.text())
            .map_err(|source| SignedTextError::Json { name, source })?;
        if value.target() != target {
            return Err(SignedTextError::OtherTarget {
                name,
                expected: target,
                found: value.target(),
            });
        }
        Ok(VerifiedText {
            value,
            signer,
            digest: self.digest,
        })
    }
}

/// Returns the key of `keys` that has made the signature.
fn signer(text: &str, signature: &str, keys: &[PublicKey]) -> Result<PublicKey, SignatureError> {
    let mut error = match keys {
        [] => SignatureError::NoKeys,
        _ => SignatureError::UntrustedKey,
    };
    for key in keys {
        match verify(text.as_bytes(), signature, std::slice::from_ref(key)) {
            Ok(()) => return Ok(key.clone()),
            Err(SignatureError::UntrustedKey) => {}
            Err(other) => error = other,
        }
    }
    Err(error)
}

impl<D, const MAX: usize> SignedText<D, MAX> {
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    pub fn signature(&self) -> &str {
        self.signature.as_str()
    }

    /// Returns the SHA-256 of the text, without the signature.
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

impl<D, const MAX: usize> From<Raw<MAX>> for SignedText<D, MAX> {
    fn from(raw: Raw<MAX>) -> Self {
        Self {
            digest: Sha256Digest::of(raw.document.as_str().as_bytes()),
            text: raw.document,
            signature: raw.signature,
            kind: PhantomData,
        }
    }
}

impl<D, const MAX: usize> fmt::Debug for SignedText<D, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedText({:?})", self.text)
    }
}

impl<D: TargetDocument, const MAX: usize> JsonSchema for SignedText<D, MAX> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Signed{}", D::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": format!("The text of a `{}`, and its signature in minisign format.", D::schema_name()),
            "type": "object",
            "properties": {
                "document": generator.subschema_for::<BoundedText<MAX>>(),
                "signature": generator.subschema_for::<BoundedText<MAX_SIGNATURE_BYTES>>(),
            },
            "required": ["document", "signature"],
        })
    }
}

impl<D> VerifiedText<D> {
    /// Returns the key that has signed the text.
    pub const fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// Returns the SHA-256 of the text, without the signature.
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

impl<D> Deref for VerifiedText<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.value
    }
}
