//! The handler on the embedded engine: requests as devices send them, byte for byte.

mod access;
mod agents;
mod cost;
mod deadline;
mod documents;
mod download;
mod groups;
mod hostile;
mod inventory;
mod orders;
mod pace;
mod prolog;
mod results;
mod together;
mod transcripts;
mod traps;
mod world;
