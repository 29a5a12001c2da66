//! Functions for Windows.

mod access;
mod boot;
mod event_log;
mod facts;
mod pipe;
mod program;
mod service;
mod service_settings;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use cap_std::fs::{Dir, File, Metadata, OpenOptions};
use packcast_archive::EntryMode;
use packcast_protocol::{Folder, LaunchCommand};

use crate::platform::ComponentError;

pub(crate) use self::access::{KEEP_PRIVATE, make_file_private, make_private, others_can_read};
pub(crate) use self::boot::boot_id;
pub(crate) use self::event_log::{ErrorEvents, EventKind, write_event};
pub(crate) use self::facts::{found_facts, system_name};
pub(crate) use self::pipe::{LocalClient, LocalListener, LocalStream, connect_local};
pub(crate) use self::service::{
    NoServiceManager, NotifySocket, PRESHUTDOWN_LIMIT, notify_address, reload_requested,
    run_service, stop_limit, stop_requested,
};
pub(crate) use self::service_settings::{SettingError, configure_service};
pub(crate) use self::tree::{Containment, ProcessTree, held};

/// Opens the registry of 64-bit programs, also in a 32-bit agent.
const KEY_WOW64_64KEY: u32 = 0x0100;

pub(crate) const DEFAULT_CONFIG: &str = r"C:\ProgramData\Packcast\agent.toml";

pub(crate) const DEFAULT_STATE_DIR: &str = r"C:\ProgramData\Packcast\state";

/// The name of the service.
pub(crate) const UNIT: &str = "packcast-agent";

/// Returns the command that starts the service now, for messages. Windows starts it with the system.
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems may have no service"
)]
pub(crate) fn enable_service() -> Option<String> {
    Some(START_SERVICE.to_owned())
}

/// The command that starts the service, for messages.
pub(crate) const START_SERVICE: &str = "net start packcast-agent";

/// The command that starts the service again, for messages.
pub(crate) const RESTART_SERVICE: &str = "net stop packcast-agent & net start packcast-agent";

/// The command that stops the service, for messages.
pub(crate) const STOP_SERVICE: &str = "net stop packcast-agent";

/// Creates a folder, which inherits the access list of the folder above.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Opens a folder, and creates it and its missing parents.
///
/// On Windows, only administrators and users with a special right can create links.
pub(crate) fn open_folder(path: &Path) -> Result<Dir, ComponentError> {
    let opened = std::fs::create_dir_all(path)
        .and_then(|()| Dir::open_ambient_dir(path, cap_std::ambient_authority()));
    opened.map_err(|error| ComponentError {
        path: path.to_owned(),
        error,
    })
}

/// Opens a folder, and creates nothing. Returns `None` if the folder does not exist.
pub(crate) fn find_folder(path: &Path) -> Result<Option<Dir>, ComponentError> {
    if !path.is_dir() {
        return Ok(None);
    }
    let opened = Dir::open_ambient_dir(path, cap_std::ambient_authority());
    opened.map(Some).map_err(|error| ComponentError {
        path: path.to_owned(),
        error,
    })
}

/// Does nothing: on Windows, the agent does not read the access lists of the folders above.
#[expect(clippy::unnecessary_wraps, reason = "other systems check it")]
pub(crate) const fn expect_unchangeable(_path: &Path) -> Result<(), ComponentError> {
    Ok(())
}

/// Returns `false`: the agent does not read the rights to write on Windows yet.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn others_can_change(_path: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Returns `false`: see [`open_folder`].
pub(crate) const fn is_link_of_another_user(_dir: &Dir, _path: &str) -> bool {
    false
}

/// Does nothing: Windows cannot synchronise folders. [`sync_renamed`] does the work.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Does nothing, as [`sync_folder`].
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn sync_open_folder(_dir: &Dir) -> io::Result<()> {
    Ok(())
}

/// Makes the new name of a file survive a power failure.
///
/// A flush of the file also flushes the log of its volume up to the last change of the file.
pub(crate) fn sync_renamed(file: &std::fs::File) -> io::Result<()> {
    file.sync_all()
}

/// Returns `true` if two files are on the same drive. Drives mounted in folders are not recognised.
pub(crate) fn same_volume(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (one.canonicalize()?, other.canonicalize()?);
    Ok(one.components().next() == other.components().next())
}

/// Returns `true` if a file cannot be started because it is no program.
pub(crate) fn is_not_executable(error: &io::Error) -> bool {
    /// `ERROR_BAD_EXE_FORMAT`.
    const BAD_EXE_FORMAT: i32 = 193;
    error.raw_os_error() == Some(BAD_EXE_FORMAT)
}

/// Does nothing: the command prompt itself reports a program that cannot start.
#[expect(
    clippy::unnecessary_wraps,
    reason = "other systems check it in advance"
)]
pub(crate) const fn check_startable(_path: &Path) -> Result<(), String> {
    Ok(())
}

/// Returns `false`: a mount in a folder is removed like a link.
pub(crate) const fn holds_mounts(_folder: &Path) -> bool {
    false
}

/// Clears the read-only attribute, which prevents removal.
pub(crate) fn make_removable(path: &Path) -> io::Result<()> {
    let mut permissions = std::fs::symlink_metadata(path)?.permissions();
    if permissions.readonly() {
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "on Windows, the attribute does not decide who may write"
        )]
        permissions.set_readonly(false);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Does nothing: access is inherited from the folder above.
pub(crate) const fn make_new_files_readable() {}

/// Creates a file, which inherits the access list of its folder. A link in its place is not followed.
pub(crate) fn create_private(dir: &Dir, path: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    dir.open_with(path, &options)
}

/// The identity of a file or folder: none, because access is inherited, and no other user can
/// replace a file of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId;

impl FileId {
    pub(crate) const fn of(_metadata: &Metadata) -> Self {
        Self
    }

    /// Does nothing.
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    #[expect(clippy::unused_self, reason = "other systems compare files")]
    pub(crate) const fn expect(self, _found: &Metadata) -> io::Result<()> {
        Ok(())
    }
}

/// The rights that a new file gets: those that it inherits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rights;

impl Rights {
    pub(crate) const fn new(_mode: EntryMode, _replaced: Option<&Metadata>) -> Self {
        Self
    }
}

/// Opens a file to read.
pub(crate) fn open_same(dir: &Dir, name: &str, _id: FileId) -> io::Result<File> {
    dir.open(name)
}

/// Does nothing: a file inherits the access list of its folder.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn set_rights(
    _dir: &Dir,
    _name: &str,
    _file: Option<&File>,
    _id: FileId,
    _rights: Rights,
) -> io::Result<()> {
    Ok(())
}

/// Returns `None`: a file inherits the access list of its folder.
pub(crate) const fn restrictions(_new: &Metadata, _replaced: &Metadata) -> Option<EntryMode> {
    None
}

/// Creates a folder, which inherits the access list of the folder above.
pub(crate) fn create_folder(dir: &Dir, name: &str, _mode: EntryMode) -> io::Result<Option<FileId>> {
    dir.create_dir(name)?;
    Ok(Some(FileId))
}

/// Opens the folder at `path` inside `dir`. An empty path is `dir` itself.
pub(crate) fn open_inside(dir: &Dir, path: &str) -> io::Result<Dir> {
    dir.open_dir(if path.is_empty() { "." } else { path })
}

/// Returns `false`: Windows has no modes.
pub(crate) const fn needs_folder_mode(_mode: EntryMode) -> bool {
    false
}

/// Does nothing: Windows has no modes.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn set_folder_mode(
    _folder: &Dir,
    _id: FileId,
    _mode: EntryMode,
) -> io::Result<()> {
    Ok(())
}

/// Volumes that can be synchronised as a whole: none, because Windows needs special rights for it.
#[derive(Debug, Default)]
pub(crate) struct Volumes;

impl Volumes {
    /// Returns `false`: each file is synchronised by itself.
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    #[expect(clippy::unused_self, reason = "other systems have volumes")]
    pub(crate) const fn add(&mut self, _file: &File) -> io::Result<bool> {
        Ok(false)
    }

    /// Does nothing, as [`sync_folder`].
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    #[expect(clippy::unused_self, reason = "other systems have volumes")]
    pub(crate) const fn add_folder(&mut self, _dir: &Dir) -> io::Result<()> {
        Ok(())
    }

    /// Does nothing: there are no volumes.
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
    #[expect(clippy::unused_self, reason = "other systems have volumes")]
    pub(crate) const fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Does nothing: the end of standard input stops the agent.
#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn end_with_parent(_parent: Option<u32>) -> io::Result<()> {
    Ok(())
}

/// Creates a program. It has the rights of its folder.
pub(crate) fn create_program(path: &Path) -> io::Result<std::fs::File> {
    std::fs::File::create_new(path)
}

#[expect(clippy::unnecessary_wraps, reason = "other systems can fail")]
pub(crate) const fn make_executable(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn symlink(dir: &Dir, target: &str, link: &str) -> io::Result<()> {
    dir.symlink_file(target, link)
}

/// Clears the read-only attribute, which prevents replacement.
pub(crate) fn make_replaceable(dir: &Dir, path: &str) -> io::Result<()> {
    let Ok(metadata) = dir.symlink_metadata(path) else {
        return Ok(());
    };
    let mut permissions = metadata.permissions();
    if metadata.is_file() && permissions.readonly() {
        permissions.set_readonly(false);
        dir.set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Returns the folder of STORE.
///
/// `%VARIABLES%` are expanded, and a leading `INSTALL_PATH` stands for `install_path`.
pub(crate) fn store_folder(folder: &Folder, install_path: &Path) -> Result<PathBuf, String> {
    let text = folder.as_str().replace('/', "\\");
    match text.strip_prefix("INSTALL_PATH") {
        Some("") => return Ok(install_path.to_owned()),
        Some(rest) if rest.starts_with('\\') => {
            return Ok(install_path.join(rest.trim_start_matches('\\')));
        }
        _ => {}
    }
    let path = PathBuf::from(expand(&text)?);
    let climbs = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    if path.is_absolute() && !climbs {
        Ok(path)
    } else {
        Err(format!(
            "folder {text:?} is not an absolute path on this system"
        ))
    }
}

fn expand(text: &str) -> Result<String, String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        let (name, after) = after
            .split_once('%')
            .ok_or_else(|| format!("folder {text:?} has a single '%'"))?;
        let value = std::env::var(name)
            .map_err(|_| format!("folder {text:?}: the variable %{name}% is not set"))?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns the shell that runs `line` like the command prompt.
pub(crate) fn shell(line: &str) -> Command {
    let system = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    // The full path, so that no other folder is searched for the program.
    let mut command = Command::new(PathBuf::from(system).join(r"System32\cmd.exe"));
    // `/D` skips the AutoRun commands of the registry, `/S` keeps the quotes inside `line`.
    command.raw_arg("/D /S /C \"").raw_arg(line).raw_arg("\"");
    command
}

/// Returns the shell that runs a program in the current folder with its arguments.
pub(crate) fn launch(launch: &LaunchCommand) -> Command {
    let program = launch.program().as_str();
    shell(&format!(".\\\"{program}\" {}", launch.arguments()))
}

/// Returns the environment of a package's programs, without the variables of the package.
pub(crate) fn environment() -> BTreeMap<String, OsString> {
    let kept = [
        "ALLUSERSPROFILE",
        "CommonProgramFiles",
        "CommonProgramFiles(x86)",
        "ComSpec",
        "NUMBER_OF_PROCESSORS",
        "OS",
        "PATH",
        "PATHEXT",
        "PROCESSOR_ARCHITECTURE",
        "ProgramData",
        "ProgramFiles",
        "ProgramFiles(x86)",
        "PUBLIC",
        "SystemDrive",
        "SystemRoot",
        "TEMP",
        "TMP",
        "USERPROFILE",
        "windir",
    ];
    kept.into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var_os(name)?)))
        .collect()
}

/// Returns `None`: on Windows, programs end with exit codes only.
pub(crate) const fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// Returns `None`: Windows shows the UUID of the hardware only through its management service.
pub(crate) const fn hardware_id() -> Option<String> {
    None
}

/// Returns the `MachineGuid` of the installed system.
pub(crate) fn system_id() -> Option<String> {
    let values = facts::values(r"SOFTWARE\Microsoft\Cryptography");
    values.text("MachineGuid").map(str::to_owned)
}

pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
