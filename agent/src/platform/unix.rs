//! Linux and macOS.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use cap_std::fs::Dir;
use packcast_protocol::{Folder, LaunchCommand};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::archive::EntryPath;

pub(crate) const DEFAULT_CONFIG: &str = "/etc/packcast/agent.toml";

/// Makes a folder that only the agent's user can enter; one that exists stays as it is.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Keeps other users out of a folder that exists.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Whether users other than the owner can read the file, or do anything with the folder.
pub(crate) fn others_can_read(metadata: &Metadata) -> bool {
    metadata.mode() & 0o077 != 0
}

/// Makes the renames and removals in a folder last through a power failure.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Any name that an archive may hold is a name here.
#[expect(clippy::unnecessary_wraps, reason = "other systems refuse names")]
pub(crate) const fn check_names(_path: &EntryPath) -> io::Result<()> {
    Ok(())
}

pub(crate) fn set_mode(file: &cap_std::fs::File, executable: bool) -> io::Result<()> {
    let mode = if executable { 0o755 } else { 0o644 };
    let permissions = cap_std::fs::Permissions::from_std(Permissions::from_mode(mode));
    file.set_permissions(permissions)
}

pub(crate) fn make_executable(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.mode();
    std::fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
}

pub(crate) fn symlink(dir: &Dir, target: &str, link: &str) -> io::Result<()> {
    dir.symlink(target, link)
}

/// A rename replaces a read-only file here.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to act")]
pub(crate) const fn make_replaceable(_dir: &Dir, _path: &str) -> io::Result<()> {
    Ok(())
}

/// Returns the folder that STORE means: `INSTALL_PATH` in front stands for `install_path`.
pub(crate) fn store_folder(folder: &Folder, install_path: &Path) -> Result<PathBuf, String> {
    let text = folder.as_str();
    match text.strip_prefix("INSTALL_PATH") {
        Some("") => Ok(install_path.to_owned()),
        Some(rest) if rest.starts_with('/') => Ok(install_path.join(rest.trim_start_matches('/'))),
        _ if text.starts_with('/') => Ok(PathBuf::from(text)),
        _ => Err(format!(
            "folder {text:?} is not an absolute path on this system"
        )),
    }
}

/// Returns the shell that reads `line` as a person's shell would.
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    command.process_group(0);
    command
}

/// Returns the shell that runs a program of the current folder with its arguments.
///
/// The program's name is no shell text; only the arguments are read by the shell.
pub(crate) fn launch(launch: &LaunchCommand) -> Command {
    let mut command = shell(&format!("exec ./\"$0\" {}", launch.arguments()));
    command.arg(launch.program().as_str());
    command
}

/// The environment of a package's programs, besides what names the package.
pub(crate) fn environment() -> BTreeMap<String, std::ffi::OsString> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    [
        ("PATH", path.into()),
        (
            "HOME",
            std::env::var_os("HOME").unwrap_or_else(|| "/".into()),
        ),
        ("LC_ALL", "C".into()),
        ("LANG", "C".into()),
    ]
    .map(|(name, value): (&str, std::ffi::OsString)| (name.to_owned(), value))
    .into()
}

/// A started program and all it starts that stays in its process group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group(Option<Pid>);

impl Group {
    pub(crate) fn of(child: &tokio::process::Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        Self(pid.and_then(Pid::from_raw))
    }

    /// Asks the programs to end.
    pub(crate) fn terminate(self) {
        self.signal(Signal::TERM);
    }

    /// Ends the programs.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn is_gone(self) -> bool {
        self.0
            .is_none_or(|group| test_kill_process_group(group).is_err())
    }

    fn signal(self, signal: Signal) {
        if let Some(group) = self.0 {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

/// Returns the number of the signal that ended a program.
pub(crate) fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}
