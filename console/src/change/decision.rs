//! Decisions on changes, to compare the one that is made with the one that was shown.

use std::collections::BTreeSet;

use packcast_protocol::Sha256Digest;

/// The decision on a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    digest: Sha256Digest,
    /// The parts of a change that stops something.
    parts: BTreeSet<Sha256Digest>,
    /// The number of devices; `None` if it does not matter.
    devices: Option<u64>,
}

impl Decision {
    /// Creates the decision on a change that starts something on this number of devices.
    pub(crate) fn starting(all: &str, devices: u64) -> Self {
        Self {
            digest: Sha256Digest::of(all.as_bytes()),
            parts: BTreeSet::new(),
            devices: Some(devices),
        }
    }

    /// Creates the decision on a change that only stops something.
    pub(crate) fn stopping(always: &str, parts: &[String]) -> Self {
        let parts = parts.iter().map(|part| Sha256Digest::of(part.as_bytes()));
        Self {
            digest: Sha256Digest::of(always.as_bytes()),
            parts: parts.collect(),
            devices: None,
        }
    }

    /// Returns true if this decision does nothing that was not shown.
    pub(super) fn is_as_shown(&self, shown: &Self) -> bool {
        let has_few_more = match (self.devices, shown.devices) {
            (Some(now), Some(shown)) => now <= shown + shown / 10,
            _ => true,
        };
        self.digest == shown.digest && self.parts.is_subset(&shown.parts) && has_few_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starting(devices: u64) -> Decision {
        Decision::starting("assigns", devices)
    }

    fn stopping(parts: &[&str]) -> Decision {
        let parts: Vec<String> = parts.iter().map(|&part| part.to_owned()).collect();
        Decision::stopping("deactivates", &parts)
    }

    #[test]
    fn a_start_may_reach_a_few_more_devices_and_a_stop_may_concern_less() {
        let is_as_shown = |now: Decision, shown: Decision| now.is_as_shown(&shown);
        assert!(is_as_shown(starting(1_100), starting(1_000)));
        assert!(is_as_shown(starting(7), starting(1_000)));
        assert!(!is_as_shown(starting(1_101), starting(1_000)));
        assert!(!is_as_shown(starting(3), starting(2)));
        assert!(is_as_shown(stopping(&["a"]), stopping(&["a", "b"])));
        assert!(!is_as_shown(stopping(&["a", "c"]), stopping(&["a", "b"])));
    }
}
