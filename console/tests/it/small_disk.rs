//! A small disk in memory.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small disk, which is removed at the end.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk with this size; `None` if this user may not.
    pub(crate) fn mount(at: PathBuf, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(&at).ok()?;
        let mut command = Command::new("mount");
        let size = format!("size={mib}m");
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(&at);
        let is_mounted = command.output().ok()?.status.success();
        is_mounted.then_some(Self(at))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    pub(crate) fn grow(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        let mut command = Command::new("mount");
        command.args(["-o", &size]).arg(&self.0);
        let grown = command.output().expect("mount can be run");
        assert!(grown.status.success(), "{grown:?}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
