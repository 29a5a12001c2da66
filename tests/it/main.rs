//! Stories: tests across crates, on real engines.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has to fail"
)]

mod agent_config;
mod assigning;
mod attacks;
mod bad_input;
mod bill;
mod budget;
mod cancel;
mod commands;
mod commits;
mod completion;
mod console_browser;
mod console_pages;
mod delete;
mod demo;
mod enrolled_agent;
mod enrolment;
mod excluded;
mod explain;
mod fleet;
mod full_volume;
mod group_faults;
mod groups;
mod history;
#[cfg(target_os = "linux")]
mod import_ocs;
mod interface;
mod interrupted;
mod keys;
mod kill_matrix;
mod lists;
mod load;
mod local_caches;
mod local_program;
mod locations;
mod messages;
mod minisign;
mod ocs_agent;
mod ocs_commands;
#[cfg(target_os = "linux")]
mod ocs_installs_agent;
mod pacing;
mod permissions;
mod priorities;
mod publish;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod questions;
mod restored;
mod resume;
mod rollouts;
mod root_key;
mod s3;
mod scale;
mod second_machine;
mod secrets;
mod self_update;
mod signed_state;
mod status;
mod stopping;
mod tampering;
mod targets;
mod template;
mod unlock;
mod windows_terms;

/// The program that the stories run.
const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");
