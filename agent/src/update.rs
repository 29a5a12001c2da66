//! Versions of the agent on this device: the installed one, the updated one, and one on trial.
//!
//! The package manager owns the installed version. An update adds another one below the state
//! folder. The pure functions of `memory` decide which one runs; `files` stores them; the starter
//! (`crate::starter`) runs them. The agent itself stages a version, and confirms one that works.

mod files;
mod kept_identity;
mod memory;
mod updates;

pub(crate) use self::files::{ProgramError, VersionFiles};
#[cfg(all(test, unix))]
pub(crate) use self::memory::{News, StagedUpdate};
pub(crate) use self::memory::{
    Next, PATIENCE_S, StoredBuild, TrialEnd, UpdateTask, VersionMemory, installed_version,
};
pub(crate) use self::updates::{StagedProgram, UpdateState, Updates};
