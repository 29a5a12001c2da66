//! From an announcement to a manifest that this device may act on.

use std::collections::BTreeSet;

use packcast_protocol::api::Task;
use packcast_protocol::manifest::{Announced, MAX_MANIFEST_BYTES, ManifestError, Platform};
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, PublicKey};
use packcast_protocol::{
    AgentId, GroupName, Manifest, PackageId, PackageVersion, Sha256Digest, UnixTime,
    VerifiedManifest,
};

use crate::config::UNSIGNED_PACKAGES;
use crate::fetch::PackageSource;
use crate::fetch::location_error::{LocationError, NotFetched};
use crate::platform;
use crate::state::history::History;

/// A verified manifest that is for this device and its platform.
///
/// There is no other way to get one than [`fetch`].
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    manifest: VerifiedManifest,
    published: Published,
}

/// What a manifest is read from.
#[derive(Clone, Debug)]
struct Published {
    announced: Announced,
    document: Vec<u8>,
    /// Empty if nobody's is asked for.
    signature: String,
}

impl std::ops::Deref for Accepted {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

#[cfg(test)]
impl Accepted {
    /// Takes a manifest for one that is for this device.
    pub(crate) const fn for_test(manifest: VerifiedManifest, announced: Announced) -> Self {
        let published = Published {
            announced,
            document: Vec::new(),
            signature: String::new(),
        };
        Self {
            manifest,
            published,
        }
    }
}

/// Why a device has no manifest to act on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// No location gave the manifest that was announced.
    #[error(transparent)]
    Manifest(NotFetched),
    /// No location gave a signature of it by a trusted key.
    #[error(transparent)]
    Signature(NotFetched),
    #[error(transparent)]
    Refused(#[from] ManifestError),
    #[error(
        "the package is for other devices than {agent}: assign it to those it was published for"
    )]
    Audience { agent: AgentId },
    #[error(
        "the newer package {newer} of the same name is set up: publish {version} again with --allow-downgrade if that is meant"
    )]
    Downgrade {
        newer: PackageId,
        version: PackageVersion,
    },
    #[error("the package is for {wanted:?}, this device runs {found}")]
    Platform {
        wanted: Platform,
        found: &'static str,
    },
}

/// Whose packages the agent runs.
#[derive(Clone, Debug)]
pub(crate) enum Signers {
    Trusted(Vec<PublicKey>),
    /// Anybody's: the administrator has asked for it by the name of the danger.
    Anybody,
}

/// Whom the agent trusts, who it is, what it has done and what time it is.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) signers: Signers,
    pub(crate) agent: AgentId,
    /// The groups that it is in, without `all`.
    pub(crate) groups: BTreeSet<GroupName>,
    pub(crate) history: History,
    pub(crate) now: UnixTime,
}

/// Fetches the announced manifest and its signature, each from the first location that has it
/// as it should be.
pub(crate) async fn fetch(
    source: &PackageSource<'_>,
    task: &Task,
    judge: &Judge,
) -> Result<Accepted, AcceptError> {
    let announced = Announced {
        id: task.id,
        manifest: task.manifest_sha256,
    };
    let whole = |bytes: Vec<u8>| {
        let actual = Sha256Digest::of(&bytes);
        let announced = announced.manifest;
        let wrong = LocationError::Digest { actual, announced };
        (actual == announced).then_some(bytes).ok_or(wrong)
    };
    let document = source.document("manifest.json", MAX_MANIFEST_BYTES, whole);
    let document = document.await.map_err(AcceptError::Manifest)?;
    let signature = match &judge.signers {
        Signers::Anybody => {
            tracing::warn!(package = %task.id, "nobody's signature is asked for: {UNSIGNED_PACKAGES} is set");
            String::new()
        }
        Signers::Trusted(keys) => {
            let signed = |bytes: Vec<u8>| {
                let signature = String::from_utf8_lossy(&bytes).into_owned();
                // Another location may have the right signature; nothing else depends on it.
                match VerifiedManifest::verify(&document, &signature, announced, keys, judge.now) {
                    Err(ManifestError::Signature(refusal)) => Err(LocationError::Signature(refusal)),
                    _ => Ok(signature),
                }
            };
            let signature = source.document("manifest.json.minisig", MAX_SIGNATURE_BYTES, signed);
            signature.await.map_err(AcceptError::Signature)?
        }
    };
    let published = Published {
        announced,
        document,
        signature,
    };
    let manifest = judge.read(&published)?;
    Ok(Accepted {
        manifest,
        published,
    })
}

impl Judge {
    /// Judges a manifest once more that was accepted before.
    pub(crate) fn again(&self, accepted: &Accepted) -> Result<(), AcceptError> {
        self.read(&accepted.published).map(drop)
    }

    fn read(&self, published: &Published) -> Result<VerifiedManifest, AcceptError> {
        let Published {
            announced,
            document,
            signature,
        } = published;
        let manifest = match &self.signers {
            Signers::Trusted(keys) => {
                VerifiedManifest::verify(document, signature, *announced, keys, self.now)
            }
            Signers::Anybody => {
                VerifiedManifest::dangerously_unsigned(document, *announced, self.now)
            }
        }?;
        self.check(&manifest)?;
        Ok(manifest)
    }

    fn check(&self, manifest: &Manifest) -> Result<(), AcceptError> {
        if !manifest.audience.includes(&self.agent, &self.groups) {
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
            Some(newer) if !manifest.going_back => Err(AcceptError::Downgrade {
                newer,
                version: manifest.version.clone(),
            }),
            _ => Ok(()),
        }
    }
}
