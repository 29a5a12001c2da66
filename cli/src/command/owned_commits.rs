//! Text about commits, by the machine that has signed them.

use packcast_publisher::owned_commit::{CommitOwner, OwnedCommit};

use super::log;

/// The titles of commits, by their owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Titles {
    pub(crate) this_machine: &'static str,
    pub(crate) other_machine: &'static str,
    pub(crate) unknown: &'static str,
}

impl Titles {
    /// Describes the commits, those that this machine does not know first.
    pub(crate) fn text(self, commits: &[OwnedCommit]) -> String {
        let of = |owner, title: &str| {
            let commits = commits.iter().filter(|it| it.owner == owner);
            let commits: Vec<_> = commits.map(|it| it.commit.clone()).collect();
            (!commits.is_empty()).then(|| format!("{title}:\n{}", log::text(&commits)))
        };
        let parts = [
            of(CommitOwner::Unknown, self.unknown),
            of(CommitOwner::OtherMachine, self.other_machine),
            of(CommitOwner::ThisMachine, self.this_machine),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::CommitId;
    use packcast_publisher::log::{LoggedCommit, LoggedStanding};

    use super::*;
    use crate::fixtures::NOON;

    /// Returns a commit of each owner. The table has lost the last one.
    pub(crate) fn owned_commits() -> Vec<OwnedCommit> {
        let id = |number| CommitId {
            number,
            digest: Sha256Digest::of(b"commit"),
        };
        let commit = |number, owner, line: &str| OwnedCommit {
            commit: LoggedCommit {
                number,
                commit: id(number),
                parent: Some(id(number - 1)),
                issued: None,
                key: None,
                about: None,
                standing: LoggedStanding::Verified,
                problem: None,
                changes: Vec::new(),
                lines: vec![line.to_owned()],
                is_left_out: false,
            },
            owner,
        };
        let this_machine = "group lab: unassigned vlc@3.0.21";
        let mut commits = vec![
            commit(NOON + 2, CommitOwner::ThisMachine, this_machine),
            commit(NOON + 1, CommitOwner::Unknown, "group lab: assigned wipe@1"),
            commit(NOON, CommitOwner::OtherMachine, ""),
        ];
        commits[2].commit.standing = LoggedStanding::Unverified;
        commits[2].commit.problem = Some("the table has no commit".to_owned());
        commits[2].commit.lines.clear();
        commits
    }
}
