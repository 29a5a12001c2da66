//! Functions that differ between operating systems.

pub(crate) mod facts;
mod machine_ids;
mod program_record;
#[cfg(any(windows, test))]
mod registry;
#[cfg(any(windows, test))]
mod sddl;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub(crate) use self::facts::{FoundFacts, SystemName};
pub(crate) use self::machine_ids::MachineIds;
pub(crate) use self::program_record::ProgramRecord;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

use std::io;
use std::path::PathBuf;

use packcast_protocol::manifest::Platform;

/// An error at one folder of a path.
#[derive(Debug)]
pub(crate) struct ComponentError {
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

/// Returns `true` if a package for `platform` may be deployed on this device.
pub(crate) fn is_supported(platform: Platform) -> bool {
    let family = match platform {
        Platform::Any => return true,
        Platform::Linux => "linux",
        Platform::Windows => "windows",
        Platform::Macos => "macos",
    };
    std::env::consts::OS == family
}

/// Returns `true` if the error means that the disk or the user's quota is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
