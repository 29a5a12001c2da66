//! The source of the agent's authority to act: the signed state of a target, or the signed documents
//! of the old form.
//!
//! The configuration chooses the form once, when the agent opens its state folder.

pub(crate) mod followed_state;
pub(crate) mod permits;
#[cfg(test)]
pub(crate) mod test_state;

use packcast_protocol::api::HeldDocuments;
use packcast_protocol::state::{ActedUnder, HeldState, Refusal, TargetId};
use packcast_protocol::{AgentId, LocationName, Manifest, PackageId, UnixTime};

use self::followed_state::{FollowedState, OpenedState, OtherTarget};
use self::permits::{ManifestFacts, Permits};
use crate::config::{Config, KeyConfig, TrustConfig};
use crate::manifest::{ManifestRule, SignedManifests, Signers};
use crate::state::damage::DamagedFile;
use crate::state::history::History;
use crate::state::{StateDir, StateError};
use crate::target_state::TargetStateError;
use crate::trust::Trust;

/// The documents under which the agent acts.
#[derive(Debug)]
pub(crate) enum Authority {
    /// Signed documents of the old form, by the keys in `trusted_keys`.
    Documents(Trust),
    /// The signed state of the target in `trust`.
    State(Box<FollowedState>),
}

/// The events at the start of an agent, for its log.
#[derive(Debug, Default)]
pub(crate) struct OpeningReport {
    pub(crate) damaged: Vec<DamagedFile>,
    pub(crate) discarded: Vec<Refusal>,
    /// The target that the agent follows now, and the one that it followed before.
    pub(crate) other: Option<(TargetId, OtherTarget)>,
}

/// The documents that the device holds, for a check-in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) documents: HeldDocuments,
    pub(crate) state: Option<HeldState>,
}

/// Errors from reading the documents under which the agent acts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    #[error(transparent)]
    Documents(#[from] StateError),
    #[error(transparent)]
    State(#[from] TargetStateError),
}

impl Authority {
    /// Reads the documents of the configured form. The caller holds the lock of the state folder.
    ///
    /// `acted` shows under which commits the device has acted.
    pub(crate) fn open(
        dir: &StateDir,
        config: &Config,
        device: AgentId,
        acted: impl IntoIterator<Item = ActedUnder>,
    ) -> Result<(Self, OpeningReport), AuthorityError> {
        match &config.trust {
            TrustConfig::Keys(keys) => {
                let trust = Trust::load(dir, keys, device)?;
                Ok((Self::Documents(trust), OpeningReport::default()))
            }
            TrustConfig::State(roots) => {
                let OpenedState {
                    followed,
                    damaged,
                    discarded,
                    other,
                } = FollowedState::open(dir, roots, device, acted)?;
                let report = OpeningReport {
                    damaged,
                    discarded,
                    other: other.map(|other| (roots.target(), other)),
                };
                Ok((Self::State(Box::new(followed)), report))
            }
        }
    }

    /// Returns a time that has passed, for a device with a wrong clock.
    pub(crate) fn known_time(&self) -> UnixTime {
        match self {
            Self::Documents(trust) => trust.known_time(),
            Self::State(followed) => followed.state().time(UnixTime(0)),
        }
    }

    /// Returns the documents that the function need not send again.
    pub(crate) fn holdings(&self) -> Holdings {
        match self {
            Self::Documents(trust) => Holdings {
                documents: trust.held_documents(),
                state: None,
            },
            Self::State(followed) => Holdings {
                documents: HeldDocuments::default(),
                state: Some(followed.summary()),
            },
        }
    }

    /// Returns the assignments of a package, for the decision on it.
    ///
    /// `locations` are the named locations of its task; none if nothing is left to fetch. `manifest`
    /// is `None` while the manifest is not verified yet.
    pub(crate) fn permits(
        &self,
        package: PackageId,
        locations: &[LocationName],
        manifest: Option<ManifestFacts>,
        clock: UnixTime,
    ) -> Permits {
        match self {
            Self::Documents(trust) => {
                Permits::Documents(trust.device_documents().mandates(package, clock))
            }
            Self::State(followed) => Permits::State(followed.permits(locations, manifest, clock)),
        }
    }

    /// Returns the rule by which the agent accepts manifests, and the time that counts for it.
    ///
    /// `finished` are all finished attempts of the device.
    pub(crate) fn manifest_rule(
        &self,
        keys: &TrustConfig,
        device: &AgentId,
        finished: History,
        clock: UnixTime,
    ) -> (ManifestRule, UnixTime) {
        match (self, keys) {
            (Self::State(followed), _) => {
                (ManifestRule::NamedByState, followed.state().time(clock))
            }
            (Self::Documents(trust), keys) => {
                let signers = match keys {
                    TrustConfig::Keys(KeyConfig {
                        run_unsigned_packages: true,
                        ..
                    }) => Signers::Anybody,
                    _ => Signers::Trusted(trust.keys().keys().to_vec()),
                };
                let rule = ManifestRule::Signed(Box::new(SignedManifests {
                    signers,
                    agent: device.clone(),
                    groups: trust.device_documents().groups(clock),
                    history: finished,
                }));
                (rule, clock)
            }
        }
    }
}

impl ManifestFacts {
    /// Returns the facts of a manifest. `finished` are all finished attempts of the device.
    pub(crate) fn of(manifest: &Manifest, finished: &History) -> Self {
        let newest = finished.newest(&manifest.name);
        Self {
            audience: manifest.audience.clone(),
            is_downgrade: newest.is_some_and(|newest| newest > manifest.id),
        }
    }
}
