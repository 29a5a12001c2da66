//! The records that may be incomplete, with all that their projections need.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use packcast_protocol::state::document::StateDocument;
use packcast_protocol::state::{
    Commit, CommitId, DeviceDocument, Document, DocumentText, GroupDocument, GroupOrigin,
    LeafChange, LeafName, LocationDocument,
};
use packcast_protocol::{DeviceId, GroupName, Location, LocationName, Sha256Digest};
use packcast_rollout::state::{
    EarlierDevice, EarlierDocuments, GroupPackages, NotLoaded, StatePart, StatePartError,
    has_records, names_to_project, project_all_packages, project_packages, renamed_groups,
};
use packcast_store::Records;
use packcast_store::records::{DeviceTarget, GroupTarget, OrderedCommit, RecordedHead};

use super::super::error::StateError;
use super::super::reader::{TargetState, VerifiedHead};
use super::super::trees::Trees;
use super::recorded::RecordedUpTo;

/// The leaves of a head whose records may be incomplete.
#[derive(Debug)]
pub(super) struct OpenRecords {
    order: u64,
    /// The documents of these leaves at the head, and all groups that the devices name.
    part: StatePart,
    groups: BTreeMap<GroupName, GroupPackages>,
    devices: Vec<OpenDevice>,
    locations: Vec<(LocationName, Option<Location>)>,
    is_all: bool,
}

/// The devices whose records come first when all records are written again.
#[derive(Clone, Debug)]
pub(super) enum Urgent {
    All,
    These(BTreeSet<DeviceId>),
}

/// A device whose records may be incomplete. Devices with equal documents share the values.
#[derive(Debug)]
struct OpenDevice {
    device: DeviceId,
    groups: Arc<BTreeMap<GroupName, u64>>,
    earlier: Arc<EarlierDevice>,
}

impl OpenRecords {
    /// Finds the open records. `None` if all records are complete.
    ///
    /// The differences of the commits since `recorded` tell which leaves are open. If one of them
    /// cannot be computed, or if `recorded` is no ancestor of the head, all records are open: the
    /// head is the only commit that must be readable.
    pub(super) async fn read(
        records: &Records,
        state: &mut TargetState,
        recorded: RecordedUpTo,
    ) -> Result<Option<Self>, StateError> {
        let Some(head) = state.head.as_ref().map(VerifiedHead::recorded) else {
            return Ok(None);
        };
        let since = match recorded {
            RecordedUpTo::Nothing => None,
            RecordedUpTo::Head(recorded) if recorded == head => return Ok(None),
            RecordedUpTo::Head(recorded) if recorded.order < head.order => Some(recorded),
            RecordedUpTo::Head(_) | RecordedUpTo::Unknown => {
                return Self::all(records, state, &Urgent::All).await;
            }
        };
        let open = match Self::since(records, &mut state.trees, &head, since).await {
            Err(error) if is_lost(&error) => {
                return Self::all(records, state, &Urgent::All).await;
            }
            open => open?,
        };
        Ok(Some(open))
    }

    /// Takes all records as open: those of every leaf of the head, and all others that are on
    /// record. `None` before the first commit.
    pub(super) async fn all(
        records: &Records,
        state: &mut TargetState,
        urgent: &Urgent,
    ) -> Result<Option<Self>, StateError> {
        let Some(head) = state.head.as_ref().map(VerifiedHead::recorded) else {
            return Ok(None);
        };
        let recorded = records.recorded_leaves().await?;
        let leaves = Trees::of(None)
            .difference(records, &mut state.trees)
            .await?;
        let mut names = recorded.names;
        let leaves = leaves.into_iter().map(|leaf| leaf.name);
        names.extend(leaves.filter(has_records));
        let mut open = Self::new(records, &mut state.trees, head.order, names.clone()).await?;
        open.is_all = true;
        let nothing = BTreeSet::new();
        let [first, later] = [true, false].map(|is_urgent| {
            let unknown = EarlierDevice::unknown(is_urgent);
            Arc::new(unknown)
        });
        for name in names {
            match name {
                LeafName::Group(group) => {
                    let recorded = recorded.packages.get(&group).unwrap_or(&nothing);
                    let packages = project_all_packages(open.part.group(&group)?, recorded);
                    open.groups.insert(group, packages);
                }
                LeafName::Device(device) => open.devices.push(OpenDevice {
                    groups: Arc::new(groups_of(&open.part, &device)?),
                    earlier: Arc::clone(if urgent.contains(&device) {
                        &first
                    } else {
                        &later
                    }),
                    device,
                }),
                _ => {}
            }
        }
        Ok(Some(open))
    }

    /// Takes all records as open. The devices that have lost something since `recorded` come first.
    pub(super) async fn all_since(
        records: &Records,
        state: &mut TargetState,
        recorded: RecordedUpTo,
    ) -> Result<Option<Self>, StateError> {
        let urgent = match Self::read(records, state, recorded).await? {
            Some(all) if all.is_all => return Ok(Some(all)),
            changed => changed.map_or_else(BTreeSet::new, Self::have_lost),
        };
        Self::all(records, state, &Urgent::These(urgent)).await
    }

    fn have_lost(self) -> BTreeSet<DeviceId> {
        let devices = self.devices.into_iter();
        let lost = devices.filter(|open| open.earlier.has_lost);
        lost.map(|open| open.device).collect()
    }

    /// Finds the leaves that the commits since a head have changed, `None` for all commits.
    async fn since(
        records: &Records,
        trees: &mut Trees,
        head: &RecordedHead,
        since: Option<RecordedHead>,
    ) -> Result<Self, StateError> {
        let changes = open_changes(records, trees, head, since).await?;
        let names = names_to_project(&changes);
        let leaves = names.keys().cloned().collect();
        let mut open = Self::new(records, trees, head.order, leaves).await?;
        let mut earlier = Earlier::read(records, &open.part, &names).await?;
        let mut decided = BTreeMap::new();
        for (name, documents) in names {
            match &name {
                LeafName::Group(group) => {
                    let before = earlier.groups.all(&name, &documents)?;
                    let packages = project_packages(open.part.group(group)?, before);
                    open.groups.insert(group.clone(), packages);
                }
                LeafName::Device(device) => {
                    let part = &open.part;
                    let digest = part.document_of_device(device).map(Document::digest);
                    let (groups, earlier) = match decided.entry((digest, documents.clone())) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(new) => {
                            let before = earlier.devices.all(&name, &documents)?;
                            let groups = groups_of(part, device)?;
                            let before = EarlierDevice::new(part.device(device)?, &groups, before);
                            new.insert((Arc::new(groups), Arc::new(before)))
                        }
                    };
                    open.devices.push(OpenDevice {
                        device: device.clone(),
                        groups: Arc::clone(groups),
                        earlier: Arc::clone(earlier),
                    });
                }
                _ => {}
            }
        }
        Ok(open)
    }

    /// Loads the documents of leaves, and all groups that the devices among them name.
    async fn new(
        records: &Records,
        trees: &mut Trees,
        order: u64,
        names: BTreeSet<LeafName>,
    ) -> Result<Self, StateError> {
        let mut part = trees.part(records, names).await?;
        let mut of_devices = part.named_groups();
        of_devices.retain(|name| !part.is_loaded(name));
        part.extend(trees.part(records, of_devices).await?);
        let locations = addresses(&part);
        Ok(Self {
            order,
            part,
            groups: BTreeMap::new(),
            devices: Vec::new(),
            locations,
            is_all: false,
        })
    }

    /// Returns true if all records are open, not only those that commits have changed.
    pub(super) const fn is_all(&self) -> bool {
        self.is_all
    }

    /// Returns the open locations, each with its address at the head.
    pub(super) fn locations(&self) -> &[(LocationName, Option<Location>)] {
        &self.locations
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = GroupTarget<'_>> {
        self.groups.iter().map(|(group, packages)| GroupTarget {
            group,
            document: self.part.document_of_group(group),
            packages,
            order: self.order,
        })
    }

    /// Returns the groups that are on record under an earlier name, each with its present name.
    ///
    /// `recorded` are the origins of the open groups on record.
    pub(super) fn renamed(
        &self,
        recorded: &BTreeMap<GroupName, GroupOrigin>,
    ) -> Result<Vec<(GroupName, GroupName)>, NotLoaded> {
        renamed_groups(&self.part, recorded)
    }

    /// Returns the entries of an open group in the partitions of packages.
    pub(super) fn packages(&self, group: &GroupName) -> &GroupPackages {
        &self.groups[group]
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = DeviceTarget<'_>> {
        self.devices.iter().map(|open| DeviceTarget {
            device: &open.device,
            document: self.part.document_of_device(&open.device),
            groups: &open.groups,
            earlier: &open.earlier,
        })
    }
}

impl Urgent {
    fn contains(&self, device: &DeviceId) -> bool {
        match self {
            Self::All => true,
            Self::These(devices) => devices.contains(device),
        }
    }
}

/// Returns the groups of a device that exist at the head.
pub(in super::super) fn groups_of(
    part: &StatePart,
    device: &DeviceId,
) -> Result<BTreeMap<GroupName, u64>, NotLoaded> {
    let groups = part.groups_of(device)?.into_iter();
    Ok(groups
        .map(|(group, created)| (group.clone(), created))
        .collect())
}

/// Returns the loaded locations, each with its address.
pub(in super::super) fn addresses(part: &StatePart) -> Vec<(LocationName, Option<Location>)> {
    let locations = part.locations();
    let address = |(name, document): (&LocationName, Option<&LocationDocument>)| {
        (name.clone(), document.map(|document| document.url.clone()))
    };
    locations.map(address).collect()
}

/// Returns true if a commit, a page or a document is missing or unreadable, so that the difference
/// to it cannot be computed.
const fn is_lost(error: &StateError) -> bool {
    error.is_of_content() || matches!(error, StateError::NoCommit { .. })
}

/// Returns the differences of all commits that became the head after `since`, `None` for all.
///
/// The commits are found from the head on, because the order of their numbers is another one after
/// a thief's commit was replaced.
async fn open_changes(
    records: &Records,
    trees: &mut Trees,
    head: &RecordedHead,
    since: Option<RecordedHead>,
) -> Result<Vec<LeafChange>, StateError> {
    let (mut changes, mut later, mut id) = (Vec::new(), None, head.commit);
    let first = since.map_or(0, |since| since.order);
    for order in (first..head.order).rev() {
        let commit = ordered(records, id, order + 1).await?;
        let mut before = match commit.replaced {
            None => Trees::of(None),
            Some(replaced) => {
                id = replaced;
                let commit = verified(&ordered(records, id, order).await?)?;
                Trees::of(Some(&commit))
            }
        };
        let after = later.as_mut().unwrap_or(&mut *trees);
        changes.extend(before.difference(records, after).await?);
        later = Some(before);
    }
    match since {
        Some(since) if since.commit != id => Err(StateError::NoCommit {
            commit: since.commit,
        }),
        _ => Ok(changes),
    }
}

/// Reads the commit that became the head with this order.
async fn ordered(
    records: &Records,
    commit: CommitId,
    order: u64,
) -> Result<OrderedCommit, StateError> {
    let found = records.commit_named(&commit.name()).await?;
    found
        .filter(|found| found.order == order)
        .ok_or(StateError::NoCommit { commit })
}

/// Returns a commit, whose digest is known from the record of a later one.
fn verified(found: &OrderedCommit) -> Result<Commit, StateError> {
    let (commit, text) = (found.commit.id, found.commit.signed.text());
    let read = serde_json::from_str::<Commit>(text).ok();
    read.filter(|_| Sha256Digest::of(text.as_bytes()) == commit.digest)
        .ok_or(StateError::NoCommit { commit })
}

/// The documents that leaves have had since their records were complete.
struct Earlier {
    groups: DocumentsOf<GroupDocument>,
    devices: DocumentsOf<DeviceDocument>,
}

/// Texts of documents, each read once.
struct DocumentsOf<T> {
    texts: Arc<BTreeMap<Sha256Digest, DocumentText>>,
    read: BTreeMap<Sha256Digest, Document<T>>,
}

impl Earlier {
    async fn read(
        records: &Records,
        part: &StatePart,
        open: &BTreeMap<LeafName, EarlierDocuments>,
    ) -> Result<Self, StateError> {
        let mut texts = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for (name, documents) in open {
            missing.extend(documents.digests());
            if let Some(text) = part.text(name) {
                texts.entry(text.digest()).or_insert_with(|| text.clone());
            }
        }
        missing.retain(|digest| !texts.contains_key(digest));
        let missing: Vec<Sha256Digest> = missing.into_iter().collect();
        let found = records.documents(&missing).await?;
        texts.extend(found.into_iter().map(|text| (text.digest(), text)));
        let texts = Arc::new(texts);
        Ok(Self {
            groups: DocumentsOf::new(&texts),
            devices: DocumentsOf::new(&texts),
        })
    }
}

impl<T: StateDocument> DocumentsOf<T> {
    fn new(texts: &Arc<BTreeMap<Sha256Digest, DocumentText>>) -> Self {
        Self {
            texts: Arc::clone(texts),
            read: BTreeMap::new(),
        }
    }

    /// Returns the documents of a leaf; `None` for a time without a leaf.
    fn all(
        &mut self,
        name: &LeafName,
        documents: &EarlierDocuments,
    ) -> Result<Vec<Option<&T>>, StatePartError> {
        for digest in documents.digests() {
            if let Entry::Vacant(new) = self.read.entry(digest) {
                let text = self.texts.get(&digest);
                let text = text.ok_or_else(|| StatePartError::NoText { name: name.clone() })?;
                let read = Document::read(text.clone());
                new.insert(read.map_err(|source| StatePartError::Unreadable {
                    name: name.clone(),
                    source,
                })?);
            }
        }
        let document = |digest: Option<Sha256Digest>| digest.map(|digest| &*self.read[&digest]);
        Ok(documents.all().map(document).collect())
    }
}
