//! Write budget: a limit for the writes that a device can cause on its own.
//!
//! Most writes of a check-in follow from a change that an administrator has made: a task is
//! announced once, and ends once. Three kinds of writes could be repeated without end: a device
//! reports other facts or other waiting packages, an OCS agent sends an inventory, and a Packcast
//! agent cancels a task that is still assigned, which begins the next attempt. These writes spend
//! the budget, which is in the record that each check-in reads anyway.

use packcast_protocol::UnixTime;
use serde::{Deserialize, Serialize};

/// Writes of one device in an hour, and twice as many in the 60 minutes around a full hour.
///
/// A normal device needs a few writes a day. At the limit, with the largest package history in
/// every inventory, a device causes about 100,000 write units a day, which cost less than 20 US
/// cents.
pub const WRITES_PER_HOUR: u16 = 20;

const HOUR_S: u64 = 3_600;

/// The writes that a device has caused in an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteBudget {
    /// The hour, counted from the Unix epoch.
    hour: u64,
    spent: u16,
}

impl WriteBudget {
    /// Returns true for a device that has never caused such a write.
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the budget after one more write; `None` if the writes of this hour are spent.
    pub const fn spend(self, now: UnixTime) -> Option<Self> {
        let hour = now.0 / HOUR_S;
        // A clock that is set back must not return writes that are spent.
        let spent = if hour > self.hour { 0 } else { self.spent };
        if spent >= WRITES_PER_HOUR {
            return None;
        }
        let hour = if hour > self.hour { hour } else { self.hour };
        Some(Self {
            hour,
            spent: spent + 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_spent_budget_is_full_again_in_the_next_hour() {
        let mut budget = WriteBudget::default();
        assert!(budget.is_untouched());
        for _ in 0..WRITES_PER_HOUR {
            budget = budget.spend(NOW).unwrap();
        }
        assert!(!budget.is_untouched());
        assert_eq!(budget.spend(NOW), None);
        assert_eq!(budget.spend(UnixTime(NOW.0 - HOUR_S)), None);
        assert!(budget.spend(NOW.plus(HOUR_S)).is_some());
    }

    proptest! {
        #[test]
        fn no_hour_has_more_writes_than_the_limit(pauses in prop::collection::vec(0..600_u64, 1..400)) {
            let (mut budget, mut now) = (WriteBudget::default(), NOW);
            let mut in_hour = BTreeMap::new();
            for pause in pauses {
                now = now.plus(pause);
                if let Some(after) = budget.spend(now) {
                    budget = after;
                    let writes = in_hour.entry(now.0 / HOUR_S).or_insert(0);
                    *writes += 1;
                    prop_assert!(*writes <= WRITES_PER_HOUR);
                } else {
                    prop_assert_eq!(in_hour[&(now.0 / HOUR_S)], WRITES_PER_HOUR);
                }
            }
        }
    }
}
