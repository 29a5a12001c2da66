//! Windows.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::windows::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use cap_std::fs::Dir;
use packcast_protocol::{Folder, LaunchCommand};

use crate::archive::EntryPath;

pub(crate) const DEFAULT_CONFIG: &str = r"C:\ProgramData\Packcast\agent.toml";

/// Makes a folder; who may enter it is inherited from the folder above.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Access is inherited from the folder above.
#[expect(clippy::unnecessary_wraps, reason = "other systems have to act")]
pub(crate) const fn make_private(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Access is inherited from the folder and is not looked at.
pub(crate) const fn others_can_read(_metadata: &Metadata) -> bool {
    false
}

/// Folders cannot be synchronised here.
pub(crate) const fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Refuses names that mean something else here: streams, devices, separators.
pub(crate) fn check_names(path: &EntryPath) -> io::Result<()> {
    let reserved = |name: &str| {
        let stem = name.split('.').next().unwrap_or(name).trim_end();
        let device = ["CON", "PRN", "AUX", "NUL"]
            .iter()
            .any(|device| stem.eq_ignore_ascii_case(device));
        let port = stem.len() == 4
            && stem.get(..3).is_some_and(|kind| {
                kind.eq_ignore_ascii_case("COM") || kind.eq_ignore_ascii_case("LPT")
            });
        device || port
    };
    let bad = |name: &str| {
        name.contains(['<', '>', ':', '"', '\\', '|', '?', '*'])
            || name.ends_with(['.', ' '])
            || reserved(name)
    };
    if path.names().any(bad) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "Windows has no such name",
        ));
    }
    Ok(())
}

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
    if let Some(rest) = text.strip_prefix("INSTALL_PATH") {
        return Ok(install_path.join(rest.trim_start_matches('\\')));
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
    let mut command = Command::new("cmd.exe");
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

/// A started program. What it starts itself is not ended with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group;

impl Group {
    pub(crate) const fn of(_child: &tokio::process::Child) -> Self {
        Self
    }

    /// There is no asking here: the program is ended by its handle.
    pub(crate) const fn terminate(self) {}

    pub(crate) const fn kill(self) {}

    pub(crate) const fn is_gone(self) -> bool {
        true
    }
}

/// Programs end with exit codes only.
pub(crate) const fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
