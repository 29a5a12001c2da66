//! All operations of an administrator, as a library: publish, verify, activate, assign, groups,
//! devices, enrolment, locations, keys, signing, targets.
//!
//! The command line and other interfaces are built on this library. The library prints nothing,
//! parses no arguments, and reads neither a terminal nor the environment. It returns results and
//! warnings as values, reports progress through [`Progress`], and gets secrets through
//! [`signing::Secrets`].

pub mod activate;
pub mod agent_config;
pub mod agent_package;
pub mod assign;
pub mod assignees;
mod audience;
pub mod audit;
pub mod author;
pub mod clock;
mod concurrency;
pub mod deactivate;
pub mod delete;
pub mod device;
pub mod device_list;
pub mod device_name;
pub mod diff;
mod distinct;
mod downgrade;
pub mod enrolment;
pub mod explain;
pub mod failure;
pub mod fleet_check;
pub mod group;
pub mod import_ocs;
mod known_group;
pub mod local;
pub mod local_clock;
pub mod location;
pub mod log;
pub mod owned_commit;
pub mod package;
pub mod page;
pub mod pause;
pub mod preview;
mod private_file;
pub mod probe;
pub mod progress;
pub mod publish;
#[cfg(test)]
mod rendered;
pub mod restore;
pub mod revert;
pub mod rollout;
pub mod shell;
pub mod signing;
pub mod state;
pub mod status;
mod stopping;
pub mod target;
#[cfg(test)]
mod test_target;
#[cfg(test)]
mod tests;
pub mod text;
pub mod text_file;
pub mod unassign;
pub mod values;
pub mod verify;
pub mod wait;
pub mod warning;

pub use packcast_https::proxy_for;

pub use self::author::Author;
pub use self::failure::{Failure, Kind, NameKind, RefusedName};
pub use self::preview::Preview;
pub use self::progress::{Progress, Step, Work};
pub use self::target::{Places, Target};
pub use self::warning::Warning;
