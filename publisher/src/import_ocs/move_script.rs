//! Scripts that move OCS agents to another server.
//!
//! The same script moves an agent back, with the address of the earlier server.

mod recognise;
#[cfg(unix)]
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Cursor, Write as _};
use std::str::FromStr;

use flate2::Compression;
use flate2::write::GzEncoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(super) use self::recognise::has_move_script;

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
