//! The options for scripts that move OCS agents to another server.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use packcast_publisher::Failure;
use packcast_publisher::import_ocs::move_script::{
    CaPath, CaPathError, MovedSystem, OcsServerAddress, OcsServerAddressError, move_package,
    move_script,
};

use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct ScriptArgs {
    /// Print the script that moves an OCS agent to --server, and import nothing
    ///
    /// The agent keeps its device id and its history. The script with the address of the earlier
    /// server moves the agent back.
    #[arg(long, value_enum, value_name = "SYSTEM", requires = "server", conflicts_with_all = ["database", "downloads", "names", "dry_run"])]
    agent_script: Option<SystemChoice>,
    /// Address of the server in the configuration of the moved agents
    #[arg(long, value_name = "URL", requires = "agent_script", value_parser = server)]
    server: Option<OcsServerAddress>,
    /// File with certificate authorities on the moved devices
    #[arg(long, value_name = "PATH", requires = "agent_script", value_parser = ca_path)]
    device_ca: Option<CaPath>,
    /// Write the script as an archive for a package of the OCS server
    #[arg(long, value_name = "FILE", requires = "agent_script")]
    package: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SystemChoice {
    Unix,
    Windows,
}

fn server(text: &str) -> Result<OcsServerAddress, OcsServerAddressError> {
    text.parse()
}

fn ca_path(text: &str) -> Result<CaPath, CaPathError> {
    text.parse()
}

impl ScriptArgs {
    /// Prints or writes the script. `None` if the command is to import.
    pub(super) fn print(&self) -> Option<Result<(), Failure>> {
        let (choice, server) = (self.agent_script?, self.server.as_ref()?);
        let system = match choice {
            SystemChoice::Unix => MovedSystem::Unix,
            SystemChoice::Windows => MovedSystem::Windows,
        };
        let script = move_script(system, server, self.device_ca.as_ref());
        let Some(file) = &self.package else {
            output::data(&script);
            return Some(Ok(()));
        };
        let archive = move_package(system, &script);
        let written = archive.and_then(|archive| write_private(file, &archive));
        let (action, command) = system.action();
        Some(match written {
            Ok(()) => {
                output::note(&format!(
                    "wrote {}: create a package of it on the OCS server, with the action {action} and the command '{command}'",
                    file.display()
                ));
                Ok(())
            }
            Err(error) => Err(Failure::failed(format!(
                "cannot write {}: {error}",
                file.display()
            ))),
        })
    }
}

/// Writes a file that only its owner can read, because the address in it contains the token of the fleet.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    // The mode of `options` is only for a new file.
    #[cfg(unix)]
    if file.metadata()?.is_file() {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    file.write_all(content)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_read_the_file_even_if_it_exists() {
        let folder = tempfile::tempdir().unwrap();
        let [new, existing] = ["new", "existing"].map(|name| folder.path().join(name));
        fs::write(&existing, "longer than the token").unwrap();
        fs::set_permissions(&existing, Permissions::from_mode(0o644)).unwrap();
        for path in [new, existing] {
            write_private(&path, b"token").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"token");
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path:?}");
        }
    }
}
