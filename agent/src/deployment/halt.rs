//! What an error on the way means for the attempt.

use packcast_protocol::result::NamedCode;

use crate::failure::Failure;
use crate::fetch::FetchError;
use crate::fetch::miss::{NotObtained, Verdict};
use crate::manifest::AcceptError;
use crate::platform::is_full;
use crate::stage::VerifyError;
use crate::state::StateError;

/// Why an attempt does not go on as it was to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    Failed(Failure),
    /// What is missing may be had later.
    Later(String),
    /// Fragments went wrong on disk, and were removed.
    Damaged(String),
}

impl Halt {
    /// Tells what follows if no location gave a file; `wrong` is the code for one that is not
    /// what was published.
    fn not_obtained(file: &NotObtained, wrong: NamedCode) -> Self {
        let code = match file.verdict() {
            Verdict::Later => return Self::Later(file.to_string()),
            Verdict::Absent => NamedCode::DownloadPack,
            Verdict::Wrong => wrong,
        };
        Self::Failed(Failure::of(code, file))
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<FetchError> for Halt {
    fn from(error: FetchError) -> Self {
        let code = match &error {
            FetchError::NotObtained(file) => {
                return Self::not_obtained(file, NamedCode::BadDigest);
            }
            FetchError::Space(_) => NamedCode::OutOfSpace,
            FetchError::Disk { source, .. } if is_full(source) => NamedCode::OutOfSpace,
            FetchError::Disk { .. } => NamedCode::Build,
        };
        Self::Failed(Failure::of(code, &error))
    }
}

impl From<AcceptError> for Halt {
    fn from(error: AcceptError) -> Self {
        let code = match &error {
            AcceptError::Manifest(file) => {
                return Self::not_obtained(file, NamedCode::BadManifest);
            }
            AcceptError::Signature(file) => match file.verdict() {
                Verdict::Later => return Self::Later(file.to_string()),
                // A package without a signature is as good as one that somebody else signed.
                Verdict::Absent | Verdict::Wrong => NamedCode::BadSignature,
            },
            AcceptError::Refused(manifest) => return Self::Failed(manifest.into()),
            AcceptError::Audience { .. } => NamedCode::WrongAudience,
            AcceptError::Downgrade { .. } => NamedCode::GoingBack,
            AcceptError::Platform { .. } => NamedCode::WrongPlatform,
        };
        Self::Failed(Failure::of(code, &error))
    }
}

impl From<VerifyError> for Halt {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Whole { .. } => Self::Failed(Failure::of(NamedCode::BadDigest, &error)),
            VerifyError::Read { .. } => Self::Failed(Failure::of(NamedCode::Build, &error)),
            VerifyError::Fragments { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// A full disk is a result; anything else that is wrong with the state folder is told to
/// whoever drives the machine, as if the agent had stopped there.
impl TryFrom<StateError> for Halt {
    type Error = StateError;

    fn try_from(error: StateError) -> Result<Self, StateError> {
        match &error {
            StateError::File { source, .. } if is_full(source) => {
                Ok(Self::Failed(Failure::of(NamedCode::OutOfSpace, &error)))
            }
            _ => Err(error),
        }
    }
}
