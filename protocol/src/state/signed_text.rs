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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;
    use crate::state::commit::tests::commit;
    use crate::state::commit::{Commit, SignedCommit};
    use crate::state::key_list::tests::key_list;
    use crate::state::key_list::{KeyList, SignedKeyList};
    use crate::state::test_keys::{TARGET, key, keys, signed, signed_text};

    #[test]
    fn a_verified_text_names_its_signer_and_its_digest() {
        let signed: SignedCommit = signed(&commit(), 1);
        let verified = signed.verify(TARGET, &keys(&[0, 1, 2])).unwrap();
        assert_eq!(*verified, commit());
        assert_eq!(verified.signer(), &key(1));
        let digest = Sha256Digest::of(commit().to_text().as_bytes());
        assert_eq!((verified.digest(), signed.digest()), (digest, digest));
    }

    #[test]
    fn a_signature_counts_for_one_text_of_one_kind_and_target() {
        let texts = [commit().to_text(), key_list().to_text()];
        for (index, text) in texts.iter().enumerate() {
            let as_commit: SignedCommit = signed_text(text, 0);
            let as_list: SignedKeyList = signed_text(text, 0);
            for (target, own) in [(TARGET, true), (TargetId::from_bytes([8; 16]), false)] {
                let commit = as_commit.verify(target, &keys(&[0]));
                let list = as_list.verify(target, &keys(&[0]));
                assert_eq!(commit.is_ok(), own && index == 0);
                assert_eq!(list.is_ok(), own && index == 1);
            }
            let moved = SignedCommit::new(texts[1 - index].clone(), as_commit.signature().into());
            let error = moved.unwrap().verify(TARGET, &keys(&[0])).unwrap_err();
            assert!(
                matches!(
                    error,
                    SignedTextError::Signature {
                        source: SignatureError::Mismatch,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }

    #[test]
    fn an_unsigned_text_is_never_parsed() {
        let signed: SignedCommit = signed_text("{", 0);
        let error = |keys: &[PublicKey]| signed.verify(TARGET, keys).unwrap_err();
        assert!(matches!(error(&keys(&[0])), SignedTextError::Json { .. }));
        for (keys, expected) in [
            (keys(&[1]), SignatureError::UntrustedKey),
            (vec![], SignatureError::NoKeys),
        ] {
            match error(&keys) {
                SignedTextError::Signature { source, .. } => assert_eq!(source, expected),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn the_json_form_keeps_the_exact_text() {
        let signed: SignedCommit = signed(&commit(), 0);
        let json = serde_json::to_string(&signed).unwrap();
        let read: SignedCommit = serde_json::from_str(&json).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.digest(), signed.digest());
    }

    #[test]
    fn error_messages() {
        let name = Commit::NAME;
        let json = serde_json::from_str::<KeyList>("{}").unwrap_err();
        insta::assert_snapshot!(messages([
            SignedTextError::Signature { name, source: SignatureError::Mismatch },
            SignedTextError::Json { name: KeyList::NAME, source: json },
            SignedTextError::OtherTarget { name, expected: TARGET, found: TargetId::from_bytes([8; 16]) },
        ]), @"
        cannot verify the commit: the signature does not match the document
        cannot read the key list: missing field `schema` at line 1 column 2
        the commit belongs to another target: expected a4dqobyha4dqobyha4dqobyha4, found baeaqcaibaeaqcaibaeaqcaiba
        ");
        let long = SignedCommit::new("x".repeat(4097), String::new()).unwrap_err();
        insta::assert_snapshot!(long, @"the commit or its signature is too large: text has 4097 bytes, at most 4096 are allowed");
    }
}
