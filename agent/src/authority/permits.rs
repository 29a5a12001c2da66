//! The decision to act on a package, by the form of trust that the configuration chooses.

use std::collections::BTreeSet;
use std::sync::Arc;

use packcast_protocol::api::Task;
use packcast_protocol::manifest::{AnnouncedManifest, Audience};
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{
    ActedUnder, Begin, DeploymentFacts, Mandate, TargetId, VerifiedState, Waiting,
};
use packcast_protocol::{Location, LocationName, PackageId, UnixTime, with_causes};
use serde::{Deserialize, Serialize};

use crate::state::history::PastResults;
use crate::trust::mandates::{Mandates, NotAuthorised};

/// The assignments of one package, with everything that the decision on it needs.
#[derive(Clone, Debug)]
pub(crate) enum Permits {
    /// By signed documents of the old form.
    Documents(Mandates),
    /// By the signed state.
    State(StatePermits),
}

/// The signed state of a device, with the facts about one package.
#[derive(Clone, Debug)]
pub(crate) struct StatePermits {
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
    pub(crate) audience: Audience,
    /// `true` if a later package of the same name has succeeded on the device.
    pub(crate) is_downgrade: bool,
}

/// The permission to act on a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authorised {
    /// All assignments of the package now, which acting uses up.
    ///
    /// Empty if only the function's task permits it.
    pub(crate) by: BTreeSet<Mandate>,
    /// The commit and the key list of the signed state; `None` in the old form of trust.
    pub(crate) under: Option<Box<ActedUnder>>,
    /// `true` if the device deploys the package even if it already has the package.
    pub(crate) force: bool,
}

/// The reason why the device does not act on a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotPermitted {
    /// The attempt ends with this result.
    Refused(NotAuthorised),
    /// The attempt waits for another state, without a result.
    Waits(WaitReason),
}

/// The reason why a package waits for another state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitReason {
    pub(crate) reason: WaitWord,
    /// The reason in words, with the remedy.
    pub(crate) detail: String,
}

impl From<Waiting> for WaitReason {
    fn from(waiting: Waiting) -> Self {
        Self {
            reason: waiting.word(),
            detail: with_causes(&waiting),
        }
    }
}

impl From<Waiting> for NotPermitted {
    fn from(waiting: Waiting) -> Self {
        Self::Waits(waiting.into())
    }
}

impl Permits {
    /// Decides if the device acts on a task. `past` are the earlier results of the package.
    pub(crate) fn authorise(
        &self,
        task: &Task,
        past: &PastResults,
    ) -> Result<Authorised, NotPermitted> {
        match self {
            Self::Documents(mandates) => {
                let acted = past.acted_on(None);
                let assigned = mandates.authorise(&acted, task.manifest_sha256);
                let assigned = assigned.map_err(NotPermitted::Refused)?;
                Ok(Authorised {
                    by: assigned.by,
                    under: None,
                    force: task.force && assigned.force,
                })
            }
            Self::State(permits) => {
                let begin = permits.begin(task, past)?;
                Ok(Authorised {
                    by: begin.mandates,
                    under: Some(Box::new(begin.under)),
                    force: begin.force,
                })
            }
        }
    }

    /// Returns all assignments of a package, for a device that does not know if it has acted on the
    /// package.
    ///
    /// # Errors
    /// The assignments are unknown until the device has another state.
    pub(crate) fn all(&self, package: PackageId) -> Result<Authorised, WaitReason> {
        match self {
            Self::Documents(mandates) => Ok(Authorised {
                by: mandates.all(),
                ..Authorised::default()
            }),
            Self::State(permits) => {
                let whole = permits.state.whole(&permits.locations, permits.clock)?;
                Ok(Authorised {
                    by: whole.mandates(package),
                    under: Some(Box::new(whole.under().clone())),
                    force: false,
                })
            }
        }
    }
}

impl StatePermits {
    fn begin(&self, task: &Task, past: &PastResults) -> Result<Begin, Waiting> {
        let announced = AnnouncedManifest {
            id: task.id,
            manifest: task.manifest_sha256,
        };
        let manifest = self.manifest.as_ref();
        let facts = DeploymentFacts {
            used: &past.acted_on(Some(self.target())),
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
        let names = task.location_names.iter();
        let (signed, unsigned): (Vec<_>, Vec<_>) = names
            .filter(|name| seen.insert(*name))
            .partition(|name| locations.contains_key(name));
        let folder = task.folder.as_ref();
        let address = |name| {
            let address: &Location = &locations[name];
            folder.map_or_else(|| address.clone(), |folder| address.join(folder))
        };
        let addresses = signed.into_iter().map(address).collect();
        (addresses, unsigned.into_iter().cloned().collect())
    }
}
