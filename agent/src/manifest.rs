//! From an announcement to a manifest that this device may act on.

use packcast_protocol::api::Task;
use packcast_protocol::manifest::{Announced, MAX_MANIFEST_BYTES, ManifestError, Platform};
use packcast_protocol::result::NamedCode;
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, PublicKey};
use packcast_protocol::{
    AgentId, Location, Manifest, PackageId, PackageVersion, UnixTime, VerifiedManifest,
};

use crate::failure::Failure;
use crate::fetch::{FetchError, Source};
use crate::history::History;
use crate::platform;

/// A verified manifest that is for this device and its platform.
///
/// There is no other way to get one than [`fetch`].
#[derive(Clone, Debug)]
pub(crate) struct Accepted(VerifiedManifest);

impl std::ops::Deref for Accepted {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.0
    }
}

/// Why a device has no manifest to act on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "the package is for other devices than {agent}: assign it to those it was published for"
    )]
    Audience { agent: AgentId },
    #[error(
        "the newer package {newer} of the same name is set up: publish {version} again with --going-back if that is meant"
    )]
    GoingBack {
        newer: PackageId,
        version: PackageVersion,
    },
    #[error("the package is for {wanted:?}, this device runs {found}")]
    Platform {
        wanted: Platform,
        found: &'static str,
    },
}

impl From<&AcceptError> for Failure {
    fn from(error: &AcceptError) -> Self {
        match error {
            AcceptError::Fetch(fetch) => Self::of(NamedCode::DownloadPack, fetch),
            AcceptError::Manifest(manifest) => manifest.into(),
            AcceptError::Audience { .. } => Self::of(NamedCode::WrongAudience, error),
            AcceptError::GoingBack { .. } => Self::of(NamedCode::GoingBack, error),
            AcceptError::Platform { .. } => Self::of(NamedCode::WrongPlatform, error),
        }
    }
}

/// Whom the agent trusts, who it is, what it has done and what time it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub(crate) keys: &'a [PublicKey],
    pub(crate) agent: &'a AgentId,
    pub(crate) history: &'a History,
    pub(crate) now: UnixTime,
}

/// Fetches the announced manifest from the first location that has it, signed and whole.
pub(crate) async fn fetch(
    source: Source<'_>,
    task: &Task,
    judge: Judge<'_>,
) -> Result<Accepted, AcceptError> {
    let mut last = AcceptError::Fetch(FetchError::NoLocation);
    for location in source.locations {
        match fetch_from(source, location, task, judge).await {
            Ok(manifest) => return judge.accept(manifest),
            // A location that may have it later keeps the package waiting.
            Err(error) if !is_unavailable(&last) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

const fn is_unavailable(error: &AcceptError) -> bool {
    matches!(error, AcceptError::Fetch(FetchError::Unavailable { .. }))
}

async fn fetch_from(
    source: Source<'_>,
    location: &Location,
    task: &Task,
    judge: Judge<'_>,
) -> Result<VerifiedManifest, AcceptError> {
    let document = source.document(location, "manifest.json", MAX_MANIFEST_BYTES);
    let signature = source.document(location, "manifest.json.minisig", MAX_SIGNATURE_BYTES);
    let (document, signature) = (document.await?, signature.await?);
    let signature = String::from_utf8_lossy(&signature);
    let announced = Announced {
        id: task.id,
        manifest: task.manifest_sha256,
    };
    Ok(VerifiedManifest::verify(
        &document, &signature, announced, judge.keys, judge.now,
    )?)
}

impl Judge<'_> {
    fn accept(self, manifest: VerifiedManifest) -> Result<Accepted, AcceptError> {
        if !manifest.audience.includes(self.agent) {
            return Err(AcceptError::Audience {
                agent: self.agent.clone(),
            });
        }
        if !platform::is(manifest.platform) {
            return Err(AcceptError::Platform {
                wanted: manifest.platform,
                found: std::env::consts::OS,
            });
        }
        let newest = self.history.newest(&manifest.name);
        match newest.filter(|newest| *newest > manifest.id) {
            Some(newer) if !manifest.going_back => Err(AcceptError::GoingBack {
                newer,
                version: manifest.version.clone(),
            }),
            _ => Ok(Accepted(manifest)),
        }
    }
}
