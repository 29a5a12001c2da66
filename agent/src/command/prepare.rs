//! `packcast-agent prepare`: creates the folders of the agent, for packages and images.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{ConfigError, DEFAULT_STATE_DIR};
use crate::platform;
use crate::state::{StateDir, StateError};

/// Create the folders of configuration and state, which other users cannot enter
///
/// Without a configuration file, the state folder is the default one. Existing folders keep their
/// content. The command changes nothing that is in order, so a package can run it at each upgrade.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Args {}

/// Errors from preparing the folders.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("cannot create configuration folder {}: run the command as root", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "other users can change configuration folder {}: make {} a folder of root that only root can change",
        path.display(),
        above.display()
    )]
    Changeable {
        path: PathBuf,
        above: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    State(#[from] StateError),
}

/// Creates the folder of the configuration file `config`, and the state folder.
pub(super) fn run(config: &Path) -> Result<(), PrepareError> {
    if let Some(folder) = config.parent().filter(|folder| *folder != Path::new("")) {
        config_folder(folder)?;
    }
    let state_dir = if config.exists() {
        super::load(config)?.state_dir
    } else {
        PathBuf::from(DEFAULT_STATE_DIR)
    };
    StateDir::open(&state_dir)?;
    Ok(())
}

/// Creates the folder of the configuration file, which only the agent's user can enter.
///
/// The rights of an existing folder stay, because it may be a folder of the system, such as `/etc`.
///
/// # Errors
/// Users other than root and the agent's user can change the folder, or one above it.
pub(super) fn config_folder(folder: &Path) -> Result<(), PrepareError> {
    let not_created = |source| PrepareError::Create {
        path: folder.to_owned(),
        source,
    };
    let is_new = !folder.exists();
    if is_new {
        platform::private_folder(folder).map_err(not_created)?;
    }
    let absolute = std::path::absolute(folder).map_err(not_created)?;
    platform::expect_unchangeable(&absolute).map_err(|found| PrepareError::Changeable {
        path: folder.to_owned(),
        above: found.path,
        source: found.error,
    })?;
    // Only now, because in a folder that others can change, a link may have taken its place.
    if is_new {
        platform::make_private(folder).map_err(not_created)?;
    }
    Ok(())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    /// Returns the text of a configuration with this state folder.
    fn config(state: &Path) -> String {
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let target = "a".repeat(26);
        let state = state.display();
        format!("server = \"https://h\"\nstate_dir = \"{state}\"\ntrust = \"{target}:{key}\"\n")
    }

    #[test]
    fn folders_are_created_with_tight_rights_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap();
        let (file, state) = (above.join("etc/agent.toml"), above.join("lib/state"));
        config_folder(file.parent().unwrap()).unwrap();
        fs::write(&file, config(&state)).unwrap();
        for _ in 0..2 {
            run(&file).unwrap();
            assert_eq!([mode(&above.join("etc")), mode(&state)], [0o700, 0o700]);
            assert_eq!(fs::read_to_string(&file).unwrap(), config(&state));
            fs::write(state.join("identity"), "kept").unwrap();
        }
    }

    #[test]
    fn an_existing_configuration_folder_keeps_its_rights() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap().join("etc");
        fs::create_dir(&folder).unwrap();
        let check = |bits, is_accepted: bool| {
            fs::set_permissions(&folder, Permissions::from_mode(bits)).unwrap();
            assert_eq!(config_folder(&folder).is_ok(), is_accepted, "{bits:o}");
            assert_eq!(mode(&folder), bits);
        };
        check(0o755, true);
        check(0o750, true);
        check(0o777, false);
    }

    #[test]
    fn a_new_folder_below_one_that_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().canonicalize().unwrap().join("above");
        fs::create_dir(&above).unwrap();
        fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
        let refused = config_folder(&above.join("etc")).unwrap_err();
        assert!(
            matches!(&refused, PrepareError::Changeable { above: found, .. } if *found == above),
            "{refused:?}"
        );
    }

    #[test]
    fn messages_name_the_folder_and_the_remedy() {
        let path = || PathBuf::from("/etc/packcast");
        let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
        let errors = [
            PrepareError::Create {
                path: path(),
                source: denied(),
            },
            PrepareError::Changeable {
                path: path(),
                above: "/etc".into(),
                source: denied(),
            },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        cannot create configuration folder /etc/packcast: run the command as root
        other users can change configuration folder /etc/packcast: make /etc a folder of root that only root can change
        ");
    }
}
