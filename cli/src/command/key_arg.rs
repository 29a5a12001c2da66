//! The options that name keys.

use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::signing::{Signer, SigningKey};
use packcast_publisher::{Failure, Target};

use crate::secrets::FromPerson;

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArg {
    /// Sign with the key in this file instead of the target's own key
    ///
    /// The environment variable PACKCAST_SECRET_KEY can hold the key itself. Passing --key as well
    /// is an error.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyArg {
    /// Reads the key from the environment, from the named file, or from the target's file.
    pub(crate) fn load(&self, target: &Target) -> Result<SigningKey, Failure> {
        Ok(SigningKey::load(
            self.key.as_deref(),
            &target.key_file,
            &*target.secrets,
        )?)
    }

    /// Returns a signer that has not read its key yet.
    pub(crate) fn signer(&self, target: &Target) -> Signer {
        Signer::new(target, self.key.clone())
    }
}

/// The option that names a root key.
#[derive(Debug, clap::Args)]
pub(crate) struct RootKeyArg {
    /// Sign the key list with the root key in this file
    ///
    /// For a root key that 'packcast keys generate --root' has created. PACKCAST_KEY_PASSPHRASE, if
    /// it is set, is the passphrase of this key, too.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
}

impl RootKeyArg {
    /// Reads the root key from the named file. `None` if the person names no file.
    ///
    /// The passphrase file of the target is for its signing key, and the keyring has no root key.
    pub(crate) fn load(&self) -> Result<Option<Arc<SigningKey>>, Failure> {
        let read = |file: &PathBuf| SigningKey::read(file, &FromPerson::default());
        let key = self.root_key.as_ref().map(read).transpose()?;
        Ok(key.map(Arc::new))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArg {
    /// Accept packages signed by this key (repeatable)
    ///
    /// Packages signed by your own key, or by a key of the key list, also a retired one, are always
    /// accepted.
    #[arg(long, value_name = "KEY")]
    accept_key: Vec<PublicKey>,
}

impl AcceptArg {
    pub(crate) fn also_accept(&self) -> AlsoAccept {
        AlsoAccept(self.accept_key.clone())
    }
}
