//! The rows that imports have carried over, each known by two digests.
//!
//! So a repeated import finds the rows that are new on the OCS server, and repeats no row that
//! somebody has changed here since.

use packcast_protocol::{DeviceId, PackageId, Sha256Digest};
use packcast_rollout::FinishedTask;
use packcast_store::records::ImportedRows;

/// The command in the documents about the commits of imports.
pub(super) const COMMAND: &str = "packcast import ocs";

/// The detail of an imported result.
pub(super) const DETAIL: &str = "reported to the OCS server";

/// A group of an OCS server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OcsGroup<'a> {
    pub(super) id: i64,
    /// First name of the group here. So a group of another name is another row, and a group that is
    /// renamed on the OCS server, or here, stays the same.
    pub(super) name: &'a str,
}

/// A row of an OCS server, as the memory knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ImportedRow {
    /// Digest of the row's identity.
    pub(super) id: u64,
    /// Digest of the row's content, which changes on the OCS server.
    pub(super) content: u32,
}

impl ImportedRow {
    pub(super) fn group(group: OcsGroup<'_>) -> Self {
        Self::new(&["group", &group.id.to_string(), group.name], "")
    }

    pub(super) fn member(group: OcsGroup<'_>, device: &DeviceId) -> Self {
        let (number, device) = (group.id.to_string(), device.to_string());
        Self::new(&["member", &number, group.name, &device], "")
    }

    /// Returns the row of an open package of a group.
    pub(super) fn open_in_group(group: OcsGroup<'_>, package: PackageId, force: bool) -> Self {
        let (number, package) = (group.id.to_string(), package.to_string());
        let identity = ["group-task", &number, group.name, &package];
        Self::new(&identity, open(force))
    }

    /// Returns the row of an open package of a device. Its result is the same row with other
    /// content.
    pub(super) fn open(device: &DeviceId, package: PackageId, force: bool) -> Self {
        Self::of_device(device, package, open(force))
    }

    pub(super) fn result(device: &DeviceId, package: PackageId, code: &str) -> Self {
        Self::of_device(device, package, code)
    }

    fn of_device(device: &DeviceId, package: PackageId, content: &str) -> Self {
        let identity = ["task", &device.to_string(), &package.to_string()];
        Self::new(&identity, content)
    }

    fn new(identity: &[&str], content: &str) -> Self {
        let identity = Sha256Digest::of(identity.join("\0").as_bytes());
        let content = Sha256Digest::of(content.as_bytes());
        let id = identity.as_bytes().first_chunk().copied();
        let content = content.as_bytes().first_chunk().copied();
        Self {
            id: u64::from_be_bytes(id.unwrap_or_default()),
            content: u32::from_be_bytes(content.unwrap_or_default()),
        }
    }

    /// Returns true if an earlier import has carried the row over with the same content.
    pub(super) fn is_in(self, memory: &ImportedRows) -> bool {
        memory.get(&self.id) == Some(&self.content)
    }

    /// Returns true if the row has changed on the OCS server since an earlier import.
    pub(super) fn has_changed_since(self, memory: &ImportedRows) -> bool {
        memory
            .get(&self.id)
            .is_some_and(|content| *content != self.content)
    }
}

/// Returns true for a result that an import has recorded.
pub(super) fn is_imported(finished: &FinishedTask) -> bool {
    finished.detail.as_deref() == Some(DETAIL)
}

const fn open(force: bool) -> &'static str {
    if force { "open, forced" } else { "open" }
}
