//! Changes of many devices at once.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::state::document::{DeviceGroups, DeviceGroupsError, MAX_DEVICE_GROUPS};
use packcast_protocol::state::{DeviceDocument, Entries};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest};

use super::{ChangeOutcome, EntryOwner, NewAssignment, StateEditor, stored};
use crate::state::error::StateChangeError;
use crate::state::part::{NotLoaded, Shared};

/// Groups of a device, each with the number of the commit that created it.
type GroupNumbers = BTreeMap<GroupName, u64>;

/// A device's document after a change.
#[derive(Clone)]
enum Edited {
    Same,
    Other(Option<Shared<DeviceDocument>>),
    Refused(DeviceGroupsError),
}

impl StateEditor<'_> {
    pub(super) fn join(
        &mut self,
        group: &GroupName,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let created = self.created(group).map_err(|error| vec![error])?;
        self.edit_devices(devices, |editor, groups| {
            if groups.get(group) == Some(&created) {
                return Ok(None);
            }
            let mut groups = groups.clone();
            if groups.len() >= MAX_DEVICE_GROUPS && !groups.contains_key(group) {
                editor.remove_deleted(&mut groups)?;
            }
            groups.insert(group.clone(), created);
            Ok(Some(groups))
        })
    }

    pub(super) fn leave(
        &mut self,
        group: &GroupName,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let created = self.created(group).map_err(|error| vec![error])?;
        self.edit_devices(devices, |_, groups| {
            if groups.get(group) != Some(&created) {
                return Ok(None);
            }
            let mut groups = groups.clone();
            groups.remove(group);
            Ok(Some(groups))
        })
    }

    pub(super) fn remove_devices(
        &mut self,
        devices: &BTreeSet<DeviceId>,
    ) -> Result<ChangeOutcome, StateChangeError> {
        let (mut changed, mut already_so) = (BTreeSet::new(), BTreeSet::new());
        for device in devices {
            if self.documents.device(device)?.is_some() {
                self.set_device(device, None);
                changed.insert(device.clone());
            } else {
                already_so.insert(device.clone());
            }
        }
        Ok(ChangeOutcome::Devices {
            changed,
            already_so,
        })
    }

    /// Gives a device the groups and packages of another one, which leaves the state. A device without
    /// a leaf was replaced or removed already.
    pub(super) fn replace_device(
        &mut self,
        old: &DeviceId,
        new: &DeviceId,
        packages: &BTreeSet<PackageId>,
    ) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let not_loaded = |error: NotLoaded| vec![error.into()];
        if old == new || self.documents.device(old).map_err(not_loaded)?.is_none() {
            return Ok(ChangeOutcome::AlreadySo);
        }
        let groups = self.documents.groups_of(old).map_err(not_loaded)?;
        let groups: Vec<GroupName> = groups.into_keys().cloned().collect();
        for group in &groups {
            self.join(group, &BTreeSet::from([new.clone()]))?;
        }
        let one = |error: StateChangeError| vec![error];
        let owner = EntryOwner::Device(old.clone());
        let entries = self.entries(&owner).map_err(one)?;
        let new = EntryOwner::Device(new.clone());
        let entries = entries.as_slice().iter();
        for entry in entries.filter(|entry| packages.contains(&entry.package)) {
            self.assign(&new, &NewAssignment::of(entry)).map_err(one)?;
        }
        self.set_device(old, None);
        Ok(ChangeOutcome::Changed)
    }

    /// Removes all devices from a group that this commit created.
    ///
    /// If the same commit creates the group again, the second group has the same number. All
    /// devices that joined the first one are loaded.
    pub(super) fn empty_new_group(
        &mut self,
        group: &GroupName,
    ) -> Result<(), Vec<StateChangeError>> {
        let document = self.documents.group(group);
        let document = document.map_err(|error| vec![error.into()])?;
        if document.is_none_or(|document| document.created != self.number) {
            return Ok(());
        }
        let is_member =
            |document: &DeviceDocument| document.groups.as_map().get(group) == Some(&self.number);
        let members = self
            .documents
            .devices()
            .filter(|(_, document)| document.is_some_and(is_member))
            .map(|(device, _)| device.clone())
            .collect();
        self.leave(group, &members).map(drop)
    }

    /// Returns the number of the commit that created a group.
    fn created(&self, group: &GroupName) -> Result<u64, StateChangeError> {
        if group.is_all() {
            return Err(StateChangeError::MembersOfAll);
        }
        self.group(group).map(|document| document.created)
    }

    /// Removes groups that were deleted: such groups count only for the limit.
    fn remove_deleted(&self, groups: &mut GroupNumbers) -> Result<(), NotLoaded> {
        for (group, created) in groups.clone() {
            let document = self.documents.group(&group)?;
            if document.is_none_or(|document| document.created != created) {
                groups.remove(&group);
            }
        }
        Ok(())
    }

    /// Changes the groups of devices; `edit` returns `None` for groups that stay as they are.
    ///
    /// Devices with equal documents are decided once.
    pub(super) fn edit_devices(
        &mut self,
        devices: &BTreeSet<DeviceId>,
        edit: impl Fn(&Self, &GroupNumbers) -> Result<Option<GroupNumbers>, NotLoaded>,
    ) -> Result<ChangeOutcome, Vec<StateChangeError>> {
        let mut decided: BTreeMap<Option<Sha256Digest>, Edited> = BTreeMap::new();
        let (mut changed, mut already_so) = (BTreeSet::new(), BTreeSet::new());
        let mut errors = Vec::new();
        for device in devices {
            match self.edited(device, &mut decided, &edit) {
                Ok(Edited::Same) => {
                    already_so.insert(device.clone());
                }
                Ok(Edited::Other(document)) => {
                    self.set_device(device, document);
                    changed.insert(device.clone());
                }
                Ok(Edited::Refused(error)) => errors.push(refused(device, error)),
                Err(error) => errors.push(error.into()),
            }
        }
        if errors.is_empty() {
            Ok(ChangeOutcome::Devices {
                changed,
                already_so,
            })
        } else {
            Err(errors)
        }
    }

    fn edited(
        &self,
        device: &DeviceId,
        decided: &mut BTreeMap<Option<Sha256Digest>, Edited>,
        edit: impl Fn(&Self, &GroupNumbers) -> Result<Option<GroupNumbers>, NotLoaded>,
    ) -> Result<Edited, NotLoaded> {
        let before = self.documents.shared_device(device)?;
        let digest = before.map(|document| document.digest());
        if let Some(edited) = decided.get(&digest) {
            return Ok(edited.clone());
        }
        let none = GroupNumbers::new();
        let groups = before.map_or(&none, |document| document.groups.as_map());
        let edited = match edit(self, groups)?.map(DeviceGroups::new) {
            None => Edited::Same,
            Some(Err(error)) => Edited::Refused(error),
            Some(Ok(groups)) => {
                let packages =
                    before.map_or_else(Entries::default, |document| document.packages.clone());
                Edited::Other(stored(DeviceDocument::new(groups, packages)))
            }
        };
        decided.insert(digest, edited.clone());
        Ok(edited)
    }
}

fn refused(device: &DeviceId, error: DeviceGroupsError) -> StateChangeError {
    let device = device.clone();
    if let DeviceGroupsError::TooMany { .. } = error {
        return StateChangeError::TooManyGroups { device };
    }
    let source = error;
    StateChangeError::Groups { device, source }
}
