//! The signed description of a package: the one document that an agent trusts.

mod audience;
mod verified;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::archive::Archive;
use crate::package::{PackageId, PackageName, PackageVersion};
use crate::priority::Priority;
use crate::signed::SchemaNumber;
use crate::time::UnixTime;

pub use audience::{Audience, Platform};
pub use verified::{Announced, ManifestError, VerifiedManifest};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveFormat;
    use crate::digest::Sha256Digest;
    use crate::fragment::FragmentSize;

    pub(super) const NOW: UnixTime = UnixTime(1_795_000_000);

    pub(super) fn manifest() -> Manifest {
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
