//! Set-up for stories, which are tests across crates on real engines.

pub mod archives;
pub mod attacks;
pub mod browser;
pub mod console;
pub mod cpu;
mod deployed;
pub mod figure;
pub mod fleet;
pub mod front;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod kill;
pub mod killed_commands;
pub mod lists;
pub mod load;
pub mod measure;
pub mod ocs;
pub mod ocs_agent;
pub mod ocs_server;
#[cfg(target_os = "linux")]
pub mod overlay;
pub mod process;
pub mod relay;
pub mod rollout;
pub mod scale;
mod server;
pub mod settings;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub mod terminal;
pub mod tree;
pub mod world;
