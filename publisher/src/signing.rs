//! Signing: keys, the signer, the memory of earlier commits, and publisher keys.

pub mod key;
pub mod key_error;
pub mod key_files;
pub mod memory_file;
pub mod passphrase_file;
pub mod publisher_keys;
pub mod replace;
pub mod rotate;
mod secrets;
pub mod signer;
mod unlocked;
pub mod verify_record;

pub use self::key::SigningKey;
pub use self::key_error::{KEY_VARIABLE, KeyError, PASSPHRASE_VARIABLE};
pub use self::secrets::{NoSecrets, Secrets};
pub use self::signer::Signer;
pub use self::unlocked::UnlockedKey;
