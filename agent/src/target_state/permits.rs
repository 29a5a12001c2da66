//! The decision to act on a package, by the signed state.

use std::collections::BTreeSet;
use std::sync::Arc;

use packcast_protocol::api::Task;
use packcast_protocol::manifest::{AnnouncedManifest, Audience};
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{Begin, DeploymentFacts, TargetId, VerifiedState, Waiting};
use packcast_protocol::{Location, LocationName, Manifest, PackageId, UnixTime, with_causes};
use serde::{Deserialize, Serialize};

use crate::state::history::PastResults;
use crate::state::journal::Permission;

/// The signed state of a device, with the facts about one package.
#[derive(Clone, Debug)]
pub(crate) struct Permits {
    pub(super) state: Arc<VerifiedState>,
    /// The named locations of the task; empty if nothing is left to fetch.
    pub(super) locations: BTreeSet<LocationName>,
    /// `None` while the manifest is not verified yet.
    pub(super) manifest: Option<ManifestFacts>,
    pub(super) clock: UnixTime,
}

/// The facts of a verified manifest that the decision needs.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFacts {
    audience: Audience,
    /// `true` if a later package of the same name has succeeded on the device.
    is_downgrade: bool,
}

/// The decision to act on a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorised {
    /// The permission, which acting uses up.
    pub(crate) permission: Permission,
    /// `true` if the device deploys the package even if it already has the package.
    pub(crate) force: bool,
}

/// The reason why a package waits for another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitReason {
    pub(crate) reason: WaitWord,
    /// The reason in words, with the remedy.
    pub(crate) detail: String,
    /// Time from which the device may begin, if the state names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<UnixTime>,
}

impl WaitReason {
    /// Returns a reason whose end is unknown.
    pub(crate) const fn new(reason: WaitWord, detail: String) -> Self {
        let until = None;
        Self {
            reason,
            detail,
            until,
        }
    }
}

impl From<Waiting> for WaitReason {
    fn from(waiting: Waiting) -> Self {
        Self {
            reason: waiting.word(),
            detail: with_causes(&waiting),
            until: waiting.until(),
        }
    }
}

impl ManifestFacts {
    /// Returns the facts of a manifest. `newest` is the newest package of the same name that the
    /// device has deployed.
    pub(crate) fn of(manifest: &Manifest, newest: Option<PackageId>) -> Self {
        Self {
            audience: manifest.audience.clone(),
            is_downgrade: newest.is_some_and(|newest| newest > manifest.id),
        }
    }
}

impl Permits {
    /// Decides if the device acts on a task. `past` are the earlier results of the package.
    ///
    /// # Errors
    /// The package waits for another state.
    pub(crate) fn authorise(
        &self,
        task: &Task,
        past: &PastResults,
    ) -> Result<Authorised, WaitReason> {
        let begin = self.begin(task, past)?;
        Ok(Authorised {
            permission: Permission {
                mandates: begin.mandates,
                under: Box::new(begin.under),
            },
            force: begin.force,
        })
    }

    /// Returns all mandates of a package, for a device that does not know if it has acted on the
    /// package.
    ///
    /// # Errors
    /// The mandates are unknown until the device has another state.
    pub(crate) fn all(&self, package: PackageId) -> Result<Permission, WaitReason> {
        let whole = self.state.whole(&self.locations, self.clock)?;
        Ok(Permission {
            mandates: whole.mandates(package),
            under: Box::new(whole.under().clone()),
        })
    }

    fn begin(&self, task: &Task, past: &PastResults) -> Result<Begin, Waiting> {
        let announced = AnnouncedManifest {
            id: task.id,
            manifest: task.manifest_sha256,
        };
        let manifest = self.manifest.as_ref();
        let facts = DeploymentFacts {
            used: &past.used_up(self.target()),
            is_downgrade: manifest.is_some_and(|manifest| manifest.is_downgrade),
            audience: manifest.map(|manifest| &manifest.audience),
            locations: &self.locations,
        };
        let whole = self.state.whole(&self.locations, self.clock)?;
        whole.before_begin(announced, facts)
    }

    fn target(&self) -> TargetId {
        self.state.chain().target()
    }

    /// Returns the signed addresses of a task's locations, in the order of the task, and the names
    /// without an address.
    ///
    /// Without a permission there are neither addresses nor names: the package waits as a whole.
    pub(crate) fn locations(
        &self,
        task: &Task,
        past: &PastResults,
    ) -> (Vec<Location>, Vec<LocationName>) {
        let Ok(Begin { locations, .. }) = self.begin(task, past) else {
            return (Vec::new(), Vec::new());
        };
        let mut seen = BTreeSet::new();
        let names = task.locations.iter();
        let (signed, unsigned): (Vec<_>, Vec<_>) = names
            .filter(|name| seen.insert(*name))
            .partition(|name| locations.contains_key(name));
        let address = |name| -> Location { locations[name].join(&task.folder) };
        let addresses = signed.into_iter().map(address).collect();
        (addresses, unsigned.into_iter().cloned().collect())
    }
}
