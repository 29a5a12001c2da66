//! The handler on the embedded engine, with requests in the exact form that devices send.

mod access;
mod agents;
mod begin;
mod commands;
mod concurrency;
mod cost;
mod deadline;
mod download;
mod enrolment;
mod exclusion;
mod groups;
mod hostile;
mod inventory;
mod log;
mod pacing;
mod paused;
mod platform;
mod prolog;
mod renames;
mod results;
mod state;
mod system;
mod transcripts;
mod traps;
mod waits;
mod write_budget;
