//! Tests of the archive reader with hostile archives, and of the agent binary against an HTTPS
//! server.
#![expect(clippy::unwrap_used, reason = "a test whose set-up fails has to fail")]

mod acting;
mod archives;
mod begin;
mod cancelling;
mod edge;
mod enrolment;
mod facts;
mod help;
mod hostile;
mod interrupted;
mod interrupted_store;
mod lab;
mod locations;
mod minisign;
mod mutations;
mod network;
mod packages;
mod proxy;
mod publisher;
mod rollouts;
mod rounds;
mod self_update;
mod service;
mod signed_state;
mod signer;
#[cfg(unix)]
#[path = "../../../testing/src/skip.rs"]
pub mod skip;
mod state_files;
mod stories;
mod surroundings;
mod trust;
mod unpacking;
