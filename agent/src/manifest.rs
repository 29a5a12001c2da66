//! From an announced task to a manifest that this device accepts.

use packcast_protocol::manifest::{AnnouncedManifest, MAX_MANIFEST_BYTES, ManifestError, Platform};
use packcast_protocol::{Manifest, Sha256Digest, UnixTime, VerifiedManifest};

use crate::fetch::PackageSource;
use crate::fetch::location_failure::{LocationFailure, NotFetched};
use crate::platform;

/// A verified manifest for the platform of this device.
#[derive(Clone, Debug)]
pub(crate) struct Accepted(VerifiedManifest);

impl std::ops::Deref for Accepted {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.0
    }
}

/// Errors from accepting a manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// No location sent the announced manifest.
    #[error(transparent)]
    Manifest(NotFetched),
    #[error(transparent)]
    Refused(#[from] ManifestError),
    #[error("wrong platform: expected {wanted:?}, found {found}")]
    Platform {
        wanted: Platform,
        found: &'static str,
    },
}

/// Fetches the manifest with this digest, from the first location that has it.
///
/// The signed state names the manifest by its digest, so the manifest needs no signature.
pub(crate) async fn fetch(
    source: &PackageSource<'_>,
    announced: Sha256Digest,
) -> Result<Vec<u8>, AcceptError> {
    let whole = |bytes: Vec<u8>| {
        let actual = Sha256Digest::of(&bytes);
        let wrong = LocationFailure::Digest { actual, announced };
        (actual == announced).then_some(bytes).ok_or(wrong)
    };
    let document = source.document("manifest.json", MAX_MANIFEST_BYTES, whole);
    document.await.map_err(AcceptError::Manifest)
}

impl Accepted {
    /// Verifies a manifest, and accepts it if it has not expired and is for this platform.
    pub(crate) fn read(
        document: &[u8],
        announced: AnnouncedManifest,
        now: UnixTime,
    ) -> Result<Self, AcceptError> {
        let manifest = VerifiedManifest::verify(document, announced, now)?;
        if !platform::is_supported(manifest.platform) {
            return Err(AcceptError::Platform {
                wanted: manifest.platform,
                found: std::env::consts::OS,
            });
        }
        Ok(Self(manifest))
    }

    /// Checks again that the manifest has not expired. Nothing else of it can change.
    pub(crate) fn check_expiry(&self, now: UnixTime) -> Result<(), AcceptError> {
        match self.expired(now) {
            Some(expires) => Err(ManifestError::Expired { expires }.into()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_remedy() {
        let error = AcceptError::Platform {
            wanted: Platform::Windows,
            found: "linux",
        };
        insta::assert_snapshot!(error, @"wrong platform: expected Windows, found linux");
    }
}
