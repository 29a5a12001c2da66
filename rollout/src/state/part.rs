//! The documents of a part of a state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packcast_protocol::state::document::StateDocument;
use packcast_protocol::state::{
    DeviceDocument, Document, DocumentText, GroupDocument, GroupOrigin, LeafName, LocationDocument,
    RolloutDocument, RolloutId,
};
use packcast_protocol::{DeviceId, GroupName, LocationName, Sha256Digest};

/// The documents of some leaves of a state. Each leaf is known to be present or absent.
///
/// A leaf that is not loaded is neither: a decision that needs it fails with [`NotLoaded`]. Devices
/// with equal documents share one value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatePart {
    groups: Leaves<GroupName, GroupDocument>,
    devices: Leaves<DeviceId, DeviceDocument>,
    locations: Leaves<LocationName, LocationDocument>,
    rollouts: Leaves<RolloutId, RolloutDocument>,
    /// The part has every rollout of the state.
    has_all_rollouts: bool,
    /// Groups whose members are all loaded.
    whole: BTreeSet<GroupName>,
}

/// Documents by their owners. `None` if the state has no such leaf.
type Leaves<N, T> = BTreeMap<N, Option<Shared<T>>>;

/// A document that many owners may share.
pub(super) type Shared<T> = Arc<Document<T>>;

/// A leaf that a decision needs and that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("the decision needs {name}, which was not loaded")]
pub struct NotLoaded {
    pub name: LeafName,
}

/// Errors from reading the documents of a state.
#[derive(Debug, thiserror::Error)]
pub enum StatePartError {
    #[error("the document of {name} is missing: the table has lost it, or hides it")]
    NoText { name: LeafName },
    #[error("{name} has no document")]
    NoDocument { name: LeafName },
    #[error(
        "cannot read the document of {name}: if a newer version of Packcast wrote it, update this program"
    )]
    Unreadable {
        name: LeafName,
        #[source]
        source: packcast_protocol::state::document::DocumentError,
    },
}

impl StatePart {
    /// Reads the documents of leaves: names with the digests in a verified tree, or `None` for
    /// names that the tree does not have.
    pub fn read(
        leaves: impl IntoIterator<Item = (LeafName, Option<Sha256Digest>)>,
        texts: &BTreeMap<Sha256Digest, DocumentText>,
    ) -> Result<Self, StatePartError> {
        let mut part = Self::default();
        let (mut groups, mut devices) = (DocumentReader::new(texts), DocumentReader::new(texts));
        let mut locations = DocumentReader::new(texts);
        let mut rollouts = DocumentReader::new(texts);
        for (name, digest) in leaves {
            match &name {
                LeafName::Group(group) => {
                    let document = groups.read(&name, digest)?;
                    part.groups.insert(group.clone(), document);
                }
                LeafName::Device(device) => {
                    let document = devices.read(&name, digest)?;
                    part.devices.insert(device.clone(), document);
                }
                LeafName::Location(location) => {
                    let document = locations.read(&name, digest)?;
                    part.locations.insert(location.clone(), document);
                }
                LeafName::Rollout(rollout) => {
                    let document = rollouts.read(&name, digest)?;
                    part.rollouts.insert(*rollout, document);
                }
                _ => return Err(StatePartError::NoDocument { name }),
            }
        }
        Ok(part)
    }

    /// Adds the leaves of another part of the same state.
    pub fn extend(&mut self, other: Self) {
        self.groups.extend(other.groups);
        self.devices.extend(other.devices);
        self.locations.extend(other.locations);
        self.rollouts.extend(other.rollouts);
        self.has_all_rollouts |= other.has_all_rollouts;
        self.whole.extend(other.whole);
    }

    /// Marks the part as one that has every rollout of the state.
    #[must_use]
    pub fn with_all_rollouts(self) -> Self {
        Self {
            has_all_rollouts: true,
            ..self
        }
    }

    /// Returns the part of the same state as if it had no rollouts.
    pub(super) fn without_rollouts(&self) -> Self {
        Self {
            rollouts: Leaves::new(),
            has_all_rollouts: true,
            ..self.clone()
        }
    }

    /// Adds all devices of the same state that name a group.
    pub fn add_members(&mut self, group: GroupName, members: Self) {
        self.extend(members);
        self.set_whole(group);
    }

    /// Returns the loaded devices that name a group, with no other leaf.
    #[must_use]
    pub fn naming(mut self, group: &GroupName) -> Self {
        self.devices.retain(|_, document| {
            let groups = document.as_ref().map(|document| document.groups.as_map());
            groups.is_some_and(|groups| groups.contains_key(group))
        });
        Self {
            devices: self.devices,
            ..Self::default()
        }
    }

    /// Returns true if all devices that name the group are loaded.
    pub fn has_members_of(&self, group: &GroupName) -> bool {
        self.whole.contains(group)
    }

    pub(super) fn set_whole(&mut self, group: GroupName) {
        self.whole.insert(group);
    }

    pub fn is_loaded(&self, name: &LeafName) -> bool {
        match name {
            LeafName::Group(group) => self.groups.contains_key(group),
            LeafName::Device(device) => self.devices.contains_key(device),
            LeafName::Location(location) => self.locations.contains_key(location),
            LeafName::Rollout(rollout) => self.rollouts.contains_key(rollout),
            _ => false,
        }
    }

    /// Returns the groups that the loaded devices name.
    ///
    /// The groups decide whether a device is still a member: see [`StatePart::groups_of`].
    pub fn named_groups(&self) -> BTreeSet<LeafName> {
        let documents = self.devices().filter_map(|(_, document)| document);
        let groups: BTreeSet<&GroupName> = documents
            .flat_map(|document| document.groups.as_map().keys())
            .collect();
        groups.into_iter().cloned().map(LeafName::Group).collect()
    }

    /// Fails if another part has not loaded a leaf of this part.
    pub(super) fn all_loaded_in(&self, other: &Self) -> Result<(), NotLoaded> {
        let mut names = self.leaves().into_keys();
        let missing = names.find(|name| !other.is_loaded(name));
        missing.map_or(Ok(()), |name| Err(NotLoaded { name }))
    }

    /// Returns the groups of a device, without `all`, each with the number of the commit that
    /// created the group.
    ///
    /// A device is in a group only if the group's document names the same commit. So a device that
    /// names a deleted group is not in a later group of the same name.
    pub fn groups_of(&self, device: &DeviceId) -> Result<BTreeMap<&GroupName, u64>, NotLoaded> {
        let mut groups = BTreeMap::new();
        if let Some(document) = self.device(device)? {
            for (group, created) in document.groups.as_map() {
                if self.group(group)?.is_some_and(|it| it.created == *created) {
                    groups.insert(group, *created);
                }
            }
        }
        Ok(groups)
    }

    /// Returns the groups of a device as [`StatePart::groups_of`] does, by their origins. So a group
    /// is the same one under any name.
    pub(super) fn origins_of(
        &self,
        device: &DeviceId,
    ) -> Result<BTreeMap<GroupOrigin, &GroupName>, NotLoaded> {
        let mut origins = BTreeMap::new();
        for group in self.groups_of(device)?.into_keys() {
            if let Some(document) = self.group(group)? {
                origins.insert(document.origin(group), group);
            }
        }
        Ok(origins)
    }

    /// Returns the loaded groups by their origins. The group `all` is one of them, with a document
    /// or without.
    pub(super) fn by_origin(&self) -> BTreeMap<GroupOrigin, &GroupName> {
        let origin = |(group, document): (&'_ GroupName, Option<&GroupDocument>)| match document {
            Some(document) => Some(document.origin(group)),
            None if group.is_all() => Some(GroupOrigin {
                name: group.clone(),
                created: 0,
            }),
            None => None,
        };
        let groups = self.groups();
        groups
            .filter_map(|(group, document)| Some((origin((group, document))?, group)))
            .collect()
    }

    /// Returns the names of the loaded leaves with the digests of their documents, sorted. `None`
    /// if the state has no such leaf.
    pub fn leaves(&self) -> BTreeMap<LeafName, Option<Sha256Digest>> {
        let groups = self.groups.iter();
        let groups = groups.map(|(name, it)| (LeafName::Group(name.clone()), digest(it.as_ref())));
        let devices = self.devices.iter();
        let devices = devices.map(|(id, it)| (LeafName::Device(id.clone()), digest(it.as_ref())));
        let locations = self.locations.iter();
        let locations =
            locations.map(|(name, it)| (LeafName::Location(name.clone()), digest(it.as_ref())));
        let rollouts = self.rollouts.iter();
        let rollouts = rollouts.map(|(id, it)| (LeafName::Rollout(*id), digest(it.as_ref())));
        groups
            .chain(devices)
            .chain(locations)
            .chain(rollouts)
            .collect()
    }

    /// Returns the text of a loaded leaf, or `None` if the leaf is not loaded or absent.
    pub fn text(&self, name: &LeafName) -> Option<&DocumentText> {
        match name {
            LeafName::Group(group) => text(self.groups.get(group)),
            LeafName::Device(device) => text(self.devices.get(device)),
            LeafName::Location(location) => text(self.locations.get(location)),
            LeafName::Rollout(rollout) => text(self.rollouts.get(rollout)),
            _ => None,
        }
    }

    /// Returns the document of a group, or `None` if the group does not exist.
    pub fn group(&self, group: &GroupName) -> Result<Option<&GroupDocument>, NotLoaded> {
        let document = self.groups.get(group).ok_or_else(|| NotLoaded {
            name: LeafName::Group(group.clone()),
        })?;
        Ok(document.as_deref().map(|document| &**document))
    }

    /// Returns the document of a device, or `None` if the device has none.
    pub fn device(&self, device: &DeviceId) -> Result<Option<&DeviceDocument>, NotLoaded> {
        let document = self.shared_device(device)?;
        Ok(document.map(|document| &***document))
    }

    /// Returns the document of a location, or `None` if the location does not exist.
    pub fn location(
        &self,
        location: &LocationName,
    ) -> Result<Option<&LocationDocument>, NotLoaded> {
        let document = self.locations.get(location).ok_or_else(|| NotLoaded {
            name: LeafName::Location(location.clone()),
        })?;
        Ok(document.as_deref().map(|document| &**document))
    }

    /// Returns the document of a rollout, or `None` if the rollout does not exist.
    pub fn rollout(&self, rollout: RolloutId) -> Result<Option<&RolloutDocument>, NotLoaded> {
        let document = self.rollouts.get(&rollout).ok_or(NotLoaded {
            name: LeafName::Rollout(rollout),
        })?;
        Ok(document.as_deref().map(|document| &**document))
    }

    /// Returns the loaded rollouts in the order of their ids.
    pub fn rollouts(&self) -> impl Iterator<Item = (RolloutId, Option<&RolloutDocument>)> {
        let rollouts = self.rollouts.iter();
        rollouts.map(|(id, document)| (*id, document.as_deref().map(|document| &**document)))
    }

    /// Returns every rollout of the state, or `None` if some may not be loaded.
    pub(super) fn all_rollouts(
        &self,
    ) -> Option<impl Iterator<Item = (RolloutId, &RolloutDocument)>> {
        let rollouts = self.rollouts();
        let existing = rollouts.filter_map(|(id, document)| Some((id, document?)));
        self.has_all_rollouts.then_some(existing)
    }

    /// Returns the loaded groups in the order of their names.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupName, Option<&GroupDocument>)> {
        let groups = self.groups.iter();
        groups.map(|(name, document)| (name, document.as_deref().map(|document| &**document)))
    }

    /// Returns the loaded devices in the order of their ids.
    pub fn devices(&self) -> impl Iterator<Item = (&DeviceId, Option<&DeviceDocument>)> {
        let devices = self.devices.iter();
        devices.map(|(id, document)| (id, document.as_deref().map(|document| &**document)))
    }

    /// Returns the loaded locations in the order of their names.
    pub fn locations(&self) -> impl Iterator<Item = (&LocationName, Option<&LocationDocument>)> {
        let locations = self.locations.iter();
        locations.map(|(name, document)| (name, document.as_deref().map(|document| &**document)))
    }

    /// Returns the document of a group with its text, or `None` if the group is absent or not loaded.
    pub fn document_of_group(&self, group: &GroupName) -> Option<&Document<GroupDocument>> {
        self.groups.get(group)?.as_deref()
    }

    /// Returns the document of a device with its text, or `None` if the device has none or is not
    /// loaded.
    pub fn document_of_device(&self, device: &DeviceId) -> Option<&Document<DeviceDocument>> {
        self.devices.get(device)?.as_deref()
    }

    pub(super) fn shared_device(
        &self,
        device: &DeviceId,
    ) -> Result<Option<&Shared<DeviceDocument>>, NotLoaded> {
        let document = self.devices.get(device).ok_or_else(|| NotLoaded {
            name: LeafName::Device(device.clone()),
        })?;
        Ok(document.as_ref())
    }

    pub(super) fn set_group(&mut self, group: GroupName, document: Option<GroupDocument>) {
        self.groups.insert(group, document.map(share));
    }

    pub(super) fn set_device(
        &mut self,
        device: DeviceId,
        document: Option<Shared<DeviceDocument>>,
    ) {
        self.devices.insert(device, document);
    }

    pub(super) fn set_location(
        &mut self,
        location: LocationName,
        document: Option<LocationDocument>,
    ) {
        self.locations.insert(location, document.map(share));
    }

    pub(super) fn set_rollout(&mut self, rollout: RolloutId, document: Option<RolloutDocument>) {
        self.rollouts.insert(rollout, document.map(share));
    }
}

pub(super) fn share<T: StateDocument>(value: T) -> Shared<T> {
    Arc::new(Document::new(value))
}

fn digest<T>(document: Option<&Shared<T>>) -> Option<Sha256Digest> {
    document.map(|document| document.digest())
}

fn text<T>(leaf: Option<&Option<Shared<T>>>) -> Option<&DocumentText> {
    leaf?.as_ref().map(|document| document.text())
}

/// Reads each distinct document of one kind once.
struct DocumentReader<'a, T> {
    texts: &'a BTreeMap<Sha256Digest, DocumentText>,
    read: BTreeMap<Sha256Digest, Shared<T>>,
}

impl<'a, T: StateDocument> DocumentReader<'a, T> {
    fn new(texts: &'a BTreeMap<Sha256Digest, DocumentText>) -> Self {
        let read = BTreeMap::new();
        Self { texts, read }
    }

    fn read(
        &mut self,
        name: &LeafName,
        digest: Option<Sha256Digest>,
    ) -> Result<Option<Shared<T>>, StatePartError> {
        let Some(digest) = digest else {
            return Ok(None);
        };
        if let Some(document) = self.read.get(&digest) {
            return Ok(Some(Arc::clone(document)));
        }
        let text = self.texts.get(&digest);
        let text = text.ok_or_else(|| StatePartError::NoText { name: name.clone() })?;
        let document =
            Document::read(text.clone()).map_err(|source| StatePartError::Unreadable {
                name: name.clone(),
                source,
            })?;
        let document = Arc::new(document);
        self.read.insert(digest, Arc::clone(&document));
        Ok(Some(document))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::samples::{applied, create, empty, group};

    #[test]
    fn error_messages() {
        let state = applied(&empty(), &[create("lab")], 10);
        let lab = LeafName::Group(group("lab"));
        let digest = state.leaves()[&lab];
        let read = |name: &str, text: Option<&str>| {
            let texts = text.map(|text| DocumentText::new(text.to_owned()).unwrap());
            let digest = texts.as_ref().map_or(digest, |text| Some(text.digest()));
            let texts = texts
                .into_iter()
                .map(|text| (text.digest(), text))
                .collect();
            StatePart::read([(name.parse().unwrap(), digest)], &texts).unwrap_err()
        };
        let errors = [
            read("group/lab", None),
            read("commit/7-0a1b2c3d", None),
            read("group/lab", Some(r#"{"schema":3}"#)),
        ];
        let errors = errors.iter().map(ToString::to_string);
        insta::assert_snapshot!(errors.collect::<Vec<_>>().join("\n"), @r"
        the document of group/lab is missing: the table has lost it, or hides it
        commit/7-0a1b2c3d has no document
        cannot read the document of group/lab: if a newer version of Packcast wrote it, update this program
        ");
        let error = StatePart::default().group(&group("lab")).unwrap_err();
        insta::assert_snapshot!(error, @"the decision needs group/lab, which was not loaded");
    }

    #[test]
    fn equal_documents_are_read_once() {
        let state = applied(&empty(), &[create("lab"), create("office")], 10);
        let names = ["lab", "office"].map(|name| LeafName::Group(group(name)));
        let part = crate::state::samples::reloaded(&state, names);
        let [lab, office] =
            ["lab", "office"].map(|name| part.groups[&group(name)].clone().unwrap());
        assert!(Arc::ptr_eq(&lab, &office));
    }
}
