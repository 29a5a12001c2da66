//! The signer of commits, which reads its key only if an operation needs the key.

use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::CommitId;
use packcast_rollout::state::StateChange;
use packcast_store::records::{Sign, SignError};

use super::key::SigningKey;
use super::secrets::Secrets;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::state::{CompletedChange, OnHead, StateChanger, StateKey};
use crate::target::Target;

/// The comment of each signature over a commit or a key list.
const COMMENT: &str = "packcast state";

/// Signs commits, after it has read its key.
#[derive(Debug)]
pub struct Signer {
    named: Option<PathBuf>,
    usual: PathBuf,
    secrets: Arc<dyn Secrets>,
    accept_clock: bool,
    unlocked: Option<Unlocked>,
    /// An offline root key, another key than the one of the signer.
    root: Option<Unlocked>,
    /// The heads for the first change.
    on_head: OnHead<'static>,
}

struct Unlocked {
    key: PublicKey,
    sign: Box<Sign>,
}

impl Signer {
    /// Creates a signer that has not read its key yet. `named` replaces the key file of the target.
    pub fn new(target: &Target, named: Option<PathBuf>) -> Self {
        Self {
            named,
            usual: target.key_file.clone(),
            secrets: Arc::clone(&target.secrets),
            accept_clock: false,
            unlocked: None,
            root: None,
            on_head: OnHead::Any,
        }
    }

    /// Makes the first change only on this head, `None` before the first commit. So the difference that
    /// was computed from this head is the one that is signed.
    ///
    /// On another head, the change is a conflict.
    #[must_use]
    pub fn on_head(self, head: Option<CommitId>) -> Self {
        let on_head = OnHead::Only(head);
        Self { on_head, ..self }
    }

    /// Renews the key list with each change, by this root key.
    #[must_use]
    pub fn with_root(self, root: Option<Arc<SigningKey>>) -> Self {
        Self {
            root: root.map(Unlocked::new),
            ..self
        }
    }

    /// Signs commits although nothing confirms the clock of this machine.
    #[must_use]
    pub fn accepting_clock(self, accept_clock: bool) -> Self {
        Self {
            accept_clock,
            ..self
        }
    }

    /// Creates a signer with this key.
    pub fn with(target: &Target, key: Arc<SigningKey>) -> Self {
        Self {
            unlocked: Some(Unlocked::new(key)),
            ..Self::new(target, None)
        }
    }

    /// Returns the public key; `None` before the signer has read its key.
    pub fn key(&self) -> Option<&PublicKey> {
        self.unlocked.as_ref().map(|unlocked| &unlocked.key)
    }

    /// Reads the key, unless it has been read already. An encrypted key needs the passphrase of the
    /// secrets.
    pub fn unlock(&mut self) -> Result<(), Failure> {
        self.read_key()?;
        Ok(())
    }

    fn read_key(&mut self) -> Result<&Unlocked, Failure> {
        let unlocked = if let Some(unlocked) = self.unlocked.take() {
            unlocked
        } else {
            let key = SigningKey::load(self.named.as_deref(), &self.usual, &*self.secrets)?;
            Unlocked::new(Arc::new(key))
        };
        Ok(self.unlocked.insert(unlocked))
    }

    /// Reads the key, and returns the changer of the target's state.
    pub async fn changer<'a>(
        &'a mut self,
        target: &'a Target,
    ) -> Result<StateChanger<'a>, Failure> {
        self.read_key()?;
        let on_head = std::mem::take(&mut self.on_head);
        let unlocked = self.unlocked.as_ref().expect("the key was read");
        let (key, sign) = (&unlocked.key, &unlocked.sign);
        let changer = StateChanger::open(target, key, sign, self.accept_clock).await?;
        let changer = changer.on(on_head);
        Ok(changer.with_root(self.root.as_ref().map(Unlocked::state_key)))
    }

    /// Reads the key, makes changes in one commit, and completes the records. `command` is the
    /// command line, for administrators who read the history.
    pub async fn change(
        &mut self,
        target: &Target,
        changes: &[StateChange],
        command: &str,
        progress: &Progress,
    ) -> Result<CompletedChange, Failure> {
        let mut state = self.changer(target).await?;
        let outcome = state.change(changes, command).await?;
        outcome.complete(progress).await
    }
}

impl Unlocked {
    fn new(key: Arc<SigningKey>) -> Self {
        Self {
            key: key.public().clone(),
            sign: state_signer(key),
        }
    }

    fn state_key(&self) -> StateKey<'_> {
        StateKey {
            public: &self.key,
            sign: &self.sign,
        }
    }
}

/// Returns the function that signs commits and key lists with a key.
pub(crate) fn state_signer(key: Arc<SigningKey>) -> Box<Sign> {
    Box::new(move |document: &str| {
        let signature = key.sign(document.as_bytes(), COMMENT);
        signature.map_err(SignError::new)
    })
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unlocked({})", self.key)
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
        let unlocked = Unlocked::new(Arc::clone(&key));
        assert_eq!(
            format!("{unlocked:?}"),
            format!("Unlocked({})", key.public())
        );
    }
}
