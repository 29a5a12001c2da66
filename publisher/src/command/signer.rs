//! The key that assignments are signed with, where a command needs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::assignments::Recipient;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::assignments::WARNED_BEFORE_S;
use packcast_store::records::{AssignError, Sign, SignError, Signing, SigningError};

use super::keys;
use crate::clock::now;
use crate::failure::Failure;
use crate::keys::SigningKey;
use crate::output;
use crate::target::Target;

/// What every signature over assignments says of itself.
const COMMENT: &str = "packcast assignments";

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArg {
    /// Sign with this key file
    ///
    /// The environment variable PACKCAST_SECRET_KEY, if set, holds the key itself.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Signs assignments once its key was read; stock devices need none.
#[derive(Debug)]
pub(crate) struct Signer {
    file: PathBuf,
    unlocked: Option<Unlocked>,
}

struct Unlocked {
    keys: Vec<PublicKey>,
    sign: Box<Sign>,
}

impl KeyArg {
    /// Returns the file of the key: the one named, or the target's.
    pub(crate) fn file<'a>(&'a self, target: &'a Target) -> &'a Path {
        self.key.as_deref().unwrap_or(&target.key_file)
    }

    /// Returns a signer whose key is not read yet.
    pub(crate) fn signer(&self, target: &Target) -> Signer {
        Signer {
            file: self.file(target).to_owned(),
            unlocked: None,
        }
    }

    /// Returns a signer that has read its key.
    pub(crate) fn unlocked(&self, target: &Target) -> Result<Signer, Failure> {
        let mut signer = self.signer(target);
        signer.unlock()?;
        Ok(signer)
    }
}

impl Signer {
    /// Returns a signer with this key, which adds to what these others have signed, too.
    pub(crate) fn with(key: Arc<SigningKey>, others: &[PublicKey]) -> Self {
        Self {
            file: PathBuf::new(),
            unlocked: Some(Unlocked::new(key, others)),
        }
    }

    /// Reads the key, if that was not done before; asks for its passphrase if it has one.
    pub(crate) fn unlock(&mut self) -> Result<(), Failure> {
        if self.unlocked.is_none() {
            let key = SigningKey::load(&self.file).map_err(keys::failure)?;
            self.unlocked = Some(Unlocked::new(Arc::new(key), &[]));
        }
        Ok(())
    }

    /// Reads the key if one of these devices has our agent.
    pub(crate) fn unlock_for<'a>(
        &mut self,
        devices: impl IntoIterator<Item = &'a DeviceId>,
    ) -> Result<(), Failure> {
        let ours = |device: &DeviceId| matches!(device, DeviceId::Agent(_));
        if devices.into_iter().any(ours) {
            self.unlock()?;
        }
        Ok(())
    }

    /// Signs what is written now.
    pub(crate) fn signing(&self) -> Signing<'_> {
        match &self.unlocked {
            None => Signing::without_key(now()),
            Some(unlocked) => Signing {
                now: now(),
                keys: &unlocked.keys,
                sign: &unlocked.sign,
            },
        }
    }
}

impl Unlocked {
    fn new(key: Arc<SigningKey>, others: &[PublicKey]) -> Self {
        let own = std::iter::once(key.public()).chain(others);
        let keys = own.cloned().collect();
        let sign = move |document: &str| {
            key.sign(document.as_bytes(), COMMENT)
                .map_err(SignError::new)
        };
        Self {
            keys,
            sign: Box::new(sign),
        }
    }
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unlocked({:?})", self.keys)
    }
}

/// Says until when assignments are good, and warns if that is soon.
///
/// The signature is not looked at: agents do that.
pub(crate) fn good_until(what: &str, expires: Option<UnixTime>) -> String {
    let Some(expires) = expires else {
        return "not signed".to_owned();
    };
    if expires.since(now()) < WARNED_BEFORE_S {
        let until = output::time(expires);
        output::note(&format!(
            "warning: our agents act on what {what} is assigned until {until} only
hint: 'packcast sign' signs what ends soon"
        ));
    }
    output::time(expires)
}

/// The next step where a key of another has signed, or none.
pub(crate) const HOW_TO_SIGN_ANYWAY: &str = "'packcast group show GROUP' and 'packcast device DEVICE' show what is on record: if it is what you mean, 'packcast sign --group GROUP' and 'packcast sign --device DEVICE' sign it";

/// Says what to do about assignments that were not signed.
pub(crate) fn failure(error: SigningError) -> Failure {
    let hint = match &error {
        SigningError::NotOurs {
            recipient: Recipient::Group(group),
        } => format!(
            "'packcast group show {group}' shows what the group has: if it is what you mean it to have, 'packcast sign --group {group}' signs it"
        ),
        SigningError::NotOurs {
            recipient: Recipient::Device(agent),
        } => format!(
            "'packcast device key:{agent}' shows what the device has: if it is what you mean it to have, 'packcast sign --device key:{agent}' signs it"
        ),
        SigningError::Sign(_) | SigningError::Assignments(_) | SigningError::TooLarge(_) => {
            return Failure::failed(error);
        }
    };
    Failure::conflict(error).hint(hint)
}

impl From<AssignError> for Failure {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Signing(error) => failure(error),
            AssignError::Records(error) => error.into(),
        }
    }
}
