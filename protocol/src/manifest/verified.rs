//! Verified manifests: announced, named by the signed state and not expired.

use crate::digest::Sha256Digest;
use crate::package::PackageId;
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

/// A manifest whose digest the signed state names, and that has not expired.
#[derive(Clone, Debug)]
pub struct VerifiedManifest(Manifest);

impl VerifiedManifest {
    /// Verifies digest, form, identity and expiry, in this order.
    ///
    /// The manifest needs no signature of its own: the caller has compared the announced digest with
    /// an entry of a whole state.
    pub fn verify(
        bytes: &[u8],
        announced: AnnouncedManifest,
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if manifest.id != announced.id {
            return Err(ManifestError::OtherPackage {
                announced: announced.id,
                found: manifest.id,
            });
        }
        match manifest.expired(now) {
            Some(expires) => Err(ManifestError::Expired { expires }),
            None => Ok(Self(manifest)),
        }
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
    use super::*;
    use crate::causes::messages;
    use crate::manifest::tests::{NOW, manifest};

    fn check(
        bytes: &[u8],
        id: PackageId,
        now: UnixTime,
    ) -> Result<VerifiedManifest, ManifestError> {
        let manifest = Sha256Digest::of(bytes);
        VerifiedManifest::verify(bytes, AnnouncedManifest { id, manifest }, now)
    }

    #[test]
    fn an_announced_manifest_reads_back() {
        let manifest = manifest();
        let verified = check(&manifest.to_bytes().unwrap(), manifest.id, NOW).unwrap();
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
        let bytes = manifest.to_bytes().unwrap();
        let other = manifest.id.next().unwrap();
        assert!(matches!(
            check(&bytes, other, NOW),
            Err(ManifestError::OtherPackage { .. })
        ));
        assert!(matches!(
            check(&bytes, manifest.id, manifest.expires.unwrap()),
            Err(ManifestError::Expired { .. })
        ));
    }

    #[test]
    fn a_manifest_without_an_expiry_is_valid_for_ever() {
        let manifest = Manifest {
            expires: None,
            ..manifest()
        };
        let bytes = manifest.to_bytes().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("expires"));
        let verified = check(&bytes, manifest.id, UnixTime(u64::MAX)).unwrap();
        assert_eq!(*verified, manifest);
    }

    #[test]
    fn a_changed_byte_is_refused_before_it_is_parsed() {
        let manifest = manifest();
        let mut bytes = manifest.to_bytes().unwrap();
        let announced = AnnouncedManifest {
            id: manifest.id,
            manifest: Sha256Digest::of(&bytes),
        };
        bytes[0] = b'?';
        let result = VerifiedManifest::verify(&bytes, announced, NOW);
        assert!(matches!(result, Err(ManifestError::NotAnnounced { .. })));
        let as_announced = check(&bytes, manifest.id, NOW);
        assert!(matches!(as_announced, Err(ManifestError::Json(_))));
    }

    #[test]
    fn error_messages() {
        let id = manifest().id;
        insta::assert_snapshot!(messages([
            ManifestError::NotAnnounced {
                announced: Sha256Digest::of(b"1"),
                actual: Sha256Digest::of(b"2"),
            },
            ManifestError::Json(serde_json::from_str::<Manifest>("").unwrap_err()),
            ManifestError::TooLarge,
            ManifestError::OtherPackage {
                announced: id,
                found: id.next().unwrap(),
            },
            ManifestError::Expired { expires: NOW },
        ]), @"
        SHA-256 mismatch of the manifest: expected 6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, found d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35
        cannot read the manifest: EOF while parsing a value at line 1 column 0
        the manifest has more than 4194304 bytes
        wrong package in the manifest: expected 1795000000, found 1795000001
        the manifest expired at 1795000000 (Unix time)
        ");
    }
}
