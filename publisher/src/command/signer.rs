//! The key that assignments are signed with, where a command needs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use packcast_protocol::assignments::Recipient;
use packcast_protocol::signature::PublicKey;
use packcast_protocol::{DeviceId, UnixTime};
use packcast_rollout::validity::WARNED_BEFORE_S;
use packcast_store::records::{AssignError, Sign, SignError, Signing, SigningError};

use super::keys;
use crate::clock::now;
use crate::failure::Failure;
use crate::keys::SigningKey;
use crate::known::{Memory, MemoryError};
use crate::output;
use crate::target::Target;

/// What every signature over assignments says of itself.
const COMMENT: &str = "packcast assignments";

#[derive(Debug, clap::Args)]
pub(crate) struct KeyArg {
    /// Sign with this key file
    ///
    /// The environment variable PACKCAST_SECRET_KEY, if set, holds the key itself; this option is
    /// refused then.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
}

/// Signs assignments once its key was read; stock devices need none.
#[derive(Debug)]
pub(crate) struct Signer {
    named: Option<PathBuf>,
    usual: PathBuf,
    memory: PathBuf,
    unlocked: Option<Unlocked>,
}

struct Unlocked {
    keys: Vec<PublicKey>,
    sign: Box<Sign>,
    memory: Memory,
}

impl KeyArg {
    /// Reads the key: from the environment, from the file that is named, or from the target's.
    pub(crate) fn load(&self, target: &Target) -> Result<SigningKey, Failure> {
        SigningKey::load(self.key.as_deref(), &target.key_file).map_err(keys::failure)
    }

    /// Returns a signer whose key is not read yet.
    pub(crate) fn signer(&self, target: &Target) -> Signer {
        Signer {
            named: self.key.clone(),
            usual: target.key_file.clone(),
            memory: target.memory_file.clone(),
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
    /// Returns a signer with this key, which adds to what these others have signed, too, and
    /// remembers in this file.
    pub(crate) fn with(
        memory: &Path,
        key: Arc<SigningKey>,
        others: &[PublicKey],
    ) -> Result<Self, MemoryError> {
        Ok(Self {
            named: None,
            usual: PathBuf::new(),
            memory: memory.to_owned(),
            unlocked: Some(Unlocked::new(key, others, Memory::load(memory)?)),
        })
    }

    /// Returns the keys whose signatures are added to, the one that signs first; none before
    /// its key was read.
    pub(crate) fn keys(&self) -> &[PublicKey] {
        let keys = self.unlocked.as_ref().map(|unlocked| &unlocked.keys[..]);
        keys.unwrap_or_default()
    }

    /// Reads the key, if that was not done before; asks for its passphrase if it has one.
    pub(crate) fn unlock(&mut self) -> Result<(), Failure> {
        if self.unlocked.is_none() {
            let key = SigningKey::load(self.named.as_deref(), &self.usual);
            let key = key.map_err(keys::failure)?;
            let memory = Memory::load(&self.memory)?;
            self.unlocked = Some(Unlocked::new(Arc::new(key), &[], memory));
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
                known: Some(&unlocked.memory.known),
            },
        }
    }
}

impl Unlocked {
    fn new(key: Arc<SigningKey>, others: &[PublicKey], memory: Memory) -> Self {
        let own = std::iter::once(key.public()).chain(others);
        let keys = own.cloned().collect();
        let sign = move |document: &str| {
            key.sign(document.as_bytes(), COMMENT)
                .map_err(SignError::new)
        };
        Self {
            keys,
            sign: Box::new(sign),
            memory,
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

/// Names the command that shows what a recipient has on record.
fn shown(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Group(group) => format!("'packcast group show {group}'"),
        Recipient::Device(agent) => format!("'packcast device key:{agent}'"),
    }
}

/// Names the command that signs it as it is.
fn signed(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Group(group) => format!("'packcast sign --group {group}'"),
        Recipient::Device(agent) => format!("'packcast sign --device key:{agent}'"),
    }
}

/// Says what to do about assignments that were not signed.
pub(crate) fn failure(error: SigningError) -> Failure {
    let hint = match &error {
        SigningError::NotOurs { recipient } => format!(
            "{} shows what it has: if it is what you mean it to have, {} signs it",
            shown(recipient),
            signed(recipient)
        ),
        SigningError::RolledBack { recipient, .. } => format!(
            "look at {}: if the table was restored, 'packcast sign --restored' goes on from what it has; if not, somebody has written to it, and what was taken back since must be taken back again",
            shown(recipient)
        ),
        SigningError::Expired { recipient, .. } => format!(
            "this machine has not seen it signed, so look at {}: if it is what you mean, {} signs it",
            shown(recipient),
            signed(recipient)
        ),
        SigningError::Unvouched { recipient, .. } => {
            format!("it changed meanwhile: look at {}", shown(recipient))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_that_is_shown_for_debugging_keeps_its_secret() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(&folder.path().join("packcast.key"), None).unwrap();
        let key = Arc::new(key);
        let memory = Path::new("signed.json");
        let signer = Signer::with(memory, Arc::clone(&key), &[]).unwrap();
        let shown = format!(
            "Signer {{ named: None, usual: \"\", memory: \"signed.json\", unlocked: Some(Unlocked([{:?}])) }}",
            key.public()
        );
        assert_eq!(format!("{signer:?}"), shown);
    }
}
