//! Publishers of the tests. Their keys are created once.

use std::sync::LazyLock;

use minisign::KeyPair;
use packcast_protocol::assignments::{AssignedPackage, Held};
use packcast_protocol::signature::PublicKey;
use packcast_protocol::signed::{Signed, SignedDocument};
use packcast_protocol::{
    AgentId, Assignee, Assignments, GroupName, KeyList, PackageId, Sha256Digest, SignedAssignments,
    SignedKeyList, UnixTime,
};

static KEYS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    (0..3)
        .map(|_| KeyPair::generate_unencrypted_keypair().unwrap())
        .collect()
});

pub(crate) fn key(n: usize) -> PublicKey {
    KEYS[n].pk.to_base64().parse().unwrap()
}

pub(crate) fn sign<D: SignedDocument>(signer: usize, document: &D) -> Signed<D> {
    let document = document.to_document();
    let secret = &KEYS[signer].sk;
    let signature = minisign::sign(None, secret, document.as_bytes(), None, None).unwrap();
    Signed::new(document, signature.into_string()).unwrap()
}

pub(crate) fn list(signer: usize, serial: u64, named: &[usize]) -> SignedKeyList {
    let named = named.iter().map(|n| key(*n)).collect();
    sign(signer, &KeyList::new(serial, named, UnixTime(1)).unwrap())
}

pub(crate) fn device(n: u8) -> AgentId {
    AgentId::of_public_key(&[n; 32])
}

pub(crate) fn group(name: &str) -> GroupName {
    name.parse().unwrap()
}

pub(crate) fn package(n: u32) -> PackageId {
    PackageId::try_from(1_795_000_000 + n).unwrap()
}

/// The digest of a test package's manifest.
pub(crate) fn manifest(n: u32) -> Sha256Digest {
    Sha256Digest::of(&n.to_be_bytes())
}

/// The content of a document in the tests. It is issued as many seconds after 0 as its revision.
pub(crate) struct TestDocument<'a> {
    pub(crate) to: Assignee,
    pub(crate) revision: u64,
    pub(crate) groups: &'a [&'a str],
    /// The number, seq and force of each package.
    pub(crate) packages: &'a [(u32, u64, bool)],
    pub(crate) expires: u64,
}

pub(crate) fn to_group(name: &str) -> TestDocument<'_> {
    TestDocument {
        to: Assignee::Group(group(name)),
        revision: 1,
        groups: &[],
        packages: &[],
        expires: 1000,
    }
}

pub(crate) fn to_device(n: u8) -> TestDocument<'static> {
    TestDocument {
        to: Assignee::Device(device(n)),
        ..to_group("all")
    }
}

impl TestDocument<'_> {
    pub(crate) fn signed(self, signer: usize) -> SignedAssignments {
        let assigned = |(n, seq, force): &(u32, u64, bool)| AssignedPackage {
            package: package(*n),
            manifest: manifest(*n),
            seq: *seq,
            force: *force,
        };
        let state = Held {
            revision: self.revision,
            issued: UnixTime(self.revision),
        };
        let made = Assignments::new(
            self.to,
            state,
            self.groups.iter().map(|name| group(name)).collect(),
            self.packages.iter().map(assigned).collect(),
            UnixTime(self.expires),
        );
        sign(signer, &made.unwrap())
    }
}
