//! Why a deployment failed, as it is reported.

use std::error::Error;

use packcast_archive::ArchiveError;
use packcast_protocol::api::Text;
use packcast_protocol::manifest::ManifestError;
use packcast_protocol::result::NamedCode;
use packcast_protocol::with_causes;

use crate::unpack::UnpackError;

/// A result other than the program's own: the code, and what it cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: NamedCode,
    pub(crate) detail: Text<1024>,
}

impl Failure {
    pub(crate) fn new(code: NamedCode, detail: &str) -> Self {
        Self {
            code,
            detail: Text::tail(detail),
        }
    }

    pub(crate) fn of(code: NamedCode, error: &dyn Error) -> Self {
        Self::new(code, &with_causes(error))
    }
}

impl From<&ManifestError> for Failure {
    fn from(error: &ManifestError) -> Self {
        let code = match error {
            ManifestError::NotAnnounced { .. }
            | ManifestError::Json(_)
            | ManifestError::OtherPackage { .. }
            | ManifestError::TooLarge => NamedCode::BadManifest,
            ManifestError::Signature(_) => NamedCode::BadSignature,
            ManifestError::Expired { .. } => NamedCode::Expired,
        };
        Self::of(code, error)
    }
}

impl From<&ArchiveError> for Failure {
    fn from(error: &ArchiveError) -> Self {
        let code = if error.is_unsafe() {
            NamedCode::UnsafeArchive
        } else {
            NamedCode::Build
        };
        Self::of(code, error)
    }
}

impl Failure {
    /// Tells why unpacking failed; `place` is the code for a folder that cannot be written.
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
