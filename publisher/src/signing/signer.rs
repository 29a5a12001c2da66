//! The key that assignments are signed with, where a command needs it.

use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::DeviceId;
use packcast_protocol::assignments::Assignee;
use packcast_protocol::signature::PublicKey;
use packcast_store::records::{AssignError, Sign, SignError, Signing, SigningError};

use super::key::SigningKey;
use super::secrets::Secrets;
use super::trust_state::{Memory, MemoryError};
use crate::clock::now;
use crate::failure::Failure;
use crate::target::Target;
use crate::warning::Warnings;

/// What every signature over assignments says of itself.
const COMMENT: &str = "packcast assignments";

/// Signs assignments once its key was read; stock devices need none.
#[derive(Debug)]
pub struct Signer {
    named: Option<PathBuf>,
    usual: PathBuf,
    memory: PathBuf,
    secrets: Arc<dyn Secrets>,
    warnings: Warnings,
    unlocked: Option<Unlocked>,
}

struct Unlocked {
    keys: Vec<PublicKey>,
    sign: Box<Sign>,
    memory: Memory,
}

impl Signer {
    /// Returns a signer for a target whose key is not read yet; `named` replaces the target's
    /// own key file.
    pub fn new(target: &Target, named: Option<PathBuf>) -> Self {
        Self {
            named,
            usual: target.key_file.clone(),
            memory: target.memory_file.clone(),
            secrets: Arc::clone(&target.secrets),
            warnings: target.warnings.clone(),
            unlocked: None,
        }
    }

    /// Returns a signer for a target that has read its key.
    pub fn unlocked(target: &Target, named: Option<PathBuf>) -> Result<Self, Failure> {
        let mut signer = Self::new(target, named);
        signer.unlock()?;
        Ok(signer)
    }

    /// Returns a signer with this key, which adds to what these others have signed, too, and
    /// remembers in this file.
    pub fn with(
        target: &Target,
        key: Arc<SigningKey>,
        others: &[PublicKey],
    ) -> Result<Self, MemoryError> {
        let memory = Memory::load(&target.memory_file, &target.warnings)?;
        Ok(Self {
            unlocked: Some(Unlocked::new(key, others, memory)),
            ..Self::new(target, None)
        })
    }

    /// Returns the keys whose signatures are added to, the one that signs first; none before
    /// its key was read.
    pub fn keys(&self) -> &[PublicKey] {
        let keys = self.unlocked.as_ref().map(|unlocked| &unlocked.keys[..]);
        keys.unwrap_or_default()
    }

    /// Reads the key, if that was not done before; asks for its passphrase if it has one.
    pub fn unlock(&mut self) -> Result<(), Failure> {
        if self.unlocked.is_none() {
            let key = SigningKey::load(self.named.as_deref(), &self.usual, &*self.secrets)?;
            let memory = Memory::load(&self.memory, &self.warnings)?;
            self.unlocked = Some(Unlocked::new(Arc::new(key), &[], memory));
        }
        Ok(())
    }

    /// Reads the key if one of these devices has our agent.
    pub fn unlock_for<'a>(
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
    pub fn signing(&self) -> Signing<'_> {
        match &self.unlocked {
            None => Signing::without_key(now()),
            Some(unlocked) => Signing {
                now: now(),
                keys: &unlocked.keys,
                sign: &unlocked.sign,
                memory: Some(&unlocked.memory.known),
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

/// The next step where a key of another has signed, or none.
pub const HOW_TO_SIGN_ANYWAY: &str = "'packcast group show GROUP' and 'packcast device DEVICE' show what is on record: if it is what you mean, 'packcast sign --group GROUP' and 'packcast sign --device DEVICE' sign it";

/// Names the command that shows what a recipient has on record.
fn shown(recipient: &Assignee) -> String {
    match recipient {
        Assignee::Group(group) => format!("'packcast group show {group}'"),
        Assignee::Device(agent) => format!("'packcast device key:{agent}'"),
    }
}

/// Names the command that signs it as it is.
fn signed(recipient: &Assignee) -> String {
    match recipient {
        Assignee::Group(group) => format!("'packcast sign --group {group}'"),
        Assignee::Device(agent) => format!("'packcast sign --device key:{agent}'"),
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
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
            SigningError::Unverified { recipient, .. } => {
                format!("it changed meanwhile: look at {}", shown(recipient))
            }
            SigningError::Sign(_) | SigningError::Assignments(_) | SigningError::TooLarge(_) => {
                return Self::failed(error);
            }
        };
        Self::conflict(error).hint(hint)
    }
}

impl From<AssignError> for Failure {
    fn from(error: AssignError) -> Self {
        match error {
            AssignError::Signing(error) => error.into(),
            AssignError::Records(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_a_signer_has_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("packcast.key");
        let key = Arc::new(SigningKey::generate(&file, None).unwrap());
        let memory = Memory::load(&folder.path().join("signed.json"), &Warnings::default());
        let unlocked = Unlocked::new(Arc::clone(&key), &[], memory.unwrap());
        let shown = format!("Unlocked([{:?}])", key.public());
        assert_eq!(format!("{unlocked:?}"), shown);
    }
}
