//! A publisher that signs assignments of the tasks, and the means to sign any other document.

use std::sync::Arc;

use minisign::KeyPair;
use packcast_protocol::api::Task;
use packcast_protocol::assignments::{AssignedPackage, Held};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Signed, SignedDocument};
use packcast_protocol::{
    Assignee, Assignments, GroupName, KeyList, SignedAssignments, SignedKeyList, UnixTime,
};

/// An expiry in the far future: the year 2100.
pub(crate) const LATE: UnixTime = UnixTime(4_102_444_800);

/// A key, which several publishers may share.
#[derive(Clone)]
pub(crate) struct Signer(Arc<KeyPair>);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(Arc::new(KeyPair::generate_unencrypted_keypair().unwrap()))
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.0.pk.to_base64().parse().unwrap()
    }

    /// Returns the secret key in minisign's file format, without a passphrase.
    pub(crate) fn secret_file(&self) -> String {
        self.0.sk.to_box(None).unwrap().to_string()
    }

    pub(crate) fn signature(&self, document: &[u8]) -> String {
        let signature = minisign::sign(None, &self.0.sk, document, None, None);
        signature.unwrap().into_string()
    }

    pub(crate) fn sign<D: SignedDocument>(&self, document: &D) -> Signed<D> {
        let document = document.to_document();
        let signature = self.signature(document.as_bytes());
        Signed::new(document, signature).unwrap()
    }

    /// Signs a key list with these keys.
    pub(crate) fn list(&self, serial: u64, keys: &[&Self]) -> SignedKeyList {
        let keys = keys.iter().map(|key| key.public()).collect();
        self.sign(&KeyList::new(serial, keys, UnixTime(unix_now())).unwrap())
    }
}

/// The content of a signed document.
#[derive(Clone)]
pub(crate) struct TestDocument {
    pub(crate) to: Assignee,
    pub(crate) revision: u64,
    pub(crate) groups: Vec<GroupName>,
    pub(crate) packages: Vec<AssignedPackage>,
    pub(crate) expires: UnixTime,
}

impl TestDocument {
    pub(crate) fn document(&self) -> Assignments {
        let state = Held {
            revision: self.revision,
            issued: UnixTime(self.revision),
        };
        let groups = self.groups.iter().cloned().collect();
        let (to, packages) = (self.to.clone(), self.packages.clone());
        Assignments::new(to, state, groups, packages, self.expires).unwrap()
    }

    pub(crate) fn signed(&self, signer: &Signer) -> SignedAssignments {
        signer.sign(&self.document())
    }
}

/// Returns a document that assigns the tasks to all devices. Each attempt is a separate assignment.
pub(crate) fn honest(revision: u64, tasks: &[Task]) -> TestDocument {
    let mut packages: Vec<AssignedPackage> = tasks.iter().map(assigned).collect();
    packages.sort_by_key(|assigned| assigned.package);
    packages.dedup_by_key(|assigned| assigned.package);
    TestDocument {
        to: Assignee::Group(GroupName::all()),
        revision,
        groups: Vec::new(),
        packages,
        expires: LATE,
    }
}

fn assigned(task: &Task) -> AssignedPackage {
    AssignedPackage {
        package: task.id,
        manifest: task.manifest_sha256,
        seq: task.attempt.into(),
        force: task.force,
    }
}

/// Signs the assignments to all devices, with a new revision whenever the tasks change.
pub(crate) struct Publisher {
    pub(crate) signer: Signer,
    latest: TestDocument,
}

impl Publisher {
    pub(crate) fn new(signer: Signer) -> Self {
        let latest = honest(1, &[]);
        Self { signer, latest }
    }

    pub(crate) fn assignments(&mut self, tasks: &[Task]) -> SignedAssignments {
        let next = honest(self.latest.revision + 1, tasks);
        if next.packages != self.latest.packages {
            self.latest = next;
        }
        self.latest.signed(&self.signer)
    }
}

pub(crate) fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}
