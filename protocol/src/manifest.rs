//! The signed description of a package: the one document that an agent trusts.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::archive::Archive;
use crate::device::{AgentId, DeviceId};
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::package::{PackageId, PackageName, PackageVersion};
use crate::priority::Priority;
use crate::signature::{PublicKey, SignatureError, verify};
use crate::signed::SchemaNumber;
use crate::time::UnixTime;

/// The largest manifest that is written or read, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// How long a manifest is good for when its publisher does not say: 180 days.
pub const DEFAULT_VALIDITY_S: u64 = 180 * 24 * 3600;

/// Everything an agent has to know of a package, and nothing about where it is.
///
/// A field that this version does not know makes the manifest unreadable: a newer
/// publisher's restriction must not be skipped by an older agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The number of this format; a reader refuses any other.
    pub schema: SchemaNumber,
    pub id: PackageId,
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<Archive>,
    pub platform: Platform,
    /// Exit codes that mean the deployment succeeded; 0 unless the publisher says otherwise.
    pub success_codes: BTreeSet<i32>,
    /// Exit codes that succeed and ask for a restart of the device.
    pub reboot_codes: BTreeSet<i32>,
    /// How long the program may run, in seconds.
    pub timeout_s: u32,
    /// Whether the program may be run again if the agent stopped while it ran.
    pub rerun_after_interruption: bool,
    /// Whether going back from a higher version of the same name is meant.
    pub going_back: bool,
    /// From when on no agent acts on the package any more.
    pub expires: UnixTime,
    pub audience: Audience,
}

/// Which devices can act on a package at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    #[default]
    Any,
    Linux,
    Windows,
    Macos,
}

/// Which devices a package is meant for: any, or those named and no other, or those in one of
/// the groups named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    #[default]
    Any,
    Devices(BTreeSet<AgentId>),
    Groups(BTreeSet<GroupName>),
}

impl Audience {
    /// Tells whether a device is meant, given all groups that it is in besides `all`.
    pub fn includes(&self, agent: &AgentId, groups: &BTreeSet<GroupName>) -> bool {
        match self {
            Self::Any => true,
            Self::Devices(devices) => devices.contains(agent),
            Self::Groups(meant) => !meant.is_disjoint(groups),
        }
    }

    /// Tells whether a device of either namespace may be meant, as far as its id says: a device
    /// knows of groups in its own configuration, too. A stock agent cannot check the audience
    /// itself, so it is only meant where any device is.
    pub fn includes_device(&self, device: &DeviceId) -> bool {
        match (self, device) {
            (Self::Any, _) | (Self::Groups(_), DeviceId::Agent(_)) => true,
            (Self::Devices(devices), DeviceId::Agent(agent)) => devices.contains(agent),
            (_, DeviceId::Ocs(_)) => false,
        }
    }
}

/// Why a manifest cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ManifestWriteError {
    #[error(
        "the manifest would have {bytes} bytes, at most {MAX_MANIFEST_BYTES} are allowed: choose a larger fragment size"
    )]
    TooLarge { bytes: usize },
    #[error("the manifest cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Why a manifest is not acted on.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest's digest is {actual}, announced was {announced}")]
    NotAnnounced {
        announced: Sha256Digest,
        actual: Sha256Digest,
    },
    #[error("the manifest's signature was refused")]
    Signature(#[source] SignatureError),
    #[error("the manifest does not read as one")]
    Json(#[source] serde_json::Error),
    #[error("the manifest has more than {MAX_MANIFEST_BYTES} bytes")]
    TooLarge,
    #[error("the manifest is for package {found}, announced was {announced}")]
    OtherPackage {
        announced: PackageId,
        found: PackageId,
    },
    #[error("the manifest expired at {expires} (Unix time)")]
    Expired { expires: UnixTime },
}

impl Manifest {
    /// Writes the manifest as the bytes that are signed and published.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestWriteError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(ManifestWriteError::Json)?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestWriteError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }
}

/// What an agent was told to expect before it fetched a manifest.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    pub id: PackageId,
    pub manifest: Sha256Digest,
}

impl Announced {
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
/// There is no other way to get one than [`VerifiedManifest::verify`], and
/// [`VerifiedManifest::dangerously_unsigned`] for those who ask for no signature.
#[derive(Clone, Debug)]
pub struct VerifiedManifest(Manifest);

impl VerifiedManifest {
    /// Checks digest, signature, form, identity and expiry, in this order: nothing of an
    /// unsigned document is parsed.
    pub fn verify(
        bytes: &[u8],
        signature: &str,
        announced: Announced,
        keys: &[PublicKey],
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        verify(bytes, signature, keys).map_err(ManifestError::Signature)?;
        Self::read(bytes, announced, now)
    }

    /// Checks all but the signature: whoever chooses what is announced chooses what is run.
    pub fn dangerously_unsigned(
        bytes: &[u8],
        announced: Announced,
        now: UnixTime,
    ) -> Result<Self, ManifestError> {
        announced.check(bytes)?;
        Self::read(bytes, announced, now)
    }

    fn read(bytes: &[u8], announced: Announced, now: UnixTime) -> Result<Self, ManifestError> {
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
    use crate::archive::ArchiveFormat;
    use crate::fragment::FragmentSize;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn manifest() -> Manifest {
        let archive = Archive::new(
            ArchiveFormat::TarGz,
            2500,
            Sha256Digest::of(b"whole"),
            FragmentSize::try_from(1024).unwrap(),
            vec![
                Sha256Digest::of(b"1"),
                Sha256Digest::of(b"2"),
                Sha256Digest::of(b"3"),
            ],
        );
        Manifest {
            schema: SchemaNumber,
            id: "1795000000".parse().unwrap(),
            name: "vlc".parse().unwrap(),
            version: "3.0".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: Action::Launch {
                archive: archive.unwrap(),
                command: "setup.sh --all".parse().unwrap(),
            },
            platform: Platform::Any,
            success_codes: BTreeSet::from([0]),
            reboot_codes: BTreeSet::new(),
            timeout_s: 7200,
            rerun_after_interruption: false,
            going_back: false,
            expires: NOW.plus(DEFAULT_VALIDITY_S),
            audience: Audience::Any,
        }
    }

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
        let announced = Announced {
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
    fn another_package_or_a_late_date_is_refused() {
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
        let announced = Announced {
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
    fn unknown_fields_and_schemas_are_refused() {
        let json = serde_json::to_string(&manifest()).unwrap();
        for (from, to) in [
            ("{\"schema\":1", "{\"schema\":2"),
            ("{\"schema\":1", "{\"schema\":1,\"only_on_tuesdays\":true"),
            ("\"format\":\"tar.gz\"", "\"format\":\"tar.gz\",\"x\":1"),
            ("\"bytes\":2500", "\"bytes\":1024"),
            ("\"bytes\":2500", "\"bytes\":0"),
            (
                "\"type\":\"launch\"",
                "\"type\":\"launch\",\"folder\":\"/x\"",
            ),
        ] {
            assert!(json.contains(from), "{from}");
            assert!(
                serde_json::from_str::<Manifest>(&json.replacen(from, to, 1)).is_err(),
                "{to}"
            );
        }
    }
}
