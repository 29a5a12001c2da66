//! The signed state in the output of `status`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::state::{CommitId, TargetId, TrustedRoots, VerifiedState};
use packcast_protocol::{GroupName, PackageId, UnixTime, with_causes};
use serde::Serialize;

use crate::state::waiting::WaitList;

/// The signed state of the target, as this device holds it.
#[derive(Debug, Serialize)]
pub(super) struct ShownState {
    target: TargetId,
    /// The root keys of the configuration, highest rank first.
    roots: Vec<PublicKey>,
    /// The newest key list; `None` before the first one.
    list: Option<ShownVersion>,
    /// The held commit; `None` before the first one.
    commit: Option<ShownVersion>,
    /// The groups of the device; empty if nothing begins.
    groups: BTreeSet<GroupName>,
    /// The reason why no package begins; `None` if packages may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<String>,
}

/// A key list or a commit.
#[derive(Clone, Copy, Debug, Serialize)]
struct ShownVersion {
    number: u64,
    /// The id of a commit, as 'packcast sign --adopt' takes it. `None` for a key list.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<CommitId>,
    expires: UnixTime,
    expired: bool,
}

/// An announced package that waits.
#[derive(Debug, Serialize)]
pub(super) struct ShownWaiting {
    pub(super) id: PackageId,
    attempt: u32,
    reason: WaitWord,
    pub(super) detail: String,
}

impl ShownState {
    pub(super) fn of(state: &VerifiedState, roots: &TrustedRoots, clock: UnixTime) -> Self {
        let now = state.time(clock);
        let list = state.chain().newest().map(|list| ShownVersion {
            number: list.serial(),
            id: None,
            expires: list.expires(),
            expired: list.is_expired(now),
        });
        let commit = state.commit().map(|commit| ShownVersion {
            number: commit.id().number,
            id: Some(commit.id()),
            expires: commit.expires,
            expired: commit.is_expired(now),
        });
        let (groups, waits) = match state.whole(&BTreeSet::new(), clock) {
            Ok(whole) => (whole.groups(), None),
            Err(waiting) => (BTreeSet::new(), Some(with_causes(&waiting))),
        };
        Self {
            target: roots.target(),
            roots: roots.roots().to_vec(),
            list,
            commit,
            groups,
            waits,
        }
    }

    pub(super) fn write(&self, text: &mut String) {
        let _ = writeln!(text, "target {}", self.target);
        for root in &self.roots {
            let _ = writeln!(text, "root key {root}");
        }
        let versions = [("key list", self.list), ("commit", self.commit)];
        for (kind, version) in versions {
            let _ = match version {
                None => writeln!(text, "{kind}: none yet"),
                Some(version) => writeln!(text, "{kind} {}", version.line()),
            };
        }
        let groups: Vec<&str> = self.groups.iter().map(GroupName::as_str).collect();
        let _ = match &self.waits {
            Some(waits) => writeln!(text, "no package begins: {waits}"),
            None => writeln!(text, "groups: {}", groups.join(", ")),
        };
    }
}

impl ShownVersion {
    fn line(self) -> String {
        let Self {
            number,
            id,
            expires,
            expired,
        } = self;
        let name = id.map_or_else(|| number.to_string(), |id| id.to_string());
        let expires = expires.day();
        if expired {
            format!("{name}: expired on {expires}")
        } else {
            format!("{name}: valid until {expires}")
        }
    }
}

impl ShownWaiting {
    pub(super) fn of(list: &WaitList) -> Vec<Self> {
        let shown = list.iter().map(|(id, task)| Self {
            id,
            attempt: task.attempt,
            reason: task.reason,
            detail: task.detail.clone(),
        });
        shown.collect()
    }
}
