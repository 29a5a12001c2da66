//! The signed state of a world, compared with its records.

use std::collections::{BTreeMap, BTreeSet};

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::{LeafName, StateEntry, TrustedRoots};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest};
use packcast_publisher::signing::memory_file::MemoryFile;
use packcast_publisher::state::TargetState;
use packcast_rollout::TaskState;
use packcast_rollout::state::StatePart;
use packcast_store::{Records, RecordsConfig};
use tokio::runtime::Runtime;

use crate::world::World;

/// The head of a world, with the records that should follow from it.
#[derive(Debug)]
pub struct Tree {
    runtime: Runtime,
    records: Records,
    trust: TrustedRoots,
}

impl Tree {
    /// Reads the root keys from the memory of the administrator's machine.
    pub fn of(world: &World) -> Self {
        let memory = world.local_dir().join("commits.jsonl");
        let trust = MemoryFile::trust(&memory).expect("the memory is readable");
        let state = world.state();
        let runtime = Runtime::new().expect("a runtime can be created");
        let records = runtime.block_on(Records::connect(RecordsConfig {
            table: state.table.clone(),
            endpoint: Some(state.endpoint.clone()),
            ..RecordsConfig::default()
        }));
        Self {
            runtime,
            records,
            trust: trust.expect("packcast local creates a target id"),
        }
    }

    /// Asks the records.
    pub fn ask<T>(&self, question: impl AsyncFnOnce(&Records) -> T) -> T {
        self.runtime.block_on(question(&self.records))
    }

    /// Returns the number of commits.
    pub fn order(&self) -> u64 {
        let state = self.runtime.block_on(self.head());
        state.head.map_or(0, |head| head.stored.order)
    }

    /// Returns the number of the newest commit.
    ///
    /// # Panics
    /// There is no commit.
    pub fn number(&self) -> u64 {
        let state = self.runtime.block_on(self.head());
        state.head.expect("there is a commit").commit.number
    }

    /// Returns the key that has signed the newest commit.
    ///
    /// # Panics
    /// There is no commit.
    pub fn signer(&self) -> PublicKey {
        let state = self.runtime.block_on(self.head());
        let head = state.head.expect("there is a commit");
        head.commit.signer().clone()
    }

    /// Returns the keys that may sign the next commit.
    pub fn may_sign(&self) -> Vec<PublicKey> {
        self.runtime.block_on(self.head()).chain.signing()
    }

    /// Returns the packages of a device itself, with the number of the commit that assigned each.
    pub fn direct(&self, device: &str) -> BTreeMap<PackageId, u64> {
        let device: DeviceId = device.parse().expect("a device has an id");
        let part = self.part([LeafName::Device(device.clone())]);
        let document = part.device(&device).expect("the leaf is loaded");
        let entries = document.map_or(&[][..], |document| document.packages.as_slice());
        entries
            .iter()
            .map(|entry| (entry.package, entry.seq))
            .collect()
    }

    /// Returns the packages that the state assigns to a device itself, or to one of its groups.
    pub fn assigned(&self, device: &str) -> BTreeSet<PackageId> {
        let direct = self.direct(device).into_keys();
        let device: DeviceId = device.parse().expect("a device has an id");
        let mut part = self.runtime.block_on(self.groups());
        part.extend(self.part([LeafName::Device(device.clone())]));
        // The device may still name groups that were deleted.
        let named = self.load(part.named_groups());
        part.extend(self.runtime.block_on(named));
        let joined = part.groups_of(&device).expect("the groups are loaded");
        let groups = part.groups();
        let groups = groups.filter(|(group, _)| group.is_all() || joined.contains_key(group));
        let entries = groups.flat_map(|(_, document)| {
            let packages = document.map(|document| document.packages.as_slice());
            packages.unwrap_or_default()
        });
        entries.map(|entry| entry.package).chain(direct).collect()
    }

    /// Returns true if the state has a leaf of this device.
    pub fn has_device(&self, device: &str) -> bool {
        let device: DeviceId = device.parse().expect("a device has an id");
        let part = self.part([LeafName::Device(device.clone())]);
        part.device(&device).expect("the leaf is loaded").is_some()
    }

    /// Returns true if the state has a group of this name.
    pub fn has_group(&self, group: &str) -> bool {
        let group: GroupName = group.parse().expect("a group has a name");
        let part = self.part([LeafName::Group(group.clone())]);
        part.group(&group).expect("the leaf is loaded").is_some()
    }

    /// Returns each difference between the state and the records, in words.
    pub fn differences(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let mut found = self.group_differences().await;
            found.extend(self.device_differences().await);
            found.extend(self.location_differences().await);
            found
        })
    }

    fn part<const N: usize>(&self, names: [LeafName; N]) -> StatePart {
        self.runtime.block_on(self.load(names.into()))
    }

    async fn load(&self, names: BTreeSet<LeafName>) -> StatePart {
        let mut trees = self.head().await.trees;
        let part = trees.part(&self.records, names).await;
        part.expect("the head is complete")
    }

    async fn head(&self) -> TargetState {
        let state = TargetState::read(&self.records, &self.trust).await;
        state.expect("the head can be verified")
    }

    async fn groups(&self) -> StatePart {
        let mut trees = self.head().await.trees;
        let part = trees.all_groups(&self.records).await;
        part.expect("the head is complete")
    }

    async fn group_differences(&self) -> Vec<String> {
        type Content = (Vec<(PackageId, Sha256Digest, bool)>, String, String);
        let mut committed: BTreeMap<GroupName, Content> = BTreeMap::new();
        for (group, document) in self.groups().await.groups() {
            if let Some(document) = document {
                let packages = document.packages.as_slice().iter();
                let packages = packages.map(|entry| (entry.package, entry.manifest, entry.force));
                let settings = (
                    format!("{:?}", document.prefer),
                    format!("{:?}", document.pace),
                );
                committed.insert(group.clone(), (packages.collect(), settings.0, settings.1));
            }
        }
        let mut recorded: BTreeMap<GroupName, Content> = BTreeMap::new();
        for state in self
            .records
            .groups()
            .await
            .expect("the groups are readable")
        {
            let packages = state.assignments.iter();
            let packages = packages.map(|it| (it.package, it.manifest, it.force));
            let settings = (
                format!("{:?}", state.preferred),
                format!("{:?}", state.pace),
            );
            recorded.insert(state.group, (packages.collect(), settings.0, settings.1));
        }
        different("group", &committed, &recorded)
    }

    async fn device_differences(&self) -> Vec<String> {
        let devices = self.records.members(&GroupName::all()).await;
        let devices = devices.expect("the devices are readable");
        let mut part = self.groups().await;
        let names = devices.iter().cloned().map(LeafName::Device).collect();
        part.extend(self.load(names).await);
        part.extend(self.load(part.named_groups()).await);
        let mut found = Vec::new();
        for device in devices {
            let recorded = self.records.device_state(&device).await;
            let recorded = recorded.expect("a device is readable");
            let groups = part.groups_of(&device).expect("the groups are loaded");
            let groups: BTreeSet<GroupName> = groups.into_keys().cloned().collect();
            let joined: BTreeSet<GroupName> = recorded.memberships.joined().cloned().collect();
            if groups != joined {
                found.push(format!(
                    "{device}: the state has the groups {groups:?}, the record {joined:?}"
                ));
            }
            let document = part.device(&device).expect("the device is loaded");
            let entries = document.map_or(&[][..], |document| document.packages.as_slice());
            let packages: BTreeSet<PackageId> = entries.iter().map(|entry| entry.package).collect();
            let tasks = recorded.tasks.iter();
            let open = tasks
                .filter(|it| it.direct && !matches!(it.state, TaskState::Withdrawn { .. }))
                .map(|task| task.package);
            let open: BTreeSet<PackageId> = open.collect();
            // The entry of a finished package stays until another change removes it.
            let finished = self.records.finished_of(&device, &packages).await;
            let finished = finished.expect("results are readable");
            let is_open = |entry: &&StateEntry| !finished.contains_key(&entry.package);
            let wanted = entries.iter().filter(is_open).map(|entry| entry.package);
            let wanted: BTreeSet<PackageId> = wanted.collect();
            if !open.is_subset(&packages) || !wanted.is_subset(&open) {
                found.push(format!(
                    "{device}: the state has the packages {packages:?}, the record {open:?}"
                ));
            }
        }
        found
    }

    async fn location_differences(&self) -> Vec<String> {
        let recorded = self.records.locations().await;
        let recorded = recorded.expect("the locations are readable");
        let names = recorded
            .iter()
            .map(|at| LeafName::Location(at.name.clone()))
            .collect();
        let part = self.load(names).await;
        let committed: BTreeMap<String, String> = part
            .locations()
            .filter_map(|(name, document)| Some((name.to_string(), document?.url.to_string())))
            .collect();
        let recorded = recorded
            .into_iter()
            .map(|at| (at.name.to_string(), at.location.to_string()));
        different("location", &committed, &recorded.collect())
    }
}

fn different<N: Ord + std::fmt::Debug, T: PartialEq + std::fmt::Debug>(
    kind: &str,
    committed: &BTreeMap<N, T>,
    recorded: &BTreeMap<N, T>,
) -> Vec<String> {
    let names: BTreeSet<&N> = committed.keys().chain(recorded.keys()).collect();
    let differs = |name: &&N| committed.get(name) != recorded.get(name);
    names
        .into_iter()
        .filter(differs)
        .map(|name| {
            let (state, record) = (committed.get(name), recorded.get(name));
            format!("{kind} {name:?}: the state has {state:?}, the record {record:?}")
        })
        .collect()
}
