//! Counts of rollouts that need an administrator: halted ones, and full ones without news.
//!
//! A rollout stops by itself, so an administrator must learn that it has stopped.

use std::collections::BTreeMap;
use std::fmt;

use packcast_protocol::state::RolloutId;
use packcast_protocol::{PackageId, UnixTime};
use serde_json::{Value, json};

use crate::refusals::METRIC_NAMESPACE;

/// Name of the metric: rollouts that failures have halted, counted in the request of the last failure,
/// and in requests that meet the halted gate within an hour.
pub const HALTED_ROLLOUTS: &str = "HaltedRollouts";

/// Name of the metric: rollouts whose places are all taken, without news.
pub const FULL_ROLLOUTS: &str = "FullRollouts";

/// Shortest time between two lines of one function without a rollout that has just halted, in seconds.
const LINE_EVERY_S: u64 = 60;

/// Maximum number of rollouts of each kind that a line names.
const NAMED: usize = 3;

/// Rollouts with their packages, since the last line of the log about them.
#[derive(Debug, Default)]
pub(crate) struct RolloutCounter {
    halted: BTreeMap<RolloutId, PackageId>,
    full: BTreeMap<RolloutId, PackageId>,
    /// A request since the last line has halted a rollout.
    has_new_halt: bool,
    last_line: Option<UnixTime>,
}

impl RolloutCounter {
    /// Counts a rollout that the result of this request has halted.
    pub(crate) fn count_halted(&mut self, rollout: RolloutId, package: PackageId) {
        self.halted.insert(rollout, package);
        self.has_new_halt = true;
    }

    /// Counts a rollout that was halted before this request, once in each line.
    pub(crate) fn count_still_halted(&mut self, rollout: RolloutId, package: PackageId) {
        self.halted.insert(rollout, package);
    }

    /// Counts a full rollout without news, once in each line.
    pub(crate) fn count_full(&mut self, rollout: RolloutId, package: PackageId) {
        self.full.insert(rollout, package);
    }

    /// Returns the counts and resets them to zero: at once if this request has halted a rollout,
    /// and otherwise at most once a minute.
    pub(crate) fn take_due(&mut self, now: UnixTime) -> Option<RolloutCounts> {
        // A clock that was set back must not silence the counter.
        let is_early = |last: UnixTime| last <= now && now.since(last) < LINE_EVERY_S;
        let is_empty = self.halted.is_empty() && self.full.is_empty();
        let is_due = self.has_new_halt || !is_empty && !self.last_line.is_some_and(is_early);
        if !is_due {
            return None;
        }
        self.last_line = Some(now);
        self.has_new_halt = false;
        Some(RolloutCounts {
            at: now,
            halted: std::mem::take(&mut self.halted),
            full: std::mem::take(&mut self.full),
        })
    }
}

/// Halted rollouts, and full rollouts without news, since the last line of the log about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutCounts {
    at: UnixTime,
    halted: BTreeMap<RolloutId, PackageId>,
    full: BTreeMap<RolloutId, PackageId>,
}

impl RolloutCounts {
    /// Returns the line in the embedded metric format of `CloudWatch`: at most 1 KiB of JSON.
    pub fn to_metric(&self, function_name: &str) -> String {
        let metrics = [HALTED_ROLLOUTS, FULL_ROLLOUTS];
        let named = metrics.map(|name| json!({ "Name": name, "Unit": "Count" }));
        let mut line = json!({
            "_aws": {
                "Timestamp": self.at.0.saturating_mul(1000),
                "CloudWatchMetrics": [{
                    "Namespace": METRIC_NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": named,
                }],
            },
            "FunctionName": function_name,
            "halted": first(&self.halted),
            "full": first(&self.full),
        });
        line[HALTED_ROLLOUTS] = self.halted.len().into();
        line[FULL_ROLLOUTS] = self.full.len().into();
        line.to_string()
    }
}

/// Returns the first rollouts, each with its package.
fn first(rollouts: &BTreeMap<RolloutId, PackageId>) -> Value {
    let first = rollouts.iter().take(NAMED);
    let named = first.map(|(rollout, package)| (rollout.to_string(), json!(package)));
    Value::Object(named.collect())
}

impl fmt::Display for RolloutCounts {
    /// Writes a line for people, such as `rollouts halted: 1 (package 1795000000), full without news: 0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = |rollouts: &BTreeMap<RolloutId, PackageId>| {
            let named: Vec<String> = rollouts
                .values()
                .take(NAMED)
                .map(|package| format!("package {package}"))
                .collect();
            if named.is_empty() {
                "0".to_owned()
            } else {
                format!("{} ({})", rollouts.len(), named.join(", "))
            }
        };
        write!(
            f,
            "rollouts halted: {}, full without news: {}",
            packages(&self.halted),
            packages(&self.full)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    const fn rollout(number: u8) -> RolloutId {
        RolloutId::from_bytes([number; 16])
    }

    fn package(number: u32) -> PackageId {
        PackageId::try_from(1_795_000_000 + number).unwrap()
    }

    fn both() -> RolloutCounts {
        let mut counter = RolloutCounter::default();
        counter.count_halted(rollout(1), package(1));
        counter.count_full(rollout(2), package(2));
        counter.count_full(rollout(2), package(2));
        counter.take_due(NOW).unwrap()
    }

    #[test]
    fn a_rollout_that_was_halted_before_is_due_once_a_minute() {
        let mut counter = RolloutCounter::default();
        counter.count_halted(rollout(1), package(1));
        assert!(counter.take_due(NOW).is_some());
        counter.count_still_halted(rollout(1), package(1));
        assert_eq!(counter.take_due(NOW.plus(59)), None);
        let counts = counter.take_due(NOW.plus(60)).unwrap();
        assert_eq!((counts.halted.len(), counts.full.len()), (1, 0));
        assert_eq!(counter.take_due(NOW.plus(120)), None);
    }

    #[test]
    fn full_rollouts_are_due_once_a_minute_and_halted_ones_at_once() {
        let mut counter = RolloutCounter::default();
        assert_eq!(counter.take_due(NOW), None);
        let counts = |taken: Option<RolloutCounts>| {
            let taken = taken?;
            Some((taken.halted.len(), taken.full.len()))
        };
        counter.count_full(rollout(1), package(1));
        assert_eq!(counts(counter.take_due(NOW)), Some((0, 1)));
        counter.count_full(rollout(1), package(1));
        assert_eq!(counter.take_due(NOW.plus(59)), None);
        counter.count_halted(rollout(2), package(2));
        assert_eq!(counts(counter.take_due(NOW.plus(59))), Some((1, 1)));
        counter.count_full(rollout(1), package(1));
        assert_eq!(counter.take_due(NOW.plus(118)), None);
        assert_eq!(counts(counter.take_due(NOW.plus(119))), Some((0, 1)));
        // The clock was set back.
        counter.count_full(rollout(1), package(1));
        assert_eq!(counts(counter.take_due(NOW)), Some((0, 1)));
    }

    #[test]
    fn a_line_has_the_embedded_metric_format() {
        insta::assert_snapshot!(both().to_metric("packcast-prod-check-in"), @r#"{"FullRollouts":1,"FunctionName":"packcast-prod-check-in","HaltedRollouts":1,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName"]],"Metrics":[{"Name":"HaltedRollouts","Unit":"Count"},{"Name":"FullRollouts","Unit":"Count"}],"Namespace":"Packcast"}],"Timestamp":1795000000000},"full":{"aibaeaqcaibaeaqcaibaeaqcai":"1795000002"},"halted":{"aeaqcaibaeaqcaibaeaqcaibae":"1795000001"}}"#);
        insta::assert_snapshot!(both(), @"rollouts halted: 1 (package 1795000001), full without news: 1 (package 1795000002)");
    }

    #[test]
    fn the_longest_line_has_at_most_1_kib() {
        let many: BTreeMap<_, _> = (0..99).map(|n| (rollout(n), package(n.into()))).collect();
        let longest = RolloutCounts {
            at: NOW,
            halted: many.clone(),
            full: many,
        };
        let line = longest.to_metric(&"f".repeat(64));
        assert!(line.len() <= 1024, "{} bytes: {line}", line.len());
        assert!(line.contains("\"HaltedRollouts\":99"), "{line}");
    }
}
