//! Permissions of the tests.

use packcast_protocol::state::{ActedUnder, CommitId, HighestCommit, Mandate, TargetId};
use packcast_protocol::{Assignee, GroupName, Sha256Digest, UnixTime};

use super::Permission;

impl Permission {
    /// The target of the permissions in tests.
    pub(crate) const TARGET: TargetId = TargetId::from_bytes([7; 16]);

    /// Returns a permission for all devices.
    pub(crate) fn of_all(seq: u64) -> Self {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let commit = CommitId {
            number: 1_795_000_000,
            digest: Sha256Digest::of(b"commit"),
        };
        let highest = HighestCommit {
            key: key.parse().unwrap(),
            commit,
            until: UnixTime(1_795_000_000),
        };
        let mandate = Mandate {
            assignee: Assignee::Group(GroupName::all()),
            seq,
        };
        Self {
            mandates: [mandate].into(),
            under: Box::new(ActedUnder {
                target: Self::TARGET,
                highest,
                list: 1,
                root: key.parse().unwrap(),
            }),
        }
    }
}
