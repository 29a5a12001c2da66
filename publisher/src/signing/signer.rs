//! The signer of assignments, which reads its key only if an operation needs the key.

use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::assignments::Assignee;
use packcast_protocol::signature::PublicKey;
use packcast_store::records::{AssignError, Sign, SignError, Signing, SigningError};

use super::key::SigningKey;
use super::secrets::Secrets;
use super::trust_state::{Memory, MemoryError};
use crate::clock::now;
use crate::failure::Failure;
use crate::state::StateChanger;
use crate::target::Target;
use crate::warning::Warnings;

/// The comment of each signature over assignments.
const COMMENT: &str = "packcast assignments";

/// The comment of each signature over a commit or a key list.
const STATE_COMMENT: &str = "packcast state";

/// Signs assignments and commits, after it has read its key.
#[derive(Debug)]
pub struct Signer {
    named: Option<PathBuf>,
    usual: PathBuf,
    memory: PathBuf,
    secrets: Arc<dyn Secrets>,
    warnings: Warnings,
    accept_clock: bool,
    unlocked: Option<Unlocked>,
}

struct Unlocked {
    keys: Vec<PublicKey>,
    sign: Box<Sign>,
    sign_state: Box<Sign>,
    memory: Memory,
}

impl Signer {
    /// Creates a signer that has not read its key yet. `named` replaces the key file of the target.
    pub fn new(target: &Target, named: Option<PathBuf>) -> Self {
        Self {
            named,
            usual: target.key_file.clone(),
            memory: target.memory_file.clone(),
            secrets: Arc::clone(&target.secrets),
            warnings: target.warnings.clone(),
            accept_clock: false,
            unlocked: None,
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

    /// Creates a signer with this key. The signer also accepts assignments that the keys `others`
    /// have signed, and signs them again with its own key.
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

    /// Returns the keys whose signatures the signer accepts, its own key first; no keys before the
    /// signer has read its key.
    pub fn keys(&self) -> &[PublicKey] {
        let keys = self.unlocked.as_ref().map(|unlocked| &unlocked.keys[..]);
        keys.unwrap_or_default()
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
            let memory = Memory::load(&self.memory, &self.warnings)?;
            Unlocked::new(Arc::new(key), &[], memory)
        };
        Ok(self.unlocked.insert(unlocked))
    }

    /// Reads the key, and returns the changer of the target's state.
    pub async fn changer<'a>(
        &'a mut self,
        target: &'a Target,
    ) -> Result<StateChanger<'a>, Failure> {
        let accept_clock = self.accept_clock;
        let unlocked = self.read_key()?;
        let (key, sign) = (&unlocked.keys[0], &unlocked.sign_state);
        StateChanger::open(target, key, sign, accept_clock).await
    }

    /// Returns the parameters for one signed write, as of the current time.
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
        Self {
            keys,
            sign: signing_with(Arc::clone(&key), COMMENT),
            sign_state: state_signer(key),
            memory,
        }
    }
}

/// Returns the function that signs commits and key lists with a key.
pub(super) fn state_signer(key: Arc<SigningKey>) -> Box<Sign> {
    signing_with(key, STATE_COMMENT)
}

fn signing_with(key: Arc<SigningKey>, comment: &'static str) -> Box<Sign> {
    Box::new(move |document: &str| {
        let signature = key.sign(document.as_bytes(), comment);
        signature.map_err(SignError::new)
    })
}

impl std::fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unlocked({:?})", self.keys)
    }
}

/// The next step if another key, or no key, has signed the recorded assignments.
pub const HOW_TO_SIGN_ANYWAY: &str = "run 'packcast group show GROUP' or 'packcast device show DEVICE' to check the recorded assignments; if they are right, run 'packcast sign --group GROUP' or 'packcast sign --device DEVICE' to sign them";

/// Returns the command that shows the recorded assignments of an assignee.
fn show_command(assignee: &Assignee) -> String {
    match assignee {
        Assignee::Group(group) => format!("'packcast group show {group}'"),
        Assignee::Device(agent) => format!("'packcast device show key:{agent}'"),
    }
}

/// Returns the command that signs the recorded assignments of an assignee.
fn sign_command(assignee: &Assignee) -> String {
    match assignee {
        Assignee::Group(group) => format!("'packcast sign --group {group}'"),
        Assignee::Device(agent) => format!("'packcast sign --device key:{agent}'"),
    }
}

impl From<SigningError> for Failure {
    fn from(error: SigningError) -> Self {
        let hint = match &error {
            SigningError::NotOurs { recipient } => format!(
                "run {} to check the recorded assignments; if they are right, run {} to sign them",
                show_command(recipient),
                sign_command(recipient)
            ),
            SigningError::RolledBack { recipient, .. } => format!(
                "run {} to check the recorded assignments; if the table was restored, run 'packcast sign --restored' to sign its content; if not, someone put an earlier state back: unassign again all packages that were unassigned since",
                show_command(recipient)
            ),
            SigningError::Expired { recipient, .. } => format!(
                "run {} to check the recorded assignments, which this machine has not signed; if they are right, run {} to sign them",
                show_command(recipient),
                sign_command(recipient)
            ),
            SigningError::Unverified { recipient, .. } => {
                format!(
                    "run {} to see the assignments, which changed meanwhile",
                    show_command(recipient)
                )
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
    use crate::rendered::next_steps;

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

    #[test]
    fn errors_of_signing_have_next_steps() {
        let device = || Assignee::Device("aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap());
        let group = || Assignee::Group("lab".parse().unwrap());
        let at = packcast_protocol::UnixTime(1_795_000_000);
        let errors = [
            SigningError::Sign(SignError::new("cause")),
            SigningError::NotOurs { recipient: group() },
            SigningError::NotOurs {
                recipient: device(),
            },
            SigningError::RolledBack {
                recipient: group(),
                recorded: packcast_protocol::assignments::Held {
                    revision: 1,
                    issued: at,
                },
            },
            SigningError::Expired {
                recipient: device(),
                expires: at,
            },
            SigningError::Unverified {
                recipient: group(),
                package: "1795000000".parse().unwrap(),
            },
        ];
        insta::assert_snapshot!(next_steps(errors), @r"
        Sign SignError: Failed
        NotOurs: Conflict
          hint: run 'packcast group show lab' to check the recorded assignments; if they are right, run 'packcast sign --group lab' to sign them
        NotOurs: Conflict
          hint: run 'packcast device show key:aaaaaaaaaaaaaaaaaaaaaaaaaa' to check the recorded assignments; if they are right, run 'packcast sign --device key:aaaaaaaaaaaaaaaaaaaaaaaaaa' to sign them
        RolledBack: Conflict
          hint: run 'packcast group show lab' to check the recorded assignments; if the table was restored, run 'packcast sign --restored' to sign its content; if not, someone put an earlier state back: unassign again all packages that were unassigned since
        Expired: Conflict
          hint: run 'packcast device show key:aaaaaaaaaaaaaaaaaaaaaaaaaa' to check the recorded assignments, which this machine has not signed; if they are right, run 'packcast sign --device key:aaaaaaaaaaaaaaaaaaaaaaaaaa' to sign them
        Unverified: Conflict
          hint: run 'packcast group show lab' to see the assignments, which changed meanwhile
        ");
    }
}
