//! Signatures in minisign format (Ed25519), which the standard tool can verify.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64;

/// A public key in the base64 form of a `minisign.pub` file.
///
/// Keys with the same Ed25519 key are equal, even if their key ids differ: one secret key signs for
/// all of them.
#[derive(Clone)]
pub struct PublicKey(minisign_verify::PublicKey, String);

/// Text that is not a minisign public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not a minisign public key: 56 characters of base64 that start with RW")]
pub struct PublicKeyError {
    given: String,
}

/// Errors from verifying a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("the signature is not in minisign format")]
    Malformed,
    #[error("the signature is not by a trusted key")]
    UntrustedKey,
    #[error("the signature does not match the document")]
    Mismatch,
    #[error("cannot verify the signature: no key is trusted")]
    NoKeys,
}

/// Largest signature file, in bytes.
pub const MAX_SIGNATURE_BYTES: usize = 4096;

/// Verifies a detached signature over `document`, which any of the keys may have made.
///
/// Only prehashed signatures are valid; minisign has written them since 2022.
pub fn verify(document: &[u8], signature: &str, keys: &[PublicKey]) -> Result<(), SignatureError> {
    if keys.is_empty() {
        return Err(SignatureError::NoKeys);
    }
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Err(SignatureError::Malformed);
    }
    let signature =
        minisign_verify::Signature::decode(signature).map_err(|_| SignatureError::Malformed)?;
    let mut error = SignatureError::UntrustedKey;
    for PublicKey(key, _) in keys {
        match key.verify(document, &signature, false) {
            Ok(()) => return Ok(()),
            // Another key may have signed: only the last error of a matching key is reported.
            Err(minisign_verify::Error::UnexpectedKeyId) => {}
            Err(_) => error = SignatureError::Mismatch,
        }
    }
    Err(error)
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        minisign_verify::PublicKey::from_base64(text)
            .map(|key| Self(key, text.to_owned()))
            .map_err(|_| PublicKeyError {
                given: text.chars().take(80).collect(),
            })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PublicKey {
    /// Returns the Ed25519 key, which the algorithm and the key id precede.
    fn ed25519(&self) -> Option<[u8; 32]> {
        let bytes = BASE64.decode(self.1.as_bytes()).ok()?;
        bytes.last_chunk().copied()
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.ed25519() == other.ed25519()
    }
}

impl Eq for PublicKey {}

crate::text_form::text_form!(PublicKey, "PublicKey", "^RW[A-Za-z0-9+/]{54}$");

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;
    use crate::causes::messages;

    fn key() -> (KeyPair, PublicKey) {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let public = pair.pk.to_base64().parse().unwrap();
        (pair, public)
    }

    fn sign(pair: &KeyPair, document: &[u8]) -> String {
        minisign::sign(None, &pair.sk, Cursor::new(document), None, None)
            .unwrap()
            .into_string()
    }

    #[test]
    fn any_trusted_key_may_sign() {
        let ((pair, public), (_, other)) = (key(), key());
        let signature = sign(&pair, b"document");
        assert_eq!(
            verify(b"document", &signature, &[other.clone(), public.clone()]),
            Ok(())
        );
        assert_eq!(
            verify(b"document", &signature, &[other]),
            Err(SignatureError::UntrustedKey)
        );
        assert_eq!(
            verify(b"document", &signature, &[]),
            Err(SignatureError::NoKeys)
        );
        assert_eq!(
            verify(b"Document", &signature, &[public]),
            Err(SignatureError::Mismatch)
        );
    }

    #[test]
    fn a_key_with_another_id_is_the_same_key() {
        let (pair, public) = key();
        let mut bytes = BASE64.decode(public.to_string().as_bytes()).unwrap();
        bytes[2] ^= 1;
        let renamed: PublicKey = BASE64.encode(&bytes).parse().unwrap();
        assert_eq!(renamed, public);
        assert_ne!(renamed.to_string(), public.to_string());
        assert_ne!(key().1, public);
        // The signature contains the key id, so it verifies with its own key only.
        let signature = sign(&pair, b"document");
        assert_eq!(
            verify(b"document", &signature, &[renamed]),
            Err(SignatureError::UntrustedKey)
        );
    }

    #[test]
    fn every_flipped_character_of_a_signature_is_refused() {
        let (pair, public) = key();
        let signature = sign(&pair, b"document");
        let keys = [public];
        let start = signature.find('\n').unwrap() + 1;
        for at in start..signature.trim_end().len() {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                assert!(verify(b"document", &text, &keys).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!("RWx".parse::<PublicKey>().unwrap_err(), @r#""RWx" is not a minisign public key: 56 characters of base64 that start with RW"#);
        insta::assert_snapshot!(messages([
            SignatureError::Malformed,
            SignatureError::UntrustedKey,
            SignatureError::Mismatch,
            SignatureError::NoKeys,
        ]), @"
        the signature is not in minisign format
        the signature is not by a trusted key
        the signature does not match the document
        cannot verify the signature: no key is trusted
        ");
    }
}
