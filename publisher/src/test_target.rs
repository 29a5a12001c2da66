//! A target on an embedded engine, for tests of operations on its signed state.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::state::{CommitId, Terms};
use packcast_protocol::{DeviceId, GroupName, PackageId, Priority, Sha256Digest, WindowsTerms};
use packcast_rollout::state::{EntryOwner, NewAssignment, StateChange};
use packcast_rollout::{FinishedTask, PackageRecord};
use packcast_store::records::Recorded;
use packcast_store::{Directory, Objects};
use packcast_testing::table::{Table, device, result};
use tempfile::TempDir;

use crate::author::Author;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::publish::plan::{ActionName, PackageTerms, PublishRequest};
use crate::publish::publish;
use crate::signing::{NoSecrets, Signer, SigningKey, key_files};
use crate::state::Committed;
use crate::target::Target;
use crate::warning::Warnings;

/// A new target, which this machine has created.
pub(crate) struct TestTarget {
    pub(crate) target: Target,
    pub(crate) table: Table,
    folder: TempDir,
}

/// Returns a target on a table, with its files in a folder. This machine has created the target.
pub(crate) fn new_target(table: &Table, folder: &Path) -> Target {
    let target = target_in(table, folder);
    let new = key_files::NewKeys {
        file: target.key_file.clone(),
        memory: Some(target.state_memory.clone()),
        root: None,
        unencrypted: true,
    };
    key_files::generate(new, &NoSecrets).unwrap();
    target
}

/// Returns a target on a table, whose files are those of a folder.
pub(crate) fn target_in(table: &Table, folder: &Path) -> Target {
    let path = |name: &str| folder.join(name);
    Target {
        name: "prod".to_owned(),
        records: table.records.clone(),
        objects: Objects::Directory(Directory::new(path("objects"))),
        prefix: "d".parse().unwrap(),
        pace: packcast_rollout::Pacing::default(),
        ca_file: None,
        key_file: path("prod.key"),
        state_memory: path("commits.jsonl"),
        author: Author {
            user: "ada".to_owned(),
            host: "laptop".to_owned(),
        },
        secrets: Arc::new(NoSecrets),
        warnings: Warnings::default(),
    }
}

impl TestTarget {
    pub(crate) async fn start(seed: u64) -> Self {
        let table = Table::without_target(seed).await;
        let folder = tempfile::tempdir().unwrap();
        let target = new_target(&table, folder.path());
        Self {
            target,
            table,
            folder,
        }
    }

    pub(crate) async fn try_change(
        &self,
        changes: &[StateChange],
        command: &str,
    ) -> Result<Committed, Failure> {
        let mut signer = Signer::new(&self.target, None);
        let mut state = signer.changer(&self.target).await?;
        Ok(state.change(changes, command).await?.committed)
    }

    /// Makes a commit, and returns its id.
    pub(crate) async fn change(&self, changes: &[StateChange], command: &str) -> CommitId {
        match self.try_change(changes, command).await.unwrap() {
            Committed::Done { head, .. } => head.commit.id,
            same @ Committed::AlreadySo { .. } => panic!("{same:?}"),
        }
    }

    /// Makes a commit, and writes the records that follow from it.
    pub(crate) async fn change_all(&self, changes: &[StateChange]) -> CommitId {
        let mut signer = Signer::new(&self.target, None);
        let progress = Progress::none();
        let done = signer.change(&self.target, changes, "packcast", &progress);
        match done.await.unwrap().committed {
            Committed::Done { head, .. } => head.commit.id,
            same @ Committed::AlreadySo { .. } => panic!("{same:?}"),
        }
    }

    /// Publishes a package that runs a command.
    pub(crate) async fn publish(&self, name: &str) -> PackageRecord {
        let request = PublishRequest {
            name: name.parse().unwrap(),
            version: "1".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: ActionName::Execute,
            command: Some("true".to_owned()),
            folder: None,
            terms: PackageTerms {
                platform: Platform::Any,
                success_codes: [0].into(),
                reboot_codes: BTreeSet::new(),
                timeout_s: 60,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        };
        let plan = request.plan(None).unwrap();
        let key = SigningKey::load(None, &self.target.key_file, &NoSecrets).unwrap();
        let progress = Progress::none();
        let published = publish(&self.target, &plan, None, &key, &progress).await;
        let id = published.unwrap().package.id;
        self.table.records.package(id).await.unwrap().unwrap()
    }

    /// Assigns a package to devices, and records the result of each with the end of its output.
    pub(crate) async fn deploy(
        &self,
        devices: &[DeviceId],
        package: &PackageRecord,
        code: &str,
        output: &str,
    ) {
        let owners = devices.iter().cloned().map(EntryOwner::Device);
        let changes: Vec<StateChange> = owners
            .map(|owner| assign_published(owner, package))
            .collect();
        self.change_all(&changes).await;
        for device in devices {
            let task = self.table.task(device, package.id).await.unwrap();
            let finished = FinishedTask {
                output_tail: Some(output.to_owned()),
                ..result(&task, code)
            };
            let recorded = self.table.records.record_result(device, &task, &finished);
            assert_eq!(recorded.await.unwrap(), Recorded::Written);
        }
    }

    /// Returns the folder with the objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.folder.path().join("objects")
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

/// Assigns a published package.
pub(crate) fn assign_published(to: EntryOwner, package: &PackageRecord) -> StateChange {
    StateChange::Assign {
        to,
        assignment: NewAssignment {
            package: package.id,
            manifest: package.published().unwrap().manifest,
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
