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
