//! A published archive: its format, and the length and digest of the whole and of each
//! fragment.

use std::fmt;
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::fragment::{self, FragmentNumber, FragmentSize, FragmentSizeError};

/// Archive formats that agents can open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ArchiveFormat {
    #[serde(rename = "zip")]
    Zip,
    #[serde(rename = "tar.gz")]
    TarGz,
}

impl fmt::Display for ArchiveFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
        })
    }
}

/// An archive in fragments, with the digests of the whole and of each fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawArchive", into = "RawArchive")]
pub struct Archive {
    format: ArchiveFormat,
    bytes: u64,
    sha256: Sha256Digest,
    fragment_size: FragmentSize,
    fragments: Vec<Sha256Digest>,
}

/// Errors in the description of an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveShapeError {
    #[error("the archive is empty")]
    Empty,
    #[error("expected {expected} fragment digests for {bytes} bytes, found {given}")]
    Count {
        bytes: u64,
        expected: u32,
        given: usize,
    },
    #[error(transparent)]
    FragmentSize(#[from] FragmentSizeError),
}

impl Archive {
    /// Describes an archive of `bytes` bytes by its digest and the digests of its fragments, in
    /// order.
    pub fn new(
        format: ArchiveFormat,
        bytes: u64,
        sha256: Sha256Digest,
        fragment_size: FragmentSize,
        fragments: Vec<Sha256Digest>,
    ) -> Result<Self, ArchiveShapeError> {
        if bytes == 0 {
            return Err(ArchiveShapeError::Empty);
        }
        let expected = fragment_size.count(bytes)?;
        if fragments.len() != expected as usize {
            return Err(ArchiveShapeError::Count {
                bytes,
                expected,
                given: fragments.len(),
            });
        }
        Ok(Self {
            format,
            bytes,
            sha256,
            fragment_size,
            fragments,
        })
    }

    pub const fn format(&self) -> ArchiveFormat {
        self.format
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub const fn sha256(&self) -> Sha256Digest {
        self.sha256
    }

    pub const fn fragment_size(&self) -> FragmentSize {
        self.fragment_size
    }

    /// Returns the number, length in bytes and digest of each fragment, in order.
    pub fn fragments(&self) -> impl Iterator<Item = (FragmentNumber, u64, Sha256Digest)> + '_ {
        fragment::ranges(self.bytes, self.fragment_size)
            .zip(&self.fragments)
            .map(|((number, range), digest)| (number, range.end - range.start, *digest))
    }

    /// Returns the number of fragments, which is at least one because no archive is empty.
    pub fn fragment_count(&self) -> NonZeroU32 {
        u32::try_from(self.fragments.len())
            .ok()
            .and_then(NonZeroU32::new)
            .expect("an archive has 1 to 50,000 fragments")
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename = "Archive", deny_unknown_fields)]
struct RawArchive {
    format: ArchiveFormat,
    bytes: u64,
    sha256: Sha256Digest,
    fragment_size: FragmentSize,
    fragments: Vec<Sha256Digest>,
}

impl TryFrom<RawArchive> for Archive {
    type Error = ArchiveShapeError;

    fn try_from(raw: RawArchive) -> Result<Self, Self::Error> {
        Self::new(
            raw.format,
            raw.bytes,
            raw.sha256,
            raw.fragment_size,
            raw.fragments,
        )
    }
}

impl From<Archive> for RawArchive {
    fn from(archive: Archive) -> Self {
        let Archive {
            format,
            bytes,
            sha256,
            fragment_size,
            fragments,
        } = archive;
        Self {
            format,
            bytes,
            sha256,
            fragment_size,
            fragments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(messages([
            ArchiveShapeError::Empty,
            ArchiveShapeError::Count {
                bytes: 2500,
                expected: 3,
                given: 2,
            },
        ]), @"
        the archive is empty
        expected 3 fragment digests for 2500 bytes, found 2
        ");
    }
}
