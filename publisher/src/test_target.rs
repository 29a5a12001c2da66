//! A target on an embedded engine, for tests of operations on its signed state.

use std::sync::Arc;

use packcast_protocol::state::{CommitId, Terms};
use packcast_protocol::{DeviceId, GroupName, PackageId, Sha256Digest};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_store::{Directory, Objects};
use packcast_testing::table::{Table, device};
use tempfile::TempDir;

use crate::author::Author;
use crate::failure::Failure;
use crate::signing::{NoSecrets, Signer, key_files};
use crate::state::Committed;
use crate::target::Target;
use crate::warning::Warnings;

/// A new target, which this machine has created.
pub(crate) struct TestTarget {
    pub(crate) target: Target,
    pub(crate) table: Table,
    _folder: TempDir,
}

impl TestTarget {
    pub(crate) async fn start(seed: u64) -> Self {
        let table = Table::start(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let target = Target {
            name: "prod".to_owned(),
            records: table.records.clone(),
            objects: Objects::Directory(Directory::new(path("objects"))),
            prefix: "d".parse().unwrap(),
            pace: packcast_rollout::Pacing::default(),
            ca_file: None,
            key_file: path("prod.key"),
            memory_file: path("signed.json"),
            state_memory: path("commits.jsonl"),
            author: Author {
                user: "ada".to_owned(),
                host: "laptop".to_owned(),
            },
            secrets: Arc::new(NoSecrets),
            warnings: Warnings::default(),
        };
        let memory = Some(target.state_memory.as_path());
        key_files::generate(target.key_file.clone(), memory, true, &NoSecrets).unwrap();
        Self {
            target,
            table,
            _folder: folder,
        }
    }

    pub(crate) async fn try_change(
        &self,
        changes: &[StateChange],
        command: &str,
    ) -> Result<Committed, Failure> {
        let mut signer = Signer::new(&self.target, None);
        let mut state = signer.changer(&self.target).await?;
        state.change(changes, command).await
    }

    /// Makes a commit, and returns its id.
    pub(crate) async fn change(&self, changes: &[StateChange], command: &str) -> CommitId {
        match self.try_change(changes, command).await.unwrap() {
            Committed::Done { head, .. } => head.commit.id,
            same @ Committed::AlreadySo { .. } => panic!("{same:?}"),
        }
    }

    /// Writes the item of a commit in the table again, changed as an attacker can.
    pub(crate) async fn forge(&self, id: CommitId, change: impl FnOnce(&mut serde_json::Value)) {
        let (pk, sk) = ("COMMIT", commit_key(id));
        let mut item = self.table.item(pk, &sk).await;
        change(&mut item);
        self.table.put(&item).await;
    }
}

/// Returns the sort key of a commit.
pub(crate) fn commit_key(id: CommitId) -> String {
    let name = id.name().to_string();
    let (number, short) = name.split_once('-').unwrap();
    format!("{number:0>20}-{short}")
}

pub(crate) fn lab() -> GroupName {
    "lab".parse().unwrap()
}

pub(crate) fn create_lab() -> StateChange {
    StateChange::CreateGroup { group: lab() }
}

pub(crate) fn assign(to: EntryOwner, package: PackageId) -> StateChange {
    StateChange::Assign {
        to,
        assignment: NewAssignment {
            package,
            manifest: manifest(package),
            force: false,
            terms: Terms::default(),
        },
    }
}

pub(crate) fn assign_lab(package: PackageId) -> StateChange {
    assign(EntryOwner::Group(lab()), package)
}

pub(crate) fn unassign_lab(package: PackageId) -> StateChange {
    StateChange::Unassign {
        from: EntryOwner::Group(lab()),
        package,
    }
}

pub(crate) fn join(devices: impl IntoIterator<Item = DeviceId>) -> StateChange {
    StateChange::Join {
        group: lab(),
        devices: devices.into_iter().collect(),
    }
}

pub(crate) fn devices(count: u32) -> impl Iterator<Item = DeviceId> {
    (0..count).map(|number| device(number).device)
}

/// Returns the digest of the manifest of a package in the table of a test.
pub(crate) fn manifest(package: PackageId) -> Sha256Digest {
    Sha256Digest::of(package.to_string().as_bytes())
}
