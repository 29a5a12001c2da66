//! The commands of the program: each file has the arguments and the steps of one command.

mod action;
pub(crate) mod activate;
pub(crate) mod agent_config;
pub(crate) mod assign;
mod assignees;
pub(crate) mod completions;
pub(crate) mod deactivate;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod device;
mod device_list;
pub(crate) mod explain;
pub(crate) mod group;
mod key_arg;
pub(crate) mod keys;
pub(crate) mod list;
pub(crate) mod local;
pub(crate) mod location;
pub(crate) mod man;
mod pacing;
pub(crate) mod publish;
pub(crate) mod show;
pub(crate) mod sign;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod unassign;
pub(crate) mod verify;
