//! The free space of a disk, and errors of a full one.

use std::io;
use std::path::PathBuf;

use super::upload_error::UploadError;

/// The disk of the uploads.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    folder: PathBuf,
}

impl Room {
    /// The bytes after which an upload looks at the disk again.
    pub(crate) const STEP: u64 = 8 << 20;

    /// The space that uploads leave to other programs.
    const RESERVE: u64 = 64 << 20;

    pub(crate) const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Checks that the disk has room for `more` bytes, and for other programs.
    pub(crate) fn check(&self, more: u64) -> Result<(), UploadError> {
        let free = fs4::available_space(&self.folder).map_err(|error| self.error(error))?;
        let needed = more.saturating_add(Self::RESERVE);
        if free < needed {
            let folder = self.folder.clone();
            return Err(UploadError::Full {
                folder,
                free,
                needed,
            });
        }
        Ok(())
    }

    /// Returns the error for a failed write.
    pub(crate) fn error(&self, source: io::Error) -> UploadError {
        let folder = self.folder.clone();
        let is_full = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        if is_full {
            let free = fs4::available_space(&self.folder).unwrap_or(0);
            let needed = Self::RESERVE;
            UploadError::Full {
                folder,
                free,
                needed,
            }
        } else {
            UploadError::Write { folder, source }
        }
    }
}
