//! Scripts that move OCS agents to another server.
//!
//! The same script moves an agent back, with the address of the earlier server.

use std::fmt;
use std::io::{self, Cursor, Write as _};
use std::str::FromStr;

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The system of an agent that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovedSystem {
    Unix,
    Windows,
}

/// The address of a server, as OCS agents have it in their configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcsServerAddress(String);

/// Text that is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use {given:?} as the address of a server: expected https://HOST/PATH with letters, digits and any of . _ ~ : / -"
)]
pub struct OcsServerAddressError {
    given: String,
}

impl FromStr for OcsServerAddress {
    type Err = OcsServerAddressError;

    fn from_str(text: &str) -> Result<Self, OcsServerAddressError> {
        let rest = text.strip_prefix("https://");
        let rest = rest.or_else(|| text.strip_prefix("http://"));
        // Nothing that a shell, awk or PowerShell reads as more than text.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._~:/-".contains(c);
        let fits = rest.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_alphanumeric()) && rest.chars().all(is_plain)
        });
        if fits && text.len() <= 200 && !text.ends_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            Err(OcsServerAddressError {
                given: text.chars().take(80).collect(),
            })
        }
    }
}

impl fmt::Display for OcsServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The path of a file with certificate authorities on the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaPath(String);

/// Text that is not such a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot use {given:?} as a path on the devices: expected letters, digits, spaces and any of . _ : / \\ -"
)]
pub struct CaPathError {
    given: String,
}

impl FromStr for CaPath {
    type Err = CaPathError;

    fn from_str(text: &str) -> Result<Self, CaPathError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " ._:/\\-".contains(c);
        if (1..=200).contains(&text.len()) && text.chars().all(is_plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(CaPathError {
                given: text.chars().take(80).collect(),
            })
        }
    }
}

/// Returns the script that moves an agent to a server.
pub fn move_script(system: MovedSystem, server: &OcsServerAddress, ca: Option<&CaPath>) -> String {
    let template = match system {
        MovedSystem::Unix => include_str!("move_script/move.sh"),
        MovedSystem::Windows => include_str!("move_script/move.ps1"),
    };
    let ca = ca.map_or("", |ca| ca.0.as_str());
    template.replace("@SERVER@", &server.0).replace("@CA@", ca)
}

/// Returns an archive with the script, for a package of the OCS server.
pub fn move_package(system: MovedSystem, script: &str) -> io::Result<Vec<u8>> {
    match system {
        MovedSystem::Unix => {
            let encoder = GzEncoder::new(Vec::new(), Compression::default());
            let mut archive = tar::Builder::new(encoder);
            let mut header = tar::Header::new_gnu();
            header.set_size(script.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, "move.sh", script.as_bytes())?;
            archive.into_inner()?.finish()
        }
        MovedSystem::Windows => {
            let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
            archive.start_file("move.ps1", SimpleFileOptions::default())?;
            archive.write_all(script.as_bytes())?;
            Ok(archive.finish()?.into_inner())
        }
    }
}

impl MovedSystem {
    /// Returns the action and the command of the package with [`move_package`]'s archive.
    pub const fn action(self) -> (&'static str, &'static str) {
        match self {
            Self::Unix => ("Launch", "move.sh"),
            Self::Windows => (
                "Execute",
                "powershell.exe -NoProfile -ExecutionPolicy Bypass -File move.ps1",
            ),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    const OLD: &str = "http://ocs.example.net/ocsinventory";
    const NEW: &str = "https://packcast.example.net/ocsinventory/token";

    fn run(root: &Path, to: &str, ca: Option<&str>) {
        let ca: Option<CaPath> = ca.map(|ca| ca.parse().unwrap());
        let script = move_script(MovedSystem::Unix, &to.parse().unwrap(), ca.as_ref());
        let file = root.join("move.sh");
        fs::write(&file, script).unwrap();
        assert!(moves(root, &file));
    }

    /// Runs a script, and returns `true` if it succeeds.
    fn moves(root: &Path, script: &Path) -> bool {
        let status = Command::new("sh")
            .arg(script)
            .env("OCS_AGENT_CONFIG", root.join("agent.cfg"))
            .env("OCS_AGENT_STATE", root.join("state"))
            .status()
            .unwrap();
        status.success()
    }

    fn history(root: &Path, server: &str) -> Option<String> {
        let folder = root.join("state").join(server.replace('/', "_"));
        fs::read_to_string(folder.join("download/history")).ok()
    }

    #[test]
    fn the_script_for_unix_moves_an_agent_and_moves_it_back() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let config = root.join("agent.cfg");
        let before = "server=ocs.example.net\ntag=lab\nca=/etc/old.pem\n";
        fs::write(&config, before).unwrap();
        let folder = root.join("state").join(OLD.replace('/', "_"));
        fs::create_dir_all(folder.join("download")).unwrap();
        fs::write(folder.join("download/history"), "1700000001\n").unwrap();

        for _ in 0..2 {
            run(root, NEW, Some("/etc/new.pem"));
            assert_eq!(history(root, NEW).as_deref(), Some("1700000001\n"));
            assert_eq!(history(root, OLD), None);
            let moved = fs::read_to_string(&config).unwrap();
            assert_eq!(moved, format!("server={NEW}\ntag=lab\nca=/etc/new.pem\n"));
        }
        run(root, OLD, Some("/etc/old.pem"));
        assert_eq!(history(root, OLD).as_deref(), Some("1700000001\n"));
        let back = fs::read_to_string(&config).unwrap();
        assert_eq!(back, format!("server={OLD}\ntag=lab\nca=/etc/old.pem\n"));
    }

    #[test]
    fn the_address_is_read_as_the_agent_reads_it() {
        for server in [
            format!("# server=http://other.example.net\n server = \"{OLD}\"  \r\n"),
            format!("server=http://other.example.net\nSERVER='{OLD}'\n"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            fs::write(root.join("agent.cfg"), server).unwrap();
            let folder = root.join("state").join(OLD.replace('/', "_"));
            fs::create_dir_all(folder.join("download")).unwrap();
            fs::write(folder.join("download/history"), "1").unwrap();
            run(root, NEW, None);
            assert_eq!(history(root, NEW).as_deref(), Some("1"));
            let moved = fs::read_to_string(root.join("agent.cfg")).unwrap();
            let servers = moved.lines().filter(|line| line.starts_with("server="));
            assert_eq!(servers.collect::<Vec<_>>(), [format!("server={NEW}")]);
        }
    }

    #[test]
    fn an_agent_without_a_state_folder_stays_where_it_is() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let before = format!("server={OLD}\n");
        fs::write(root.join("agent.cfg"), &before).unwrap();
        fs::create_dir(root.join("state")).unwrap();
        let file = root.join("move.sh");
        let script = move_script(MovedSystem::Unix, &NEW.parse().unwrap(), None);
        fs::write(&file, script).unwrap();
        assert!(!moves(root, &file));
        assert_eq!(fs::read_to_string(root.join("agent.cfg")).unwrap(), before);
    }

    #[test]
    fn an_interrupted_move_is_repeated_with_the_state_of_the_agent() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("agent.cfg"), format!("server={OLD}\n")).unwrap();
        let state = root.join("state");
        let folder = |server: &str| state.join(server.replace('/', "_"));
        for (server, id) in [(NEW, "1"), (OLD, "fresh")] {
            fs::create_dir_all(folder(server).join("download")).unwrap();
            fs::write(folder(server).join("download/history"), id).unwrap();
        }
        let before = folder(OLD);
        fs::write(state.join("moving-agent"), before.to_str().unwrap()).unwrap();
        run(root, NEW, None);
        assert_eq!(history(root, NEW).as_deref(), Some("1"));
        assert_eq!(history(root, OLD), None);
        assert!(!state.join("moving-agent").exists());
    }

    #[test]
    fn the_way_back_restores_the_certificate_authorities() {
        for before in ["", "ca=/etc/old.pem\n"] {
            let root = tempfile::tempdir().unwrap();
            let root = root.path();
            let config = format!("server={OLD}\n{before}");
            fs::write(root.join("agent.cfg"), &config).unwrap();
            fs::create_dir_all(root.join("state").join(OLD.replace('/', "_"))).unwrap();
            run(root, NEW, Some("/etc/new.pem"));
            run(root, NEW, Some("/etc/newer.pem"));
            run(root, OLD, None);
            let back = fs::read_to_string(root.join("agent.cfg")).unwrap();
            assert_eq!(back, config);
        }
    }

    #[test]
    fn a_state_folder_of_the_new_server_is_kept_aside() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::write(root.join("agent.cfg"), format!("server = {OLD}\n")).unwrap();
        for (server, id) in [(OLD, "1"), (NEW, "2")] {
            let folder = root.join("state").join(server.replace('/', "_"));
            fs::create_dir_all(folder.join("download")).unwrap();
            fs::write(folder.join("download/history"), id).unwrap();
        }
        run(root, NEW, None);
        assert_eq!(history(root, NEW).as_deref(), Some("1"));
        assert_eq!(fs::read_dir(root.join("state")).unwrap().count(), 2);
    }

    #[test]
    fn both_scripts_are_archives_for_the_old_server() {
        let server: OcsServerAddress = NEW.parse().unwrap();
        for system in [MovedSystem::Unix, MovedSystem::Windows] {
            let script = move_script(system, &server, None);
            assert!(script.contains(NEW) && !script.contains('@'), "{script}");
            assert!(move_package(system, &script).unwrap().len() > 200);
        }
    }

    #[test]
    fn addresses_that_a_script_could_misread_are_refused() {
        let refused = |text: &str| text.parse::<OcsServerAddress>().is_err();
        for text in [
            "ocs.example.net",
            "https://x'y/",
            "https://$x",
            "ftp://x",
            "https://x/",
        ] {
            assert!(refused(text), "{text}");
        }
        let server = "https://a b".parse::<OcsServerAddress>().unwrap_err();
        let ca = "/etc/$x".parse::<CaPath>().unwrap_err();
        insta::assert_snapshot!(format!("{server}\n{ca}"), @r#"
        cannot use "https://a b" as the address of a server: expected https://HOST/PATH with letters, digits and any of . _ ~ : / -
        cannot use "/etc/$x" as a path on the devices: expected letters, digits, spaces and any of . _ : / \ -
        "#);
    }
}
