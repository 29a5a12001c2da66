//! The whole system on one machine: records, objects, check-in and an HTTPS edge on loopback.
//!
//! Its parts run in the cloud as well, or replace a part of the cloud at the network: this crate
//! contains no second implementation of records, keys or check-ins.

pub mod authority;
mod check_ins;
mod clock;
pub mod edge;
pub mod engine;
mod local;
mod private;
mod secrets;
mod state;

pub use authority::{AuthorityError, LocalAuthority, ServerIdentity};
pub use check_ins::CheckIns;
pub use edge::{Edge, EdgeError, EdgeOptions, EdgePort};
pub use engine::{Changes, Engine, EngineError, EngineStorage};
pub use local::{Local, LocalError, LocalOptions};
pub use secrets::SecretsError;
pub use state::{LoadError, LocalState, LockError};
