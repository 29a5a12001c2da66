//! The time until a stop is complete for devices that were told of a package before.

use crate::target::{LOCAL, Target};

/// Seconds for which a function may still permit a device to begin: the minute for which it keeps
/// records, its time limit of 20 s, and a margin for the clocks.
const CACHED_S: u64 = 85;

/// Returns the seconds until no function lets a device begin with a package that was stopped, or
/// announces a package of a paused target.
///
/// The function of `packcast local` drops what it has cached after each change.
pub(crate) fn complete_in_s(target: &Target) -> u64 {
    if target.name == LOCAL { 0 } else { CACHED_S }
}
