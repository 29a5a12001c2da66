//! The system on one machine, over its sockets.

mod edge;
mod restart;
mod world;
