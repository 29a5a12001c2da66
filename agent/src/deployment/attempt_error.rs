//! Errors of an attempt: failed for good, unavailable for now, or damaged on disk.

use packcast_protocol::result::NamedCode;

use crate::failure::DeploymentFailure;
use crate::fetch::FetchError;
use crate::fetch::location_failure::{NotFetched, Verdict};
use crate::manifest::AcceptError;
use crate::platform::is_full;
use crate::stage::VerifyError;
use crate::state::StateError;
use crate::target_state::permits::WaitReason;

/// The reason why an attempt cannot continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptError {
    Failed(DeploymentFailure),
    /// Transient: retried at the next check-in.
    Later(String),
    /// Fragments were damaged on disk, and were removed.
    Damaged(String),
    /// The signed state does not permit the package now.
    NotPermitted(WaitReason),
}

impl AttemptError {
    /// Maps a file that no location sent to an error; `wrong` is the code if a location sent other
    /// content than was published.
    fn not_fetched(file: &NotFetched, wrong: NamedCode) -> Self {
        let code = match file.verdict() {
            Verdict::Later => return Self::Later(file.to_string()),
            Verdict::Absent => NamedCode::DownloadPack,
            Verdict::Wrong => wrong,
        };
        Self::Failed(DeploymentFailure::of(code, file))
    }
}

impl From<DeploymentFailure> for AttemptError {
    fn from(failure: DeploymentFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<FetchError> for AttemptError {
    fn from(error: FetchError) -> Self {
        let code = match &error {
            FetchError::NotFetched(file) => {
                return Self::not_fetched(file, NamedCode::BadDigest);
            }
            FetchError::Space(_) => NamedCode::OutOfSpace,
            FetchError::Disk { source, .. } if is_full(source) => NamedCode::OutOfSpace,
            FetchError::Disk { .. } => NamedCode::Build,
        };
        Self::Failed(DeploymentFailure::of(code, &error))
    }
}

impl From<AcceptError> for AttemptError {
    fn from(error: AcceptError) -> Self {
        let code = match &error {
            AcceptError::Manifest(file) => {
                return Self::not_fetched(file, NamedCode::BadManifest);
            }
            AcceptError::Refused(manifest) => return Self::Failed(manifest.into()),
            AcceptError::Platform { .. } => NamedCode::WrongPlatform,
        };
        Self::Failed(DeploymentFailure::of(code, &error))
    }
}

impl From<VerifyError> for AttemptError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Read { .. } => {
                Self::Failed(DeploymentFailure::of(NamedCode::Build, &error))
            }
            VerifyError::Fragments { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// Maps a full disk to a result. Any other error of the state folder ends the machine's run, as if
/// the agent had stopped there.
impl TryFrom<StateError> for AttemptError {
    type Error = StateError;

    fn try_from(error: StateError) -> Result<Self, StateError> {
        match &error {
            StateError::File { source, .. } if is_full(source) => Ok(Self::Failed(
                DeploymentFailure::of(NamedCode::OutOfSpace, &error),
            )),
            _ => Err(error),
        }
    }
}
