//! Findings of an audit: sentences, each with a remedy.

use packcast_protocol::state::key_list::KeyChainError;
use packcast_protocol::state::{CommitId, LeafName, NodeHash};
use packcast_protocol::{PackageId, UnixTime, with_causes};
use packcast_rollout::state::EntryOwner;
use serde::{Serialize, Serializer};

use crate::state::{CommitProblem, DifferenceKind, RecordDifference, StateError};
use crate::text::{count, time};
use crate::verify::VerifyProblem;

/// The parts of an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditPart {
    /// The commits and their signatures.
    History,
    /// The key lists.
    Keys,
    /// The trees and documents of the head.
    Trees,
    /// The records that follow from the trees.
    Records,
    /// The memory of this machine.
    Memory,
    /// The manifests of the assigned packages.
    Packages,
}

/// A difference between a target and its signed state, or a signed state that ends soon.
#[derive(Debug, thiserror::Error)]
pub enum Finding {
    #[error(transparent)]
    Head(StateError),
    #[error(transparent)]
    Commit(CommitProblem),
    #[error("the history of the head leaves out commit {commit}, which a publisher key has signed")]
    LeftOut { commit: CommitId },
    #[error("the ancestors of the head leave out commit {commit}, which is in its history")]
    NoAncestor { commit: CommitId },
    #[error("the head expired {}: no device begins a package", time(*.expires))]
    HeadExpired { expires: UnixTime },
    #[error("the head expires {}", time(*.expires))]
    HeadExpiresSoon { expires: UnixTime },
    #[error("the table has a key list that does not count")]
    ListRefused(#[source] KeyChainError),
    #[error("key list {serial} expired {}: no device begins a package", time(*.expires))]
    ListExpired { serial: u64, expires: UnixTime },
    #[error("key list {serial} expires {}", time(*.expires))]
    ListExpiresSoon { serial: u64, expires: UnixTime },
    #[error("cannot read the tree of {tree}")]
    Tree {
        tree: &'static str,
        #[source]
        source: StateError,
    },
    #[error("the tree of {tree} has another root: expected {expected}, found {found}")]
    OtherRoot {
        tree: &'static str,
        expected: NodeHash,
        found: NodeHash,
    },
    #[error("cannot read the documents of the head")]
    Documents(#[source] StateError),
    #[error("{0}")]
    Record(RecordDifference),
    #[error("the head leaves out commit {commit}, which this machine remembers")]
    Forgotten { commit: CommitId },
    #[error("this machine has signed commit {commit}, which is not the head yet")]
    Unfinished { commit: CommitId },
    #[error("package {package} of {owner} has no record, or it was deleted")]
    NoPackage {
        package: PackageId,
        owner: EntryOwner,
    },
    #[error("the record of package {package} has another manifest than the assignment to {owner}")]
    OtherManifest {
        package: PackageId,
        owner: EntryOwner,
    },
    #[error("cannot verify the manifest of package {package}")]
    Manifest {
        package: PackageId,
        #[source]
        source: VerifyProblem,
    },
    #[error("the audit left out {}", count(*.number, "other finding"))]
    Others { number: u64 },
}

const TABLE: &str = "find out who can write to the table; then restore the table from a back-up";
const RECORD: &str = "devices with a Packcast agent follow the signed state; find out who can write to the table, then run 'packcast sign --all-records'";

impl Finding {
    /// Returns the part of the audit that the finding belongs to.
    pub const fn part(&self) -> AuditPart {
        match self {
            Self::Head(_)
            | Self::Commit(_)
            | Self::LeftOut { .. }
            | Self::NoAncestor { .. }
            | Self::HeadExpired { .. }
            | Self::HeadExpiresSoon { .. }
            | Self::Others { .. } => AuditPart::History,
            Self::ListRefused(_) | Self::ListExpired { .. } | Self::ListExpiresSoon { .. } => {
                AuditPart::Keys
            }
            Self::Tree { .. } | Self::OtherRoot { .. } | Self::Documents(_) => AuditPart::Trees,
            Self::Forgotten { .. } | Self::Unfinished { .. } => AuditPart::Memory,
            Self::NoPackage { .. } | Self::OtherManifest { .. } | Self::Manifest { .. } => {
                AuditPart::Packages
            }
            Self::Record(_) => AuditPart::Records,
        }
    }

    /// Returns the next step.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Head(_) => {
                "compare the trust line with that of another machine, and find out who can write to the table"
            }
            Self::LeftOut { .. } | Self::Forgotten { .. } => {
                "if nobody restored the table or replaced a key, somebody put an earlier head back: change nothing until you know who; after a restore, run 'packcast sign --restored'"
            }
            Self::HeadExpired { .. } | Self::HeadExpiresSoon { .. } => {
                "run 'packcast sign' to sign the state again"
            }
            Self::ListRefused(_) => {
                "if nobody replaced a root key, find out who can write to the table"
            }
            Self::ListExpired { .. } | Self::ListExpiresSoon { .. } => {
                "run 'packcast sign' with a root key, or 'packcast sign --root-key FILE'"
            }
            Self::Unfinished { .. } => "run the interrupted command again: it completes the commit",
            Self::NoPackage { .. } => "unassign the package with 'packcast unassign'",
            Self::Manifest {
                source: VerifyProblem::Signature(_),
                ..
            } => {
                "if you trust the key that has signed the package, pass it with --accept-key; if not, run 'packcast unassign'"
            }
            Self::OtherManifest { .. } | Self::Manifest { .. } => {
                "run 'packcast verify PACKAGE' to see all problems; Packcast agents refuse a manifest with another digest"
            }
            Self::Others { .. } => "correct the findings above, then run 'packcast audit' again",
            Self::Commit(_)
            | Self::NoAncestor { .. }
            | Self::Tree { .. }
            | Self::OtherRoot { .. }
            | Self::Documents(_) => TABLE,
            Self::Record(_) => RECORD,
        }
    }

    /// Returns the leaf whose record differs. `None` if the finding is not about a record.
    pub(super) const fn leaf(&self) -> Option<&LeafName> {
        match self {
            Self::Record(difference) => Some(&difference.leaf),
            _ => None,
        }
    }

    /// Returns true if the finding is about all members of a group.
    pub(super) const fn is_of_members(&self) -> bool {
        matches!(
            self,
            Self::Record(RecordDifference {
                kind: DifferenceKind::Members | DifferenceKind::Size,
                ..
            })
        )
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            part: AuditPart,
            text: String,
            remedy: &'a str,
        }
        let written = Written {
            part: self.part(),
            text: with_causes(self),
            remedy: self.remedy(),
        };
        written.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::signature::SignatureError;
    use packcast_protocol::state::PartialTreeError;

    use super::*;

    fn commit() -> CommitId {
        CommitId {
            number: 7,
            digest: Sha256Digest::of(b""),
        }
    }

    fn group() -> packcast_protocol::GroupName {
        "lab".parse().unwrap()
    }

    fn package() -> PackageId {
        "1795000000".parse().unwrap()
    }

    fn on_the_state() -> Vec<Finding> {
        let (commit, expires) = (commit(), UnixTime(1_795_000_000));
        let hash = NodeHash::from_bytes([7; 32]);
        vec![
            Finding::Head(StateError::NoKeyList),
            Finding::Commit(CommitProblem::Lost { id: commit }),
            Finding::LeftOut { commit },
            Finding::NoAncestor { commit },
            Finding::HeadExpired { expires },
            Finding::HeadExpiresSoon { expires },
            Finding::ListRefused(KeyChainError::UnnamedRoot { given: 3 }),
            Finding::ListExpired { serial: 3, expires },
            Finding::ListExpiresSoon { serial: 3, expires },
            Finding::Tree {
                tree: "groups",
                source: StateError::Page {
                    hash,
                    source: PartialTreeError::CutOff,
                },
            },
            Finding::OtherRoot {
                tree: "groups",
                expected: hash,
                found: NodeHash::EMPTY,
            },
            Finding::Documents(StateError::NoPage { hash }),
        ]
    }

    fn on_records() -> Vec<Finding> {
        let package = package();
        let record = |kind| {
            let leaf = LeafName::Group(group());
            Finding::Record(RecordDifference { leaf, kind })
        };
        vec![
            record(DifferenceKind::Settings),
            record(DifferenceKind::Package(package)),
        ]
    }

    fn findings() -> Vec<Finding> {
        let owner = || EntryOwner::Group(group());
        let (commit, package) = (commit(), package());
        let mut all = on_the_state();
        all.extend(on_records());
        all.extend([
            Finding::Forgotten { commit },
            Finding::Unfinished { commit },
            Finding::NoPackage {
                package,
                owner: owner(),
            },
            Finding::OtherManifest {
                package,
                owner: owner(),
            },
            Finding::Manifest {
                package,
                source: VerifyProblem::OtherPackage,
            },
            Finding::Manifest {
                package,
                source: VerifyProblem::Signature(SignatureError::UntrustedKey),
            },
            Finding::Others { number: 1 },
        ]);
        all
    }

    #[test]
    fn findings_are_sentences_with_remedies() {
        let digest = Sha256Digest::of(b"").to_string();
        let mut lines = Vec::new();
        let mut last = "";
        for finding in findings() {
            let remedy = finding.remedy();
            lines.push(format!("{:?}: {}", finding.part(), with_causes(&finding)));
            if remedy != last {
                lines.push(format!("  {remedy}"));
                last = remedy;
            }
        }
        let text = lines.join("\n").replace(&digest, "DIGEST");
        insta::assert_snapshot!(text, @"
        History: the target has no key list that its root keys have signed
          compare the trust line with that of another machine, and find out who can write to the table
        History: the table has no commit 7-DIGEST: it has lost the commit, or hides it
          find out who can write to the table; then restore the table from a back-up
        History: the history of the head leaves out commit 7-DIGEST, which a publisher key has signed
          if nobody restored the table or replaced a key, somebody put an earlier head back: change nothing until you know who; after a restore, run 'packcast sign --restored'
        History: the ancestors of the head leave out commit 7-DIGEST, which is in its history
          find out who can write to the table; then restore the table from a back-up
        History: the head expired 2026-11-18 11:06:40 UTC: no device begins a package
          run 'packcast sign' to sign the state again
        History: the head expires 2026-11-18 11:06:40 UTC
        Keys: the table has a key list that does not count: key list 3 is signed by a root key that the key list before it does not name
          if nobody replaced a root key, find out who can write to the table
        Keys: key list 3 expired 2026-11-18 11:06:40 UTC: no device begins a package
          run 'packcast sign' with a root key, or 'packcast sign --root-key FILE'
        Keys: key list 3 expires 2026-11-18 11:06:40 UTC
        Trees: cannot read the tree of groups: cannot read page 0707070707070707070707070707070707070707070707070707070707070707: the tree ends too early
          find out who can write to the table; then restore the table from a back-up
        Trees: the tree of groups has another root: expected 0707070707070707070707070707070707070707070707070707070707070707, found 0000000000000000000000000000000000000000000000000000000000000000
        Trees: cannot read the documents of the head: the table has no page 0707070707070707070707070707070707070707070707070707070707070707
        Records: group/lab: packages or settings differ
          devices with a Packcast agent follow the signed state; find out who can write to the table, then run 'packcast sign --all-records'
        Records: group/lab: its entry under package 1795000000 is missing or left over
        Memory: the head leaves out commit 7-DIGEST, which this machine remembers
          if nobody restored the table or replaced a key, somebody put an earlier head back: change nothing until you know who; after a restore, run 'packcast sign --restored'
        Memory: this machine has signed commit 7-DIGEST, which is not the head yet
          run the interrupted command again: it completes the commit
        Packages: package 1795000000 of group lab has no record, or it was deleted
          unassign the package with 'packcast unassign'
        Packages: the record of package 1795000000 has another manifest than the assignment to group lab
          run 'packcast verify PACKAGE' to see all problems; Packcast agents refuse a manifest with another digest
        Packages: cannot verify the manifest of package 1795000000: the manifest describes another package than the record
        Packages: cannot verify the manifest of package 1795000000: cannot verify the signature of the manifest: the signature is not by a trusted key
          if you trust the key that has signed the package, pass it with --accept-key; if not, run 'packcast unassign'
        History: the audit left out 1 other finding
          correct the findings above, then run 'packcast audit' again
        ");
    }

    #[test]
    fn findings_on_records_name_a_leaf() {
        for finding in findings() {
            let is_of_records = finding.part() == AuditPart::Records;
            assert_eq!(finding.leaf().is_some(), is_of_records, "{finding:?}");
        }
        assert!(on_records().iter().all(|it| it.leaf().is_some()));
    }
}
