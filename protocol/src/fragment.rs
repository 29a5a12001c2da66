//! Fragments of an archive: their size, their numbers and their byte ranges.

use std::fmt;
use std::num::NonZeroU64;
use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// Largest number of fragments of a package.
///
/// The manifest names a digest for each fragment, and has at most 4 MiB.
pub const MAX_FRAGMENTS: u32 = 50_000;

/// Length in bytes of every fragment but the last: 1 KiB to 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct FragmentSize(NonZeroU64);

/// Errors in the size or the number of fragments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentSizeError {
    #[error("expected a fragment size from 1KiB to 4GiB, found {bytes} bytes")]
    OutOfRange { bytes: u64 },
    #[error(
        "{bytes} bytes in fragments of {size} bytes are more than {MAX_FRAGMENTS} fragments: choose a larger fragment size"
    )]
    TooMany { bytes: u64, size: u64 },
}

impl FragmentSize {
    /// Returns the default size for an archive.
    ///
    /// The size is 1 MiB for archives up to 64 MiB. For larger ones, it is a 64th of the
    /// archive rounded up to a MiB, at most 64 MiB. An OCS agent fetches one fragment in each
    /// cycle, so fewer fragments deploy faster.
    pub fn auto(archive_bytes: u64) -> Self {
        let size = archive_bytes
            .div_ceil(64)
            .next_multiple_of(MIB)
            .clamp(MIB, 64 * MIB);
        Self(NonZeroU64::new(size).expect("clamped to at least 1 MiB"))
    }

    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the length of the longest archive, which has [`MAX_FRAGMENTS`] fragments of this size.
    pub const fn longest_archive(self) -> u64 {
        MAX_FRAGMENTS as u64 * self.get()
    }

    /// Returns the number of fragments of an archive with `bytes` bytes, 0 if it is empty.
    ///
    /// # Errors
    /// An archive with more than [`MAX_FRAGMENTS`] fragments is refused.
    pub fn count(self, bytes: u64) -> Result<u32, FragmentSizeError> {
        u32::try_from(bytes.div_ceil(self.get()))
            .ok()
            .filter(|count| *count <= MAX_FRAGMENTS)
            .ok_or(FragmentSizeError::TooMany {
                bytes,
                size: self.get(),
            })
    }
}

impl TryFrom<u64> for FragmentSize {
    type Error = FragmentSizeError;

    fn try_from(bytes: u64) -> Result<Self, Self::Error> {
        NonZeroU64::new(bytes)
            .filter(|size| (1 << 10..=1 << 32).contains(&size.get()))
            .map(Self)
            .ok_or(FragmentSizeError::OutOfRange { bytes })
    }
}

impl From<FragmentSize> for u64 {
    fn from(size: FragmentSize) -> Self {
        size.get()
    }
}

impl JsonSchema for FragmentSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FragmentSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1024, "maximum": 4_294_967_296_u64 })
    }
}

/// Number of a fragment in its package, counted from 1 as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentNumber(u32);

impl FragmentNumber {
    /// Returns the number of the fragment at `index`, counted from 0.
    pub const fn from_index(index: u32) -> Self {
        Self(index + 1)
    }

    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the index counted from 0, for a list of digests.
    pub const fn index(self) -> usize {
        self.0 as usize - 1
    }
}

impl fmt::Display for FragmentNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Returns the byte range of every fragment, in order.
///
/// Each fragment but the last is exactly `size` bytes long, so the ranges follow from two
/// numbers and are never stored. An empty archive has no fragments.
pub fn ranges(
    bytes: u64,
    size: FragmentSize,
) -> impl Iterator<Item = (FragmentNumber, Range<u64>)> {
    // The range is finite, so that a hostile length cannot make the iteration endless.
    (0..MAX_FRAGMENTS)
        .map(move |index| (index, u64::from(index) * size.get()))
        .take_while(move |(_, start)| *start < bytes)
        .map(move |(index, start)| {
            (
                FragmentNumber::from_index(index),
                start..bytes.min(start + size.get()),
            )
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::causes::messages;

    #[test]
    fn automatic_size_grows_with_the_archive() {
        let check =
            |archive: u64, mib: u64| assert_eq!(FragmentSize::auto(archive).get(), mib * MIB);
        check(0, 1);
        check(64 * MIB, 1);
        check(64 * MIB + 1, 2);
        check(1 << 30, 16);
        check(1 << 40, 64);
    }

    #[test]
    fn the_longest_archive_has_the_largest_number_of_fragments() {
        for size in [1 << 10, MIB + 1, 1 << 32] {
            let size = FragmentSize::try_from(size).unwrap();
            assert_eq!(size.count(size.longest_archive()), Ok(MAX_FRAGMENTS));
            size.count(size.longest_archive() + 1).unwrap_err();
        }
    }

    #[test]
    fn error_messages() {
        insta::assert_snapshot!(messages([
            FragmentSize::try_from(1_000).unwrap_err(),
            FragmentSize::auto(0).count(u64::MAX).unwrap_err(),
        ]), @r"
        expected a fragment size from 1KiB to 4GiB, found 1000 bytes
        18446744073709551615 bytes in fragments of 1048576 bytes are more than 50000 fragments: choose a larger fragment size
        ");
    }

    proptest! {
        #[test]
        fn ranges_cover_the_archive_once(bytes in 0_u64..1 << 26, size in 1024_u64..1 << 22) {
            let size = FragmentSize::try_from(size).unwrap();
            prop_assume!(size.count(bytes).is_ok());
            let mut end = 0;
            let mut count = 0;
            for (number, range) in ranges(bytes, size) {
                prop_assert_eq!(range.start, end);
                prop_assert!(!range.is_empty());
                count += 1;
                prop_assert_eq!(number.get(), count);
                end = range.end;
            }
            prop_assert_eq!(end, bytes);
            prop_assert_eq!(count, size.count(bytes).unwrap());
        }
    }
}
