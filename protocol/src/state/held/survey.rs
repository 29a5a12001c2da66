//! The parts of a state that concern one device: found, absent, lacking or unreadable.

use std::collections::{BTreeMap, BTreeSet};

use super::HeldCommit;
use crate::device::{AgentId, DeviceId};
use crate::digest::Sha256Digest;
use crate::group::GroupName;
use crate::location::{Location, LocationName};
use crate::state::document::{
    DeviceDocument, Document, DocumentError, DocumentText, GroupDocument, LocationDocument,
    RolloutDocument, StateDocument,
};
use crate::state::name::{LeafName, RolloutId};
use crate::state::partial::{Lookup, PartialTree};

/// Largest number of rollouts whose documents a device keeps.
///
/// A target has at most this number. The device also keeps the limit if a publisher creates more:
/// otherwise the paths to these documents could take the space of all other paths.
pub const MAX_HELD_ROLLOUTS: usize = 64;

/// The documents of one commit that concern a device, as far as the device holds them.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The device's own document; `None` if the state has none, or it is lacking or unreadable.
    pub(super) device: Option<DeviceDocument>,
    /// The groups that the device is in, with `all`, if they have a document.
    pub(super) groups: BTreeMap<GroupName, GroupDocument>,
    /// The locations that the groups prefer, or that the caller needs.
    pub(super) locations: BTreeMap<LocationName, Location>,
    /// The rollouts that entries of the groups name, if the state has a readable document of them.
    pub(super) rollouts: BTreeMap<RolloutId, RolloutDocument>,
    /// Each name that was looked up.
    pub(super) names: BTreeSet<LeafName>,
    /// Names of devices and groups whose path or document is lacking.
    pub(super) lacks: BTreeSet<LeafName>,
    /// Locations whose path or document is lacking.
    pub(super) lacking_locations: BTreeSet<LeafName>,
    /// Rollouts that entries name and the state does not have.
    pub(super) absent_rollouts: BTreeSet<RolloutId>,
    /// Rollouts whose path or document is lacking.
    pub(super) lacking_rollouts: BTreeSet<RolloutId>,
    /// Rollouts whose document this version cannot read.
    pub(super) unreadable_rollouts: BTreeMap<RolloutId, DocumentError>,
    /// Devices and groups whose document this version cannot read.
    pub(super) unreadable: Vec<(LeafName, DocumentError)>,
    /// Digests of the documents that the found leaves name.
    pub(super) documents: BTreeSet<Sha256Digest>,
}

/// A tree and the documents that its leaves name.
#[derive(Clone, Copy)]
struct Source<'a> {
    tree: &'a PartialTree,
    documents: &'a BTreeMap<Sha256Digest, DocumentText>,
}

/// Result of looking for a document.
enum Found<T> {
    Document(T),
    Absent,
    Lacking,
    Unreadable(DocumentError),
}

/// Returns the names that concern every device: its own, and the group `all`.
pub(super) fn first_names(device: &AgentId) -> BTreeSet<LeafName> {
    [own(device), LeafName::Group(GroupName::all())].into()
}

fn own(device: &AgentId) -> LeafName {
    LeafName::Device(DeviceId::Agent(device.clone()))
}

impl Survey {
    /// Finds the documents of a device, then those of its groups, then those of locations and
    /// rollouts.
    pub(super) fn of(
        device: &AgentId,
        commit: &HeldCommit,
        documents: &BTreeMap<Sha256Digest, DocumentText>,
        locations: &BTreeSet<LocationName>,
    ) -> Self {
        let source = |tree| Source { tree, documents };
        let mut survey = Self::default();
        survey.device = survey.required(source(&commit.devices), own(device));
        survey.find_groups(source(&commit.groups));
        let preferred = survey.groups.values();
        let preferred = preferred.filter_map(|group| group.prefer.clone());
        let needed: BTreeSet<_> = preferred.chain(locations.iter().cloned()).collect();
        for location in needed {
            survey.find_location(source(&commit.groups), location);
        }
        for rollout in survey.named_rollouts() {
            survey.find_rollout(source(&commit.groups), rollout);
        }
        survey
    }

    /// Finds `all`, and the groups that the device's document names.
    ///
    /// The device is in a group only if the group has a document, and the same commit created it:
    /// a later group of the same name is another group.
    fn find_groups(&mut self, source: Source<'_>) {
        let own = self.device.as_ref();
        let named = own.map(|own| own.groups.as_map().clone());
        let named = named.unwrap_or_default().into_iter();
        let named = named.map(|(group, created)| (group, Some(created)));
        for (group, created) in named.chain([(GroupName::all(), None)]) {
            let name = LeafName::Group(group.clone());
            let found = self.required::<GroupDocument>(source, name);
            let is_same = |found: &GroupDocument| created.is_none_or(|at| at == found.created);
            if let Some(document) = found.filter(is_same) {
                self.groups.insert(group, document);
            }
        }
    }

    fn find_location(&mut self, source: Source<'_>, location: LocationName) {
        let name = LeafName::Location(location.clone());
        match self.find::<LocationDocument>(source, name.clone()) {
            Found::Document(document) => {
                self.locations.insert(location, document.url);
            }
            Found::Lacking => {
                self.lacking_locations.insert(name);
            }
            // An unreadable location has no address for this version.
            Found::Absent | Found::Unreadable(_) => {}
        }
    }

    /// Returns the rollouts that entries of the groups name. Entries of a device itself have none.
    fn named_rollouts(&self) -> BTreeSet<RolloutId> {
        let entries = self
            .groups
            .values()
            .flat_map(|group| group.packages.as_slice());
        let named: BTreeSet<_> = entries.filter_map(|entry| entry.terms.rollout()).collect();
        named.into_iter().take(MAX_HELD_ROLLOUTS).collect()
    }

    fn find_rollout(&mut self, source: Source<'_>, rollout: RolloutId) {
        match self.find::<RolloutDocument>(source, LeafName::Rollout(rollout)) {
            Found::Document(document) => {
                self.rollouts.insert(rollout, document);
            }
            Found::Lacking => {
                self.lacking_rollouts.insert(rollout);
            }
            Found::Unreadable(error) => {
                self.unreadable_rollouts.insert(rollout, error);
            }
            Found::Absent => {
                self.absent_rollouts.insert(rollout);
            }
        }
    }

    /// Finds a document without which the state is not whole.
    fn required<T: StateDocument + Clone>(
        &mut self,
        source: Source<'_>,
        name: LeafName,
    ) -> Option<T> {
        match self.find(source, name.clone()) {
            Found::Document(document) => return Some(document),
            Found::Absent => {}
            Found::Lacking => {
                self.lacks.insert(name);
            }
            Found::Unreadable(error) => self.unreadable.push((name, error)),
        }
        None
    }

    fn find<T: StateDocument + Clone>(&mut self, source: Source<'_>, name: LeafName) -> Found<T> {
        let looked_up = source.tree.lookup(&name);
        self.names.insert(name);
        let digest = match looked_up {
            Lookup::Present(digest) => digest,
            Lookup::Absent => return Found::Absent,
            Lookup::Hidden(_) => return Found::Lacking,
        };
        self.documents.insert(digest);
        let Some(text) = source.documents.get(&digest) else {
            return Found::Lacking;
        };
        match Document::<T>::read(text.clone()) {
            Ok(document) => Found::Document((*document).clone()),
            Err(error) => Found::Unreadable(error),
        }
    }
}
