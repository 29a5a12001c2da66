//! The record of a running program, with which another agent process finds the program again.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A process that was started in this boot of the device, and everything that it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramRecord {
    /// The id of the process, which is also the id of its process group.
    pub(crate) process: i32,
    /// The start time of the process as the system reports it, because process ids are reused.
    pub(crate) started: String,
    /// The id of the boot.
    pub(crate) boot: String,
    /// The cgroup that holds the processes. `None` if the system has no cgroup for the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<PathBuf>,
}
