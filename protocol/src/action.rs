//! Actions: LAUNCH, EXECUTE, STORE and UPDATE.
//!
//! Each action carries exactly the values that it needs, so that a LAUNCH without a program or
//! a STORE with a command cannot exist. The type parameter describes the archive: its digests
//! in a manifest, a fragment count in `info`, nothing in a plan.

mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use text::{ActionTextError, CommandLine, Folder, LaunchCommand, ProgramName};

/// The action of a package, named as in the OCS console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action<A> {
    /// Unpacks the archive into a temporary directory and runs a program of it there. The exit
    /// code of the program is the result.
    Launch { archive: A, command: LaunchCommand },
    /// Runs a command in a temporary directory, which holds the files of the archive if there
    /// is one.
    Execute {
        archive: Option<A>,
        command: CommandLine,
    },
    /// Unpacks the archive into a folder of the device, and runs nothing.
    Store { archive: A, folder: Folder },
    /// Runs another build of the Packcast agent from then on, if the build proves itself. The
    /// archive has one program for each platform, such as `linux-x86_64/packcast-agent`. No OCS
    /// agent gets such a package.
    Update { archive: A },
}

impl<A> Action<A> {
    /// Returns the action's name on the wire (protocol reference §4.1, `ACT`).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Launch { .. } => "LAUNCH",
            Self::Execute { .. } => "EXECUTE",
            Self::Store { .. } => "STORE",
            Self::Update { .. } => "UPDATE",
        }
    }

    pub const fn archive(&self) -> Option<&A> {
        match self {
            Self::Launch { archive, .. }
            | Self::Store { archive, .. }
            | Self::Update { archive } => Some(archive),
            Self::Execute { archive, .. } => archive.as_ref(),
        }
    }

    /// Replaces the description of the archive, and keeps everything else.
    pub fn map_archive<B>(self, describe: impl FnOnce(A) -> B) -> Action<B> {
        match self {
            Self::Launch { archive, command } => Action::Launch {
                archive: describe(archive),
                command,
            },
            Self::Execute { archive, command } => Action::Execute {
                archive: archive.map(describe),
                command,
            },
            Self::Store { archive, folder } => Action::Store {
                archive: describe(archive),
                folder,
            },
            Self::Update { archive } => Action::Update {
                archive: describe(archive),
            },
        }
    }
}
