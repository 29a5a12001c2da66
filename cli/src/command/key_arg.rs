//! The options that name keys, as every command spells them.

use std::path::PathBuf;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::signing::verify_record::AlsoAccept;
use packcast_publisher::signing::{Signer, SigningKey};
use packcast_publisher::{Failure, Target};

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArg {
    /// Sign with this key file
    ///
    /// The environment variable PACKCAST_SECRET_KEY, if set, holds the key itself; this option is
    /// refused then.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeyArg {
    /// Reads the key: from the environment, from the named file, or from the target's.
    pub(crate) fn load(&self, target: &Target) -> Result<SigningKey, Failure> {
        Ok(SigningKey::load(
            self.key.as_deref(),
            &target.key_file,
            &*target.secrets,
        )?)
    }

    /// Returns a signer whose key is not read yet.
    pub(crate) fn signer(&self, target: &Target) -> Signer {
        Signer::new(target, self.key.clone())
    }

    /// Returns a signer that has read its key.
    pub(crate) fn unlocked(&self, target: &Target) -> Result<Signer, Failure> {
        Signer::unlocked(target, self.key.clone())
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct AcceptArg {
    /// Take packages that this key has signed for signed, beside those that agents trust and
    /// your own (repeatable)
    #[arg(long, value_name = "KEY")]
    accept_key: Vec<PublicKey>,
}

impl AcceptArg {
    pub(crate) fn also_accept(&self) -> AlsoAccept {
        AlsoAccept(self.accept_key.clone())
    }
}
