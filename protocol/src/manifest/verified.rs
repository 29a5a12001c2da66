//! Verified manifests: announced, signed and not expired.

use crate::digest::Sha256Digest;
use crate::package::PackageId;
use crate::signature::{PublicKey, SignatureError, verify};
use crate::time::UnixTime;

use super::{MAX_MANIFEST_BYTES, Manifest};

/// Errors from verifying a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("SHA-256 mismatch of the manifest: expected {announced}, found {actual}")]
    NotAnnounced {
        announced: Sha256Digest,
        actual: Sha256Digest,
    },
    #[error("cannot verify the manifest")]
    Signature(#[source] SignatureError),
    #[error("cannot read the manifest")]
    Json(#[source] serde_json::Error),
    #[error("the manifest has more than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    #[error("wrong package in the manifest: expected {announced}, found {found}")]
    OtherPackage {
        announced: PackageId,
        found: PackageId,
    },
    #[error("the manifest expired at {expires} (Unix time)")]
    Expired { expires: UnixTime },
}

/// The manifest that was announced to an agent.
#[derive(Clone, Copy, Debug)]
pub struct AnnouncedManifest {
    /// Id of the package.
    pub id: PackageId,
    /// SHA-256 of the manifest.
    pub manifest: Sha256Digest,
}

impl AnnouncedManifest {
    fn check(self, bytes: &[u8]) -> Result<(), ManifestError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge);
        }
        let actual = Sha256Digest::of(bytes);
        if actual == self.manifest {
            return Ok(());
        }
        Err(ManifestError::NotAnnounced {
            announced: self.manifest,
            actual,
        })
    }
}

/// A manifest that was announced, is signed by a trusted key and has not expired.
///
/// [`VerifiedManifest::verify`] creates it, as does [`VerifiedManifest::dangerously_unsigned`]
/// for an agent that is configured to accept unsigned packages. For an agent that follows the signed
/// state, [`VerifiedManifest::named_by_state`] creates it, because the state is signed.
#[derive(Clone, Debug)]
pub struct VerifiedManifest(Manifest);

impl VerifiedManifest {
    /// Verifies digest, signature, form, identity and expiry, in this order.
    ///
    /// An unsigned document is never parsed.
    pub fn verify(
        bytes: &[u8],
        signature: &str,
        announced: AnnouncedManifest,
        keys: &[PublicKey],
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        verify(bytes, signature, keys).map_err(ManifestError::Signature)?;
        Self::read(bytes, announced, now)
    }

    /// Verifies everything but the signature: any sender of an announcement can run any package.
    pub fn dangerously_unsigned(
        bytes: &[u8],
        announced: AnnouncedManifest,
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        Self::read(bytes, announced, now)
    }

    /// Verifies digest, form, identity and expiry of a manifest whose digest the signed state
    /// names.
    ///
    /// The manifest needs no signature of its own. The caller has compared the announced digest with
    /// an entry of a whole state.
    pub fn named_by_state(
        bytes: &[u8],
        announced: AnnouncedManifest,
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        Self::read(bytes, announced, now)
    }

    fn read(
        bytes: &[u8],
        announced: AnnouncedManifest,
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if manifest.id != announced.id {
            return Err(ManifestError::OtherPackage {
                announced: announced.id,
                found: manifest.id,
            });
        }
        if manifest.expires <= now {
            return Err(ManifestError::Expired {
                expires: manifest.expires,
            });
        }
        Ok(Self(manifest))
    }
}

impl std::ops::Deref for VerifiedManifest {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;

    use super::*;
    use crate::causes::messages;
    use crate::manifest::tests::{NOW, manifest};

    struct Signed {
        bytes: Vec<u8>,
        signature: String,
        key: PublicKey,
    }

    fn signed(manifest: &Manifest) -> Signed {
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let bytes = manifest.to_bytes().unwrap();
        let signature = minisign::sign(None, &pair.sk, Cursor::new(&bytes), None, None).unwrap();
        Signed {
            bytes,
            signature: signature.into_string(),
            key: pair.pk.to_base64().parse().unwrap(),
        }
    }

    fn check(
        signed: &Signed,
        id: PackageId,
        now: UnixTime,
    ) -> Result<VerifiedManifest, ManifestError> {
        let announced = AnnouncedManifest {
            id,
            manifest: Sha256Digest::of(&signed.bytes),
        };
        VerifiedManifest::verify(
            &signed.bytes,
            &signed.signature,
            announced,
            std::slice::from_ref(&signed.key),
            now,
        )
    }

    #[test]
    fn a_signed_manifest_reads_back() {
        let manifest = manifest();
        let verified = check(&signed(&manifest), manifest.id, NOW).unwrap();
        assert_eq!(*verified, manifest);
        let lengths: Vec<u64> = verified
            .action
            .archive()
            .unwrap()
            .fragments()
            .map(|(_, bytes, _)| bytes)
            .collect();
        assert_eq!(lengths, [1024, 1024, 452]);
    }

    #[test]
    fn another_package_or_an_expired_manifest_is_refused() {
        let manifest = manifest();
        let signed = signed(&manifest);
        let other = manifest.id.next().unwrap();
        assert!(matches!(
            check(&signed, other, NOW),
            Err(ManifestError::OtherPackage { .. })
        ));
        assert!(matches!(
            check(&signed, manifest.id, manifest.expires),
            Err(ManifestError::Expired { .. })
        ));
    }

    #[test]
    fn a_changed_byte_is_refused_before_it_is_parsed() {
        let manifest = manifest();
        let mut signed = signed(&manifest);
        let announced = AnnouncedManifest {
            id: manifest.id,
            manifest: Sha256Digest::of(&signed.bytes),
        };
        signed.bytes[10] ^= 1;
        let keys = [signed.key.clone()];
        let result =
            VerifiedManifest::verify(&signed.bytes, &signed.signature, announced, &keys, NOW);
        assert!(matches!(result, Err(ManifestError::NotAnnounced { .. })));
        assert!(matches!(
            check(&signed, manifest.id, NOW),
            Err(ManifestError::Signature(SignatureError::Mismatch))
        ));
    }

    #[test]
    fn error_messages() {
        let id = manifest().id;
        insta::assert_snapshot!(messages([
            ManifestError::NotAnnounced {
                announced: Sha256Digest::of(b"1"),
                actual: Sha256Digest::of(b"2"),
            },
            ManifestError::Signature(SignatureError::Mismatch),
            ManifestError::Json(serde_json::from_str::<Manifest>("").unwrap_err()),
            ManifestError::TooLarge,
            ManifestError::OtherPackage {
                announced: id,
                found: id.next().unwrap(),
            },
            ManifestError::Expired { expires: NOW },
        ]), @"
        SHA-256 mismatch of the manifest: expected 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, found d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
        cannot verify the manifest: the signature does not match the document
        cannot read the manifest: EOF while parsing a value at line 1 column 0
        the manifest has more than 4194304 bytes
        wrong package in the manifest: expected 1795000000, found 1795000001
        the manifest expired at 1795000000 (Unix time)
        ");
    }
}
