//! Windows.

mod access;
mod tree;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use cap_std::fs::Dir;
use packcast_protocol::{Folder, LaunchCommand};

pub(crate) use self::access::{KEEP_PRIVATE, make_private, others_can_read};
pub(crate) use self::tree::ProcessTree;

pub(crate) const DEFAULT_CONFIG: &str = r"C:\ProgramData\Packcast\agent.toml";

/// Makes a folder; who may enter it is inherited from the folder above.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Folders cannot be synchronised here: what has a new name is, by [`sync_renamed`].
pub(crate) const fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Makes the new name of a file last through a power failure: what flushes a file flushes its
/// volume's log up to the file's last change.
pub(crate) fn sync_renamed(file: &std::fs::File) -> io::Result<()> {
    file.sync_all()
}

/// Whether two files are on the same drive; folders that a drive is mounted in are not seen.
pub(crate) fn same_volume(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (one.canonicalize()?, other.canonicalize()?);
    Ok(one.components().next() == other.components().next())
}

/// What cannot be started, the command prompt tells.
#[expect(clippy::unnecessary_wraps, reason = "other systems know it before")]
pub(crate) const fn check_startable(_path: &Path) -> Result<(), String> {
    Ok(())
}

/// What is mounted in a folder is removed as a link is.
pub(crate) const fn holds_mounts(_folder: &Path) -> bool {
    false
}

/// Takes the read-only attribute away, which keeps what has it from being removed.
pub(crate) fn make_removable(path: &Path) -> io::Result<()> {
    let mut permissions = std::fs::symlink_metadata(path)?.permissions();
    if permissions.readonly() {
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "here it is an attribute, and says nothing about who may write"
        )]
        permissions.set_readonly(false);
        std::fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Access is inherited from the folder above.
pub(crate) const fn share_what_is_made() {}

pub(crate) const fn set_mode(_file: &cap_std::fs::File, _executable: bool) -> io::Result<()> {
    Ok(())
}

pub(crate) const fn make_executable(_path: &Path) -> io::Result<()> {
    Ok(())
}

pub(crate) fn symlink(dir: &Dir, target: &str, link: &str) -> io::Result<()> {
    dir.symlink_file(target, link)
}

/// Takes away the read-only attribute, which would keep a file from being replaced.
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

/// Returns the folder that STORE means: `%VARIABLES%` are expanded, `INSTALL_PATH` in front
/// stands for `install_path`.
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
            .map_err(|_| format!("folder {text:?}: there is no variable %{name}% here"))?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Returns the shell that reads `line` as the command prompt would.
pub(crate) fn shell(line: &str) -> Command {
    let system = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    // By its path: no other folder is searched for it.
    let mut command = Command::new(PathBuf::from(system).join(r"System32\cmd.exe"));
    command.raw_arg("/D /S /C \"").raw_arg(line).raw_arg("\"");
    command
}

/// Returns the shell that runs a program of the current folder with its arguments.
pub(crate) fn launch(launch: &LaunchCommand) -> Command {
    let program = launch.program().as_str();
    shell(&format!(".\\\"{program}\" {}", launch.arguments()))
}

/// The environment of a package's programs, besides what names the package.
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

/// Programs end with exit codes only.
pub(crate) const fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
