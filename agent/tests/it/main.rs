//! Archives that mean harm, and the agent's program against an HTTPS server.

mod archives;
mod edge;
mod hostile;
mod stories;
mod unpacking;
