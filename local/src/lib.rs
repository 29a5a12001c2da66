//! The whole system on one machine: records, objects, check-in and an HTTPS edge on loopback.
//!
//! The parts are the ones that run in the cloud, or what stands in for them at the network:
//! nothing here implements records, keys or check-ins a second time.

pub mod authority;
mod clock;
pub mod edge;
pub mod engine;
mod local;
mod private;
mod secrets;
mod state;

pub use authority::{Authority, AuthorityError, ServerIdentity};
pub use edge::{Edge, EdgeError, EdgeOptions, EdgePort};
pub use engine::{Engine, EngineError, EngineStorage};
pub use local::{Local, LocalError, LocalOptions};
pub use secrets::SecretsError;
pub use state::{LoadError, LocalState, LockError};
