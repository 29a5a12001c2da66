//! Synchronisation of whole volumes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use cap_std::fs::{Dir, MetadataExt as _};

use super::trusted_path::open_again;

/// Volumes with changes that are to be synchronised, each by its device number.
///
/// `None` is a volume whose files must be synchronised one by one.
#[derive(Debug, Default)]
pub(crate) struct Volumes(BTreeMap<u64, Option<File>>);

impl Volumes {
    /// Adds the volume of an open file. Returns `true` if [`Volumes::sync`] includes the file.
    pub(crate) fn add(&mut self, file: &cap_std::fs::File) -> io::Result<bool> {
        let device = file.metadata()?.dev();
        let open = || Ok(file.try_clone()?.into_std());
        self.add_device(device, open)
    }

    /// Adds the volume of a folder, or synchronises the folder by itself.
    pub(crate) fn add_folder(&mut self, dir: &Dir) -> io::Result<()> {
        let folder = File::from(open_again(dir)?);
        let device = std::os::unix::fs::MetadataExt::dev(&folder.metadata()?);
        if self.add_device(device, || folder.try_clone())? {
            return Ok(());
        }
        folder.sync_all()
    }

    fn add_device(
        &mut self,
        device: u64,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<bool> {
        if let Some(volume) = self.0.get(&device) {
            return Ok(volume.is_some());
        }
        let file = open()?;
        let volume = can_sync_volume(&file).then_some(file);
        let can_sync = volume.is_some();
        self.0.insert(device, volume);
        Ok(can_sync)
    }

    /// Writes all changes of the volumes to disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.values().flatten().try_for_each(sync_volume)
    }
}

#[cfg(target_os = "linux")]
fn sync_volume(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_volume(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Returns `true` if one call makes all files of the volume durable, and reports their errors.
///
/// File systems in user space or on a network need not pass the call on.
#[cfg(target_os = "linux")]
fn can_sync_volume(file: &File) -> bool {
    const EXT: i128 = 0xEF53;
    const XFS: i128 = 0x5846_5342;
    const BTRFS: i128 = 0x9123_683E;
    const F2FS: i128 = 0xF2F5_2010;
    const TMPFS: i128 = 0x0102_1994;
    let kind = rustix::fs::fstatfs(file).map(|it| i128::from(it.f_type));
    let is_known = kind.is_ok_and(|kind| [EXT, XFS, BTRFS, F2FS, TMPFS].contains(&kind));
    let kernel = rustix::system::uname();
    is_known && reports_errors(&kernel.release().to_string_lossy())
}

/// Since Linux 5.8, the call returns an error if a file could not be written.
#[cfg(target_os = "linux")]
fn reports_errors(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    next().zip(next()).is_some_and(|version| version >= (5, 8))
}

#[cfg(not(target_os = "linux"))]
const fn can_sync_volume(_file: &File) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_hide_errors() {
        for old in ["4.18.0-553.el8.x86_64", "5.7.19", "5.4.0-1", "5", ""] {
            assert!(!reports_errors(old), "{old}");
        }
        for new in ["5.8.0", "5.10.0-28-amd64", "6.1", "10.0.0"] {
            assert!(reports_errors(new), "{new}");
        }
    }

    #[test]
    fn a_file_system_of_the_kernel_is_no_volume_for_files() {
        let open = |path| {
            let file = File::open(path).unwrap();
            let mut volumes = Volumes::default();
            volumes.add(&cap_std::fs::File::from_std(file)).unwrap()
        };
        assert!(!open("/proc/self/status"));
    }
}
