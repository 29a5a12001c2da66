//! Errors of uploads.

use std::io;
use std::path::PathBuf;

use http::StatusCode;
use packcast_publisher::Failure;

use super::file_name::{FileName, FileNameError};
use super::task::MAX_FILES;
use crate::words::bytes as size;

/// The largest file.
pub(crate) const MAX_BYTES: u64 = 256 << 30;

/// Errors from uploading a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Name(#[from] FileNameError),
    #[error("cannot upload {name}: the file is empty")]
    Empty { name: FileName },
    #[error("cannot upload the file: the form was cut, or is damaged")]
    Form,
    #[error("cannot upload the file: it is larger than {}", size(MAX_BYTES))]
    TooLarge,
    #[error(
        "cannot store the upload in {}: the disk has {} free, and the upload needs {}",
        folder.display(), size(*free), size(*needed)
    )]
    Full {
        folder: PathBuf,
        free: u64,
        needed: u64,
    },
    #[error("cannot store the upload in {}", folder.display())]
    Write { folder: PathBuf, source: io::Error },
    #[error("cannot continue the upload at byte {found}: expected byte {expected}")]
    Offset { expected: u64, found: u64 },
    #[error("cannot continue the upload of {name} with another file")]
    OtherFile { name: FileName },
    #[error("cannot continue the upload: there is no unfinished one")]
    None,
    #[error(
        "cannot complete the upload: the file has more than {bytes} bytes, as many as it had before"
    )]
    Longer { bytes: u64 },
    #[error("cannot complete the upload: the connection was cut after {}", size(*received))]
    Cut { received: u64 },
    #[error("cannot add a file: an update has at most {MAX_FILES} programs")]
    TooMany,
}

impl UploadError {
    /// Returns the status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Name(_)
            | Self::Empty { .. }
            | Self::Form
            | Self::Cut { .. }
            | Self::Longer { .. }
            | Self::TooMany => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Full { .. } | Self::Write { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Self::Offset { .. } | Self::OtherFile { .. } | Self::None => StatusCode::CONFLICT,
        }
    }

    /// Returns the next step.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Name(_) | Self::Empty { .. } => None,
            Self::TooLarge => Some("enter the path of the file on this machine instead"),
            Self::Full { .. } => {
                Some("free some space, or enter the path of the file on this machine instead")
            }
            Self::Write { .. } => Some("check the folder, or enter the path of the file instead"),
            Self::OtherFile { .. } => {
                Some("choose the same file, or discard the unfinished upload")
            }
            Self::Offset { .. } | Self::None | Self::Cut { .. } | Self::Longer { .. } => {
                Some("choose the same file again to continue")
            }
            Self::Form => Some("choose the file again"),
            Self::TooMany => Some("remove a program, then choose the file again"),
        }
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        let hint = error.hint();
        let failure = match error.status() {
            StatusCode::CONFLICT => Self::conflict(error),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Self::usage(error),
            _ => Self::failed(error),
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_uploads_have_next_steps() {
        let folder = || PathBuf::from("/srv/uploads");
        let name = || "vlc.zip".parse::<FileName>().unwrap();
        let errors = [
            UploadError::Empty { name: name() },
            UploadError::Form,
            UploadError::TooLarge,
            UploadError::Full {
                folder: folder(),
                free: 1 << 20,
                needed: 5 << 30,
            },
            UploadError::Write {
                folder: folder(),
                source: io::ErrorKind::PermissionDenied.into(),
            },
            UploadError::Offset {
                expected: 4,
                found: 5,
            },
            UploadError::OtherFile { name: name() },
            UploadError::None,
            UploadError::Longer { bytes: 10 },
            UploadError::Cut { received: 1 << 20 },
            UploadError::TooMany,
        ];
        let lines = errors.map(|error| {
            let (status, hint) = (error.status().as_u16(), error.hint());
            format!("{error}\n  {status}: {}", hint.unwrap_or("no hint"))
        });
        insta::assert_snapshot!(lines.join("\n"), @r"
        cannot upload vlc.zip: the file is empty
          400: no hint
        cannot upload the file: the form was cut, or is damaged
          400: choose the file again
        cannot upload the file: it is larger than 256.0 GiB
          413: enter the path of the file on this machine instead
        cannot store the upload in /srv/uploads: the disk has 1.0 MiB free, and the upload needs 5.0 GiB
          507: free some space, or enter the path of the file on this machine instead
        cannot store the upload in /srv/uploads
          507: check the folder, or enter the path of the file instead
        cannot continue the upload at byte 5: expected byte 4
          409: choose the same file again to continue
        cannot continue the upload of vlc.zip with another file
          409: choose the same file, or discard the unfinished upload
        cannot continue the upload: there is no unfinished one
          409: choose the same file again to continue
        cannot complete the upload: the file has more than 10 bytes, as many as it had before
          400: choose the same file again to continue
        cannot complete the upload: the connection was cut after 1.0 MiB
          400: choose the same file again to continue
        cannot add a file: an update has at most 16 programs
          400: remove a program, then choose the file again
        ");
    }
}
