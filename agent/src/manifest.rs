//! From an announced task to a manifest that this device accepts.

use std::collections::BTreeSet;

use packcast_protocol::api::Task;
use packcast_protocol::manifest::{AnnouncedManifest, MAX_MANIFEST_BYTES, ManifestError, Platform};
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, PublicKey};
use packcast_protocol::{
    AgentId, GroupName, Manifest, PackageId, PackageVersion, Sha256Digest, UnixTime,
    VerifiedManifest,
};

use crate::config::UNSIGNED_PACKAGES;
use crate::fetch::PackageSource;
use crate::fetch::location_failure::{LocationFailure, NotFetched};
use crate::platform;
use crate::state::history::History;

/// A verified manifest for this device and its platform.
///
/// Only [`fetch`] creates one.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    manifest: VerifiedManifest,
    published: ManifestFiles,
}

/// The bytes that a manifest was read from.
#[derive(Clone, Debug)]
struct ManifestFiles {
    announced: AnnouncedManifest,
    document: Vec<u8>,
    /// Empty if the device needs no signature of the manifest.
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
    /// Creates an accepted manifest without checking it.
    pub(crate) const fn for_test(manifest: VerifiedManifest, announced: AnnouncedManifest) -> Self {
        let published = ManifestFiles {
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

/// Errors from accepting a manifest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcceptError {
    /// No location sent the announced manifest.
    #[error(transparent)]
    Manifest(NotFetched),
    /// No location sent a signature of the manifest by a trusted key.
    #[error(transparent)]
    Signature(NotFetched),
    #[error(transparent)]
    Refused(#[from] ManifestError),
    #[error("the package is not for {agent}: assign it to its audience only")]
    Audience { agent: AgentId },
    #[error(
        "the newer package {newer} of the same name is already set up: to downgrade, publish the content of {version} under another version with --allow-downgrade"
    )]
    Downgrade {
        newer: PackageId,
        version: PackageVersion,
    },
    #[error("wrong platform: expected {wanted:?}, found {found}")]
    Platform {
        wanted: Platform,
        found: &'static str,
    },
}

/// The signers whose packages the agent accepts.
#[derive(Clone, Debug)]
pub(crate) enum Signers {
    Trusted(Vec<PublicKey>),
    /// Any signer or none, because the administrator chose the dangerous option.
    Anybody,
}

/// The rule by which the agent accepts a manifest.
#[derive(Clone, Debug)]
pub(crate) enum ManifestRule {
    /// The signed state names the manifest by its digest, so the manifest needs no signature. The
    /// permits of the package decide on audience and downgrades.
    NamedByState,
    /// The old form of trust: the manifest itself decides.
    Signed(Box<SignedManifests>),
}

/// The inputs of the decision to accept a signed manifest.
#[derive(Clone, Debug)]
pub(crate) struct SignedManifests {
    pub(crate) signers: Signers,
    pub(crate) agent: AgentId,
    /// The groups of the device, without `all`.
    pub(crate) groups: BTreeSet<GroupName>,
    pub(crate) history: History,
}

/// The inputs of the decision to accept a manifest.
#[derive(Clone, Debug)]
pub(crate) struct Judge {
    pub(crate) rule: ManifestRule,
    pub(crate) now: UnixTime,
}

/// Fetches the announced manifest and its signature, if the rule needs one, each from the first
/// location with a correct one.
pub(crate) async fn fetch(
    source: &PackageSource<'_>,
    task: &Task,
    judge: &Judge,
) -> Result<Accepted, AcceptError> {
    let announced = AnnouncedManifest {
        id: task.id,
        manifest: task.manifest_sha256,
    };
    let whole = |bytes: Vec<u8>| {
        let actual = Sha256Digest::of(&bytes);
        let announced = announced.manifest;
        let wrong = LocationFailure::Digest { actual, announced };
        (actual == announced).then_some(bytes).ok_or(wrong)
    };
    let document = source.document("manifest.json", MAX_MANIFEST_BYTES, whole);
    let document = document.await.map_err(AcceptError::Manifest)?;
    let signature = match &judge.rule {
        ManifestRule::NamedByState => String::new(),
        ManifestRule::Signed(rule) => {
            fetch_signature(source, &document, announced, &rule.signers, judge.now).await?
        }
    };
    let published = ManifestFiles {
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

async fn fetch_signature(
    source: &PackageSource<'_>,
    document: &[u8],
    announced: AnnouncedManifest,
    signers: &Signers,
    now: UnixTime,
) -> Result<String, AcceptError> {
    let Signers::Trusted(keys) = signers else {
        tracing::warn!(package = %announced.id, "accepting the package without a signature: {UNSIGNED_PACKAGES} is set");
        return Ok(String::new());
    };
    let signed = |bytes: Vec<u8>| {
        let signature = String::from_utf8_lossy(&bytes).into_owned();
        // Another location may have the right signature. Other errors do not depend on the location.
        match VerifiedManifest::verify(document, &signature, announced, keys, now) {
            Err(ManifestError::Signature(refusal)) => Err(LocationFailure::Signature(refusal)),
            _ => Ok(signature),
        }
    };
    let signature = source.document("manifest.json.minisig", MAX_SIGNATURE_BYTES, signed);
    signature.await.map_err(AcceptError::Signature)
}

impl Judge {
    /// Checks an accepted manifest again.
    pub(crate) fn again(&self, accepted: &Accepted) -> Result<(), AcceptError> {
        self.read(&accepted.published).map(drop)
    }

    fn read(&self, published: &ManifestFiles) -> Result<VerifiedManifest, AcceptError> {
        let ManifestFiles {
            announced,
            document,
            signature,
        } = published;
        let (announced, now) = (*announced, self.now);
        let manifest = match &self.rule {
            ManifestRule::NamedByState => {
                VerifiedManifest::named_by_state(document, announced, now)?
            }
            ManifestRule::Signed(rule) => {
                let manifest = match &rule.signers {
                    Signers::Trusted(keys) => {
                        VerifiedManifest::verify(document, signature, announced, keys, now)
                    }
                    Signers::Anybody => {
                        VerifiedManifest::dangerously_unsigned(document, announced, now)
                    }
                }?;
                rule.check(&manifest)?;
                manifest
            }
        };
        if !platform::is_supported(manifest.platform) {
            return Err(AcceptError::Platform {
                wanted: manifest.platform,
                found: std::env::consts::OS,
            });
        }
        Ok(manifest)
    }
}

impl SignedManifests {
    fn check(&self, manifest: &Manifest) -> Result<(), AcceptError> {
        if !manifest.audience.includes(&self.agent, &self.groups) {
            return Err(AcceptError::Audience {
                agent: self.agent.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_remedy() {
        let errors = [
            AcceptError::Audience {
                agent: AgentId::of_public_key(&[1; 32]),
            },
            AcceptError::Downgrade {
                newer: PackageId::try_from(1_795_000_002).unwrap(),
                version: "1.0".parse().unwrap(),
            },
            AcceptError::Platform {
                wanted: Platform::Windows,
                found: "linux",
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        the package is not for olgw5bbcyqd7w3ijq2ipceylpu: assign it to its audience only
        the newer package 1795000002 of the same name is already set up: to downgrade, publish the content of 1.0 under another version with --allow-downgrade
        wrong platform: expected Windows, found linux
        ");
    }
}
