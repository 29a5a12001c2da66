//! Functions for Linux and macOS.

mod cgroup;
mod facts;
mod local_socket;
mod notify_socket;
mod process;
mod rights;
mod tree;
mod trusted_path;
mod volumes;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use cap_std::fs::Dir;
use packcast_protocol::{Folder, LaunchCommand};
use rustix::fs::Mode;

pub(crate) use self::cgroup::Containment;
pub(crate) use self::facts::{found_facts, system_name};
pub(crate) use self::local_socket::{LocalClient, LocalListener, LocalStream, connect_local};
pub(crate) use self::notify_socket::{NotifySocket, notify_address};
pub(crate) use self::rights::{
    FileId, Rights, create_folder, create_private, needs_folder_mode, open_same, restrictions,
    set_folder_mode, set_rights,
};
pub(crate) use self::tree::{ProcessTree, held};
use self::trusted_path::open_again;
pub(crate) use self::trusted_path::{
    expect_unchangeable, find_folder, is_link_of_another_user, open_folder, open_inside,
};
pub(crate) use self::volumes::Volumes;

pub(crate) const DEFAULT_CONFIG: &str = "/etc/packcast/agent.toml";

pub(crate) const DEFAULT_STATE_DIR: &str = "/var/lib/packcast-agent";

/// The name of the unit of systemd.
pub(crate) const UNIT: &str = "packcast-agent";

/// Returns `true` if systemd runs this machine (`sd_booted(3)`).
pub(crate) fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Returns the command that starts the service now and with the system, for messages. `None` if the
/// system has no service for the agent.
pub(crate) fn enable_service() -> Option<String> {
    has_systemd().then(|| format!("systemctl enable --now {UNIT}"))
}

/// The command that starts the service, for messages.
pub(crate) const START_SERVICE: &str = "systemctl start packcast-agent";

/// The command that starts the service again, for messages.
pub(crate) const RESTART_SERVICE: &str = "systemctl restart packcast-agent";

/// The command that stops the service, for messages.
pub(crate) const STOP_SERVICE: &str = "systemctl stop packcast-agent";

/// The commands that make a file private, for messages.
pub(crate) const KEEP_PRIVATE: &str = "chown AGENT FILE; chmod 600 FILE";

/// Creates a folder that only the agent's user can enter. An existing folder stays as it is.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Keeps other users out of an existing folder.
///
/// # Errors
/// The folder, or a file in it, belongs to another user, who may have prepared its content.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    expect_own(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))?;
    // From here on, other users cannot add files.
    for entry in std::fs::read_dir(path)? {
        expect_own(&entry?.path())?;
    }
    Ok(())
}

/// Returns `true` if users other than root and the agent's user can read the file or use the
/// folder.
///
/// An owner counts, too, because owners can give themselves access.
pub(crate) fn others_can_read(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    Ok(metadata.mode() & 0o077 != 0 || !is_trusted(metadata.uid()))
}

/// Returns `true` if users other than root and the agent's user can change the file.
pub(crate) fn others_can_change(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(path)?;
    Ok(metadata.mode() & 0o022 != 0 || !is_trusted(metadata.uid()))
}

fn expect_own(path: &Path) -> io::Result<()> {
    let owner = std::fs::symlink_metadata(path)?.uid();
    if is_trusted(owner) {
        return Ok(());
    }
    let reason = format!("{} belongs to another user, {owner}", path.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, reason))
}

fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

/// Makes the renames and removals in a folder survive a power failure.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes the renames and removals in an open folder survive a power failure.
pub(crate) fn sync_open_folder(dir: &Dir) -> io::Result<()> {
    File::from(open_again(dir)?).sync_all()
}

/// Does nothing: the new name of a file survives once its folder is synchronised.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to act")]
pub(crate) const fn sync_renamed(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Returns `true` if two files are on the same volume.
pub(crate) fn same_volume(one: &Path, other: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(one)?.dev() == std::fs::metadata(other)?.dev())
}

/// Returns `true` if a file cannot be started because it is no program.
pub(crate) fn is_not_executable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

/// Returns the reason why a program cannot start, as far as it is known in advance.
///
/// The shell that starts the program would report such a reason only as an exit code.
pub(crate) fn check_startable(path: &Path) -> Result<(), String> {
    if is_noexec(path) {
        return Err(
            "its file system does not allow programs (noexec): choose another state_dir".to_owned(),
        );
    }
    let mut head = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_SHEBANG_BYTES).read_to_end(&mut head));
    read.map_err(|error| error.to_string())?;
    match interpreter(&head) {
        Some(interpreter) if !interpreter.exists() => {
            // Quoted, because the error may be a blank at the end of the name.
            let name = interpreter.to_string_lossy();
            Err(format!(
                "its first line names the interpreter {name:?}, and this device has none of that name"
            ))
        }
        _ => Ok(()),
    }
}

/// The length of a first line that Linux reads, in bytes.
const MAX_SHEBANG_BYTES: u64 = 256;

/// Returns the interpreter that the first line of a script names.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let words = line.split(|byte| matches!(byte, b' ' | b'\t'));
    let path = words.into_iter().find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(target_os = "linux")]
fn is_noexec(path: &Path) -> bool {
    use rustix::fs::StatVfsMountFlags;

    rustix::fs::statvfs(path).is_ok_and(|it| it.f_flag.contains(StatVfsMountFlags::NOEXEC))
}

#[cfg(not(target_os = "linux"))]
const fn is_noexec(_path: &Path) -> bool {
    false
}

/// Returns `true` if something is mounted below the folder.
///
/// Mounted files do not belong to the folder, so they must not be removed with it.
pub(crate) fn holds_mounts(folder: &Path) -> bool {
    // Only Linux has this file.
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else {
        return false;
    };
    let Ok(folder) = folder.canonicalize() else {
        return false;
    };
    let mut points = mounts.lines().filter_map(mount_point);
    points.any(|point| point.starts_with(&folder))
}

/// Reads the mount point from a line of `/proc/self/mountinfo`.
///
/// It is the fifth word, with octal escapes for blanks, tabs, line ends and backslashes.
fn mount_point(line: &str) -> Option<PathBuf> {
    let word = line.split(' ').nth(4)?;
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let mut point = word.to_owned();
    for (escape, sign) in escapes {
        point = point.replace(escape, sign);
    }
    Some(PathBuf::from(point.replace("\\134", "\\")))
}

/// Lets the owner remove the content of a folder.
pub(crate) fn make_removable(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Sets the file mode mask, so that other users can read new files unless the agent restricts them.
///
/// The agent restricts all its own files. Programs of packages inherit the mask.
pub(crate) fn make_new_files_readable() {
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

/// Lets the system kill this process when its parent has died.
///
/// # Errors
/// `parent` is the id of the parent, which has ended already.
#[cfg(target_os = "linux")]
pub(crate) fn end_with_parent(parent: Option<u32>) -> io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before this call.
    let found = getppid().map(|found| found.as_raw_nonzero().get().cast_unsigned());
    if parent.is_some_and(|parent| found != Some(parent)) {
        return Err(io::Error::other("the starter has ended"));
    }
    Ok(())
}

/// Does nothing: the system has no such means. The end of standard input stops the agent.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn end_with_parent(_parent: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Creates a program that only the agent's user can read, change and run.
pub(crate) fn create_program(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o700).open(path)
}

pub(crate) fn make_executable(path: &Path) -> io::Result<()> {
    let mode = std::fs::metadata(path)?.mode();
    std::fs::set_permissions(path, Permissions::from_mode(mode | 0o700))
}

pub(crate) fn symlink(dir: &Dir, target: &str, link: &str) -> io::Result<()> {
    dir.symlink(target, link)
}

/// Does nothing: on Unix, a rename replaces read-only files, too.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to act")]
pub(crate) const fn make_replaceable(_dir: &Dir, _path: &str) -> io::Result<()> {
    Ok(())
}

/// Returns the folder of STORE: a leading `INSTALL_PATH` stands for `install_path`.
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

/// Returns the shell that runs `line` like a shell of a user.
pub(crate) fn shell(line: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line);
    command
}

/// Returns the shell that runs a program in the current folder with its arguments.
///
/// The program's name is passed as an argument, so the shell interprets only the arguments.
pub(crate) fn launch(launch: &LaunchCommand) -> Command {
    let mut command = shell(&format!("exec ./\"$0\" {}", launch.arguments()));
    command.arg(launch.program().as_str());
    command
}

/// Returns the environment of a package's programs, without the variables of the package.
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

/// Returns the number of the signal that ended a program.
pub(crate) fn signal(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Returns the UUID that the firmware or the hypervisor gives to this machine. Only root can read
/// the UUID.
#[cfg(target_os = "linux")]
pub(crate) fn hardware_id() -> Option<String> {
    std::fs::read_to_string("/sys/class/dmi/id/product_uuid").ok()
}

/// Returns the id of the installed system.
#[cfg(target_os = "linux")]
pub(crate) fn system_id() -> Option<String> {
    std::fs::read_to_string("/etc/machine-id").ok()
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn hardware_id() -> Option<String> {
    let mut command = Command::new("/usr/sbin/sysctl");
    let output = command.args(["-n", "kern.uuid"]).output().ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Returns `None`: a Mac has only the UUID of its hardware.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn system_id() -> Option<String> {
    None
}

/// Returns the id of the present run of the system.
pub(crate) fn boot_id() -> Option<String> {
    process::boot().ok().filter(|id| !id.is_empty())
}

pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter() {
        let check = |head: &str, expected: Option<&str>| {
            assert_eq!(interpreter(head.as_bytes()), expected.map(PathBuf::from));
        };
        check("#!/bin/sh\nexit 0", Some("/bin/sh"));
        check("#! \t/usr/bin/env python3", Some("/usr/bin/env"));
        check("#!/bin/sh\r\n", Some("/bin/sh\r"));
        check("#!", None);
        check("exit 0", None);
        check("\u{7f}ELF", None);
    }

    #[test]
    fn a_mount_point_may_have_any_name() {
        let check = |word: &str, expected: &str| {
            let line = format!("63 43 0:39 / {word} rw,relatime - tmpfs none rw");
            assert_eq!(mount_point(&line), Some(PathBuf::from(expected)));
        };
        check("/a/b", "/a/b");
        check("/a\\040b\\011c\\012d", "/a b\tc\nd");
        check("/a\\134b", "/a\\b");
        check("/a\\134040", "/a\\040");
        assert_eq!(mount_point("63 43"), None);
    }

    #[test]
    fn mounts_are_found_below_their_folders() {
        assert_eq!(holds_mounts(Path::new("/")), cfg!(target_os = "linux"));
        let dir = tempfile::tempdir().unwrap();
        assert!(!holds_mounts(dir.path()));
    }
}
