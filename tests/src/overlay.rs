//! The folders of this machine, with changes that only the processes of a test see.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_testing::skip::{Missing, skip};

use crate::process::text;
use crate::world::{World, clean};

/// Runs a program in a mount namespace of its own, in which changes of `/etc`, `/usr` and `/var` go to
/// the folder of the first argument. The programs cannot reach the systemd of this machine.
const SCRIPT: &str = r#"#!/bin/sh
exec unshare --mount --propagation private sh -e -c '
  changes=$1
  shift
  for folder in etc usr var; do
    mkdir -p "$changes/$folder" "$changes/work/$folder"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$changes/$folder,workdir=$changes/work/$folder" "/$folder"
  done
  [ ! -e /run/systemd ] || mount -t tmpfs tmpfs /run/systemd
  exec "$@"
' sh "#;

/// A copy of the folders of this machine, whose changes are in the folder of a world.
#[derive(Debug)]
pub struct Overlay {
    changes: PathBuf,
    /// The folder that the environment variables refer to, that of the world.
    environment: PathBuf,
}

impl Overlay {
    /// Returns `None` if the user may not mount; the story is then skipped.
    ///
    /// # Panics
    /// As [`skip`] does.
    pub fn of(world: &World) -> Option<Self> {
        let overlay = Self {
            changes: world.directory().join("changes"),
            environment: world.directory().to_owned(),
        };
        let may = overlay.command(Path::new("true"), &[]).output();
        if !may.is_ok_and(|output| output.status.success()) {
            skip(Missing::Optional("the right to mount an overlay"));
            return None;
        }
        Some(overlay)
    }

    /// Returns a program that runs another one with the folders of the overlay.
    pub fn program(&self, program: &Path) -> PathBuf {
        let name = program.file_name().expect("a program has a name");
        let file = self.environment.join(name);
        let script = format!(
            "{SCRIPT}'{}' '{}' \"$@\"\n",
            text(&self.changes),
            text(program)
        );
        fs::write(&file, script).expect("the world's folder is writable");
        let rights = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&file, rights).expect("a new file has rights");
        file
    }

    /// Returns a command with the folders of the overlay.
    pub fn command(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = clean(&self.program(program), &self.environment);
        command.args(arguments);
        command
    }

    /// Returns a file of `/etc`, `/usr` or `/var` that was changed; a path without the first slash.
    pub fn changed(&self, path: &str) -> PathBuf {
        self.changes.join(path)
    }
}
