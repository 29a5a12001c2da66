//! Failures of a deployment, as they are reported.

use std::error::Error;

use packcast_archive::ArchiveError;
use packcast_protocol::api::BoundedText;
use packcast_protocol::manifest::ManifestError;
use packcast_protocol::result::NamedCode;
use packcast_protocol::with_causes;

use crate::unpack::UnpackError;

/// A failure: its result code, and a detail for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeploymentFailure {
    pub(crate) code: NamedCode,
    pub(crate) detail: BoundedText<1024>,
}

impl DeploymentFailure {
    pub(crate) fn new(code: NamedCode, detail: &str) -> Self {
        Self {
            code,
            detail: BoundedText::tail(detail),
        }
    }

    pub(crate) fn of(code: NamedCode, error: &dyn Error) -> Self {
        Self::new(code, &with_causes(error))
    }
}

impl From<&ManifestError> for DeploymentFailure {
    fn from(error: &ManifestError) -> Self {
        let code = match error {
            ManifestError::NotAnnounced { .. }
            | ManifestError::Json(_)
            | ManifestError::OtherPackage { .. }
            | ManifestError::TooLarge => NamedCode::BadManifest,
            ManifestError::Expired { .. } => NamedCode::Expired,
        };
        Self::of(code, error)
    }
}

impl From<&ArchiveError> for DeploymentFailure {
    fn from(error: &ArchiveError) -> Self {
        let code = if error.is_unsafe() {
            NamedCode::UnsafeArchive
        } else {
            NamedCode::Build
        };
        Self::of(code, error)
    }
}

impl DeploymentFailure {
    /// Maps an error of unpacking to a failure.
    ///
    /// `place` is the code for a folder that the agent cannot write to.
    pub(crate) fn of_unpacking(error: &UnpackError, place: NamedCode) -> Self {
        match error {
            UnpackError::Archive(error) => error.into(),
            UnpackError::NoSpace { .. } => Self::of(NamedCode::OutOfSpace, error),
            UnpackError::Folder { .. }
            | UnpackError::InTheWay { .. }
            | UnpackError::Write { .. } => Self::of(place, error),
        }
    }
}
