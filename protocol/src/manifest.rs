//! The manifest: the signed description of a package, and the one document that an agent
//! trusts.

mod audience;
mod verified;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::archive::Archive;
use crate::package::{PackageId, PackageName, PackageVersion};
use crate::priority::Priority;
use crate::schema::Schema;
use crate::time::UnixTime;

pub use audience::{Audience, Platform};
pub use verified::{AnnouncedManifest, ManifestError, VerifiedManifest};

/// Largest manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;

/// All that an agent has to know of a package, except its locations.
///
/// A reader refuses a manifest with an unknown field: an older agent must not skip a
/// restriction that a newer publisher adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Schema of the document; a reader refuses any other.
    pub schema: Schema<1>,
    /// Id of the package.
    pub id: PackageId,
    /// Name of the package.
    pub name: PackageName,
    /// Version of the package.
    pub version: PackageVersion,
    /// Priority of the package.
    pub priority: Priority,
    /// Action of the package, with the digests of its archive.
    pub action: Action<Archive>,
    /// Platform of the devices that can run the package.
    pub platform: Platform,
    /// Exit codes that count as success: 0 unless the publisher chooses others.
    pub success_codes: BTreeSet<i32>,
    /// Exit codes that count as success, with a restart of the device to follow.
    pub reboot_codes: BTreeSet<i32>,
    /// Time limit of the program, in seconds.
    pub timeout_s: u32,
    /// True if the agent may run the program again after an interruption.
    pub rerun_after_interruption: bool,
    /// End of the validity, from which on agents do not act on the package. `None` if the package
    /// does not expire; the signed state expires in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<UnixTime>,
    /// Devices that may run the package.
    pub audience: Audience,
}

/// Errors from writing a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestWriteError {
    #[error(
        "the manifest would have {bytes} bytes, at most {MAX_MANIFEST_BYTES} are allowed: choose a larger fragment size"
    )]
    TooLarge { bytes: usize },
    #[error("cannot write the manifest as JSON")]
    Json(#[source] serde_json::Error),
}

impl Manifest {
    /// Returns the bytes to sign and publish.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestWriteError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(ManifestWriteError::Json)?;
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestWriteError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }

    /// Returns the end of the validity if it has come.
    pub fn expired(&self, now: UnixTime) -> Option<UnixTime> {
        self.expires.filter(|expires| *expires <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveFormat;
    use crate::causes::messages;
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
            schema: Schema,
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
            expires: Some(NOW.plus(3600)),
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

    #[test]
    fn error_messages() {
        let json = serde_json::from_str::<Manifest>("").unwrap_err();
        insta::assert_snapshot!(messages([
            ManifestWriteError::TooLarge { bytes: 5_000_000 },
            ManifestWriteError::Json(json),
        ]), @"
        the manifest would have 5000000 bytes, at most 4194304 are allowed: choose a larger fragment size
        cannot write the manifest as JSON: EOF while parsing a value at line 1 column 0
        ");
    }
}
