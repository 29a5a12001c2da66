//! Signing: keys, the signer, the memory of earlier signatures, and lists of trusted keys.

pub(crate) mod expiry;
pub mod key;
pub mod key_error;
pub mod key_files;
pub mod key_lists;
pub mod memory_file;
pub mod revoke;
pub mod rotate;
mod secrets;
pub mod sign;
pub mod signer;
pub mod trust;
mod trust_state;
pub mod trusted_keys;
pub mod verify_record;

pub use self::key::SigningKey;
pub use self::key_error::{KEY_VARIABLE, KeyError, PASSPHRASE_VARIABLE};
pub use self::secrets::{NoSecrets, Secrets};
pub use self::signer::Signer;
pub use self::trust_state::{Memory, MemoryError};
