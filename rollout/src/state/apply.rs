//! Applies changes to the documents of a state.

mod devices;
mod rename;
mod rollouts;

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::{
    DeviceDocument, DocumentText, Entries, GroupDocument, LeafName, LocationDocument, StateEntry,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, PackageId, Sha256Digest};

use super::adopted::AdoptedEntries;
use super::change::{EntryOwner, NewAssignment, StateChange};
use super::error::StateChangeError;
use super::part::{Shared, StatePart, share};

pub use rename::check_rename;

/// The documents after some changes, with the effect of each change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedState {
    /// All loaded leaves, after the changes.
    pub documents: StatePart,
    /// The outcome of each change, in the order of the changes.
    pub outcomes: Vec<ChangeOutcome>,
    changed: BTreeSet<LeafName>,
    renews: bool,
}

/// The effect of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// The change is made.
    Changed,
    /// The state already has the change, so nothing changes.
    AlreadySo,
    /// The package is assigned.
    Assigned {
        /// The `seq` of the entry.
        seq: u64,
        /// The `seq` of the entry that this one replaces.
        replaced: Option<u64>,
    },
    /// Devices joined or left a group, or were removed, or their group was renamed.
    Devices {
        changed: BTreeSet<DeviceId>,
        /// Devices that were in the group already, or not in it, or had no leaf.
        already_so: BTreeSet<DeviceId>,
    },
}

impl PlannedState {
    /// Returns false if the state already has all changes, so that no commit is needed.
    pub fn needs_commit(&self) -> bool {
        self.renews || !self.changed.is_empty()
    }

    /// Returns the changed leaves of the tree of groups and locations. `None` removes a leaf.
    pub fn changed_groups(&self) -> BTreeMap<LeafName, Option<Sha256Digest>> {
        self.changed_leaves(|name| !matches!(name, LeafName::Device(_)))
    }

    /// Returns the changed leaves of the tree of devices. `None` removes a leaf.
    pub fn changed_devices(&self) -> BTreeMap<LeafName, Option<Sha256Digest>> {
        self.changed_leaves(|name| matches!(name, LeafName::Device(_)))
    }

    /// Returns the documents of the changed leaves, each once, in the order of their digests.
    pub fn new_documents(&self) -> impl Iterator<Item = &DocumentText> {
        let texts = self.changed.iter();
        let texts = texts.filter_map(|name| self.documents.text(name));
        let distinct: BTreeMap<Sha256Digest, &DocumentText> =
            texts.map(|text| (text.digest(), text)).collect();
        distinct.into_values()
    }

    fn changed_leaves(
        &self,
        is_wanted: impl Fn(&LeafName) -> bool,
    ) -> BTreeMap<LeafName, Option<Sha256Digest>> {
        let names = self.changed.iter().filter(|name| is_wanted(name));
        names
            .map(|name| {
                let text = self.documents.text(name);
                (name.clone(), text.map(DocumentText::digest))
            })
            .collect()
    }
}

/// Applies changes, one after the other, in the commit with this number.
///
/// `before` has all leaves that [`needed`](super::needed) names. An assignment that repeats an
/// entry of an adopted commit keeps the mandate of that entry.
///
/// Equal arguments give equal bytes. One call with all changes gives the same documents as one call
/// for each change.
///
/// # Errors
/// All distinct errors of the changes. Nothing is changed then.
pub fn apply(
    before: &StatePart,
    changes: &[StateChange],
    number: u64,
    adopted: &AdoptedEntries,
) -> Result<PlannedState, Vec<StateChangeError>> {
    let mut editor = StateEditor {
        documents: before.clone(),
        touched: BTreeSet::new(),
        number,
        adopted,
    };
    let mut outcomes = Vec::with_capacity(changes.len());
    let mut errors = Vec::new();
    for change in changes {
        match editor.make(change) {
            Ok(outcome) => outcomes.push(outcome),
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        let mut distinct = BTreeSet::new();
        errors.retain(|error: &StateChangeError| distinct.insert(error.to_string()));
        return Err(errors);
    }
    let StateEditor {
        documents,
        mut touched,
        ..
    } = editor;
    let digest = |part: &StatePart, name: &LeafName| part.text(name).map(DocumentText::digest);
    touched.retain(|name| digest(before, name) != digest(&documents, name));
    Ok(PlannedState {
        documents,
        outcomes,
        changed: touched,
        renews: changes.contains(&StateChange::Renew),
    })
}

/// Documents between two changes.
struct StateEditor<'a> {
    documents: StatePart,
    touched: BTreeSet<LeafName>,
    number: u64,
    adopted: &'a AdoptedEntries,
}

type Made = Result<ChangeOutcome, StateChangeError>;

impl StateEditor<'_> {
    fn make(&mut self, change: &StateChange) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let made = match change {
            StateChange::Join { group, devices } => return self.join(group, devices),
            StateChange::Leave { group, devices } => return self.leave(group, devices),
            StateChange::RenameGroup { group, to } => return self.rename_group(group, to),
            StateChange::RemoveDevices { devices } => self.remove_devices(devices),
            StateChange::ReplaceDevice { old, new, packages } => {
                return self.replace_device(old, new, packages);
            }
            StateChange::Assign { to, assignment } => self.assign(to, assignment),
            StateChange::Unassign { from, package } => self.unassign(from, *package),
            StateChange::CreateGroup { group } => self.create_group(group),
            StateChange::DeleteGroup { group } => {
                self.empty_new_group(group)?;
                self.delete_group(group)
            }
            StateChange::Prefer { group, location } => {
                self.change_group(group, |document| document.prefer.clone_from(location))
            }
            StateChange::Pace { group, pacing } => self.change_group(group, |document| {
                document.pace = document.pace.changed(pacing);
            }),
            StateChange::AddLocation { location, url } => {
                let document = LocationDocument::new(url.clone());
                self.change_location(location, Some(document))
            }
            StateChange::RemoveLocation { location } => self.change_location(location, None),
            StateChange::SetRollout { rollout, document } => self.set_rollout(*rollout, document),
            StateChange::OpenWave {
                rollout,
                wave,
                from,
            } => self.open_wave(*rollout, *wave, *from),
            StateChange::EndRollout { rollout } => self.end_rollout(*rollout),
            StateChange::FinishRollout { rollout } => self.finish_rollout(*rollout),
            StateChange::Renew => Ok(ChangeOutcome::Changed),
        };
        made.map_err(|error| vec![error])
    }

    /// Returns a group's document. The group `all` always exists.
    fn group(&self, group: &GroupName) -> Result<GroupDocument, StateChangeError> {
        match self.documents.group(group)? {
            Some(document) => Ok(document.clone()),
            None if group.is_all() => Ok(GroupDocument::empty(0, self.number)),
            None => Err(StateChangeError::NoGroup {
                group: group.clone(),
            }),
        }
    }

    fn entries(&self, owner: &EntryOwner) -> Result<Entries, StateChangeError> {
        Ok(match owner {
            EntryOwner::Group(group) => self.group(group)?.packages,
            EntryOwner::Device(device) => {
                let document = self.documents.device(device)?;
                document.map_or_else(Entries::default, |document| document.packages.clone())
            }
        })
    }

    fn set_entries(
        &mut self,
        owner: &EntryOwner,
        entries: Vec<StateEntry>,
    ) -> Result<(), StateChangeError> {
        let packages = Entries::new(entries).map_err(|_| StateChangeError::TooManyPackages {
            owner: owner.clone(),
        })?;
        match owner {
            EntryOwner::Group(group) => {
                let mut document = self.group(group)?;
                document.packages = packages;
                self.set_group(group, document);
            }
            EntryOwner::Device(device) => {
                let document = self.documents.device(device)?;
                let groups = document.map_or_else(Default::default, |old| old.groups.clone());
                self.set_device(device, stored(DeviceDocument::new(groups, packages)));
            }
        }
        Ok(())
    }

    fn assign(&mut self, to: &EntryOwner, assignment: &NewAssignment) -> Made {
        let adopted = self.adopted.entry(to, &self.documents, assignment);
        let entry = adopted.unwrap_or_else(|| assignment.entry(self.number));
        let seq = entry.seq;
        let before = self.entries(to)?;
        let replaced = before.of(entry.package);
        if replaced == Some(&entry) {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.check_rollout(to, &entry, replaced)?;
        let replaced = replaced.map(|entry| entry.seq);
        let mut entries = others(&before, entry.package);
        entries.push(entry);
        self.set_entries(to, entries)?;
        Ok(ChangeOutcome::Assigned { seq, replaced })
    }

    fn unassign(&mut self, from: &EntryOwner, package: PackageId) -> Made {
        let before = self.entries(from)?;
        if before.of(package).is_none() {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.set_entries(from, others(&before, package))?;
        Ok(ChangeOutcome::Changed)
    }

    fn create_group(&mut self, group: &GroupName) -> Made {
        if group.is_all() || self.documents.group(group)?.is_some() {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.set_group(group, GroupDocument::empty(self.number, self.number));
        Ok(ChangeOutcome::Changed)
    }

    fn delete_group(&mut self, group: &GroupName) -> Made {
        if group.is_all() {
            return Err(StateChangeError::DeleteAll);
        }
        if self.documents.group(group)?.is_none() {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.documents.set_group(group.clone(), None);
        self.touched.insert(LeafName::Group(group.clone()));
        Ok(ChangeOutcome::Changed)
    }

    fn change_group(&mut self, group: &GroupName, edit: impl Fn(&mut GroupDocument)) -> Made {
        let before = self.group(group)?;
        let mut after = before.clone();
        edit(&mut after);
        if after == before {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.set_group(group, after);
        Ok(ChangeOutcome::Changed)
    }

    fn change_location(
        &mut self,
        location: &LocationName,
        document: Option<LocationDocument>,
    ) -> Made {
        if self.documents.location(location)? == document.as_ref() {
            return Ok(ChangeOutcome::AlreadySo);
        }
        self.documents.set_location(location.clone(), document);
        self.touched.insert(LeafName::Location(location.clone()));
        Ok(ChangeOutcome::Changed)
    }

    fn set_group(&mut self, group: &GroupName, mut document: GroupDocument) {
        document.revision = self.number;
        self.documents.set_group(group.clone(), Some(document));
        self.touched.insert(LeafName::Group(group.clone()));
    }

    fn set_device(&mut self, device: &DeviceId, document: Option<Shared<DeviceDocument>>) {
        self.documents.set_device(device.clone(), document);
        self.touched.insert(LeafName::Device(device.clone()));
    }
}

fn others(entries: &Entries, package: PackageId) -> Vec<StateEntry> {
    let entries = entries.as_slice().iter();
    let others = entries.filter(|entry| entry.package != package);
    others.cloned().collect()
}

/// Returns the document to store for a device. A device without groups and packages has no leaf.
fn stored(document: DeviceDocument) -> Option<Shared<DeviceDocument>> {
    let is_empty = document.groups.as_map().is_empty() && document.packages.as_slice().is_empty();
    (!is_empty).then(|| share(document))
}

#[cfg(test)]
mod tests;
