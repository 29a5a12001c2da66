//! Counts about the signed state: devices that refuse it, and the days until it expires.
//!
//! If the owner of a table puts an earlier state back, only devices notice. So an administrator
//! must learn that devices refuse the state.

use std::collections::BTreeMap;
use std::fmt;

use packcast_protocol::state::{CommitId, HeldState};
use packcast_protocol::{DeviceId, UnixTime};
use serde_json::{Value, json};

use crate::refusals::METRIC_NAMESPACE;

/// Name of the metric: the check-ins of devices that have refused a state.
pub const REFUSED_STATES: &str = "RefusedStates";

/// Name of the metric: the check-ins of devices whose commit is above the head.
pub const COMMITS_ABOVE_HEAD: &str = "CommitsAboveHead";

/// Name of the metric: the whole days until the head or the newest key list expires.
pub const STATE_DAYS_LEFT: &str = "StateDaysLeft";

/// Shortest time between two lines of one function, in seconds.
const LINE_EVERY_S: u64 = 60;

/// Shortest time between two lines that have the remaining days only, in seconds.
const DAYS_EVERY_S: u64 = 3_600;

/// Age from which a commit above the head counts, in seconds. Another instance of the function may
/// have read a later head a moment ago.
const LATE_S: u64 = 60;

const DAY_S: u64 = 24 * 3600;

/// The head that a function has read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadHead {
    /// Number of the head; 0 before the first commit of the target.
    pub(crate) number: u64,
    /// Time at which the head or the newest key list expires. `None` before the first commit.
    pub(crate) expires: Option<UnixTime>,
}

/// Counts since the last line of the log about them.
#[derive(Debug, Default)]
pub(crate) struct StateCounter {
    counts: Counts,
    last_line: Option<UnixTime>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Number of check-ins for each reason of a refusal.
    refused: BTreeMap<String, u64>,
    above_head: u64,
    /// The device that was counted last.
    device: Option<DeviceId>,
}

impl StateCounter {
    /// Counts a check-in by the state that the device holds.
    pub(crate) fn count(
        &mut self,
        device: &DeviceId,
        held: &HeldState,
        current: Option<&ReadHead>,
        now: UnixTime,
    ) {
        let is_above = current.zip(held.commit).is_some_and(|(current, commit)| {
            commit.number > current.number && is_late(commit, now)
        });
        if let Some(refused) = held.refused {
            let word = serde_json::to_value(refused.reason).unwrap_or_default();
            let word = word.as_str().unwrap_or_default().to_owned();
            *self.counts.refused.entry(word).or_default() += 1;
        }
        self.counts.above_head += u64::from(is_above);
        if is_above || held.refused.is_some() {
            self.counts.device = Some(device.clone());
        }
    }

    /// Returns the counts and resets them to zero, at most once a minute. Without counts, the
    /// remaining days of a head alone are due once an hour.
    pub(crate) fn take_due(
        &mut self,
        head: Option<&ReadHead>,
        now: UnixTime,
    ) -> Option<StateCounts> {
        let expires = head.and_then(|head| head.expires);
        let has_counts = self.counts != Counts::default();
        let every_s = if has_counts {
            LINE_EVERY_S
        } else {
            DAYS_EVERY_S
        };
        // A clock that was set back must not silence the counter.
        let is_early = |last: UnixTime| last <= now && now.since(last) < every_s;
        if (!has_counts && expires.is_none()) || self.last_line.is_some_and(is_early) {
            return None;
        }
        self.last_line = Some(now);
        Some(StateCounts {
            at: now,
            counts: std::mem::take(&mut self.counts),
            days_left: expires.map(|expires| expires.since(now) / DAY_S),
        })
    }
}

const fn is_late(commit: CommitId, now: UnixTime) -> bool {
    // The number of a commit is the time of its signature, unless the publisher's clock is behind.
    commit.number.saturating_add(LATE_S) <= now.0
}

/// The check-ins of about a minute that concern the signed state, for one line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateCounts {
    at: UnixTime,
    counts: Counts,
    days_left: Option<u64>,
}

impl StateCounts {
    /// Returns the number of check-ins of devices that have refused a state.
    fn refused(&self) -> u64 {
        self.counts.refused.values().sum()
    }

    /// Returns true if a device refuses the state, or holds a commit above the head.
    pub fn is_problem(&self) -> bool {
        self.refused() > 0 || self.counts.above_head > 0
    }

    /// Returns the line in the embedded metric format of `CloudWatch`: at most 1 KiB of JSON.
    pub fn to_metric(&self, function_name: &str) -> String {
        let mut metrics = vec![
            (REFUSED_STATES, self.refused()),
            (COMMITS_ABOVE_HEAD, self.counts.above_head),
        ];
        metrics.extend(self.days_left.map(|days| (STATE_DAYS_LEFT, days)));
        let named = metrics.iter().map(|(name, _)| {
            let unit = if *name == STATE_DAYS_LEFT {
                "None"
            } else {
                "Count"
            };
            json!({ "Name": name, "Unit": unit })
        });
        let mut line = json!({
            "_aws": {
                "Timestamp": self.at.0.saturating_mul(1000),
                "CloudWatchMetrics": [{
                    "Namespace": METRIC_NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": named.collect::<Vec<Value>>(),
                }],
            },
            "FunctionName": function_name,
        });
        for (name, value) in metrics {
            line[name] = value.into();
        }
        if self.is_problem() {
            line["refused_states"] = json!(self.counts.refused);
            line["device"] = json!(self.counts.device);
        }
        line.to_string()
    }
}

impl fmt::Display for StateCounts {
    /// Writes a line for people, without the remaining days.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.counts.refused.iter();
        let words: Vec<String> = words.map(|(word, n)| format!("{word}: {n}")).collect();
        let (refused, above) = (self.refused(), self.counts.above_head);
        write!(f, "check-ins that refuse a state: {refused}")?;
        if !words.is_empty() {
            write!(f, " ({})", words.join(", "))?;
        }
        write!(f, ", with a commit above the head: {above}")?;
        match &self.counts.device {
            Some(device) => write!(f, "; the last by {device}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::exchange::{RefusalWord, RefusedState};

    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);
    const HEAD: ReadHead = ReadHead {
        number: NOW.0 - 1000,
        expires: Some(UnixTime(NOW.0 + 20 * DAY_S - 1)),
    };

    fn device() -> DeviceId {
        "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap()
    }

    fn holding(number: u64, reason: Option<RefusalWord>) -> HeldState {
        let digest = Sha256Digest::of(b"");
        HeldState {
            commit: Some(CommitId { number, digest }),
            refused: reason.map(|reason| RefusedState {
                commit: None,
                reason,
            }),
            ..HeldState::default()
        }
    }

    fn counted(held: &[HeldState]) -> StateCounts {
        let mut counter = StateCounter::default();
        for held in held {
            counter.count(&device(), held, Some(&HEAD), NOW);
        }
        counter.take_due(Some(&HEAD), NOW).unwrap()
    }

    #[test]
    fn a_commit_counts_as_above_the_head_after_a_minute() {
        let check = |number: u64, expected: u64| {
            let counts = counted(&[holding(number, None)]);
            assert_eq!(counts.counts.above_head, expected, "{number}");
            assert_eq!(counts.is_problem(), expected > 0);
        };
        check(HEAD.number - 1, 0);
        check(HEAD.number, 0);
        check(HEAD.number + 1, 1);
        check(NOW.0 - 60, 1);
        check(NOW.0 - 59, 0);
        check(u64::MAX, 0);
        let mut counter = StateCounter::default();
        counter.count(&device(), &holding(NOW.0 - 60, None), None, NOW);
        assert_eq!(counter.take_due(None, NOW), None);
    }

    #[test]
    fn counts_are_due_once_a_minute_and_days_once_an_hour() {
        let mut counter = StateCounter::default();
        let mut due = |head, now| {
            let counts = counter.take_due(head, now)?;
            assert!(!counts.is_problem());
            counts.days_left
        };
        assert_eq!(due(None, NOW), None);
        assert_eq!(due(Some(&HEAD), NOW), Some(19));
        assert_eq!(due(Some(&HEAD), NOW.plus(3_599)), None);
        assert_eq!(due(Some(&HEAD), NOW.plus(3_600)), Some(19));
        assert_eq!(due(Some(&HEAD), NOW.plus(DAY_S)), Some(18));
        let later = NOW.plus(30 * DAY_S);
        assert_eq!(due(Some(&HEAD), later), Some(0));
        let refused = holding(1, Some(RefusalWord::Fork));
        counter.count(&device(), &refused, None, later);
        assert_eq!(counter.take_due(None, later.plus(59)), None);
        let counts = counter.take_due(None, later.plus(60)).unwrap();
        assert!(counts.is_problem());
        assert_eq!(counts.days_left, None);
        assert_eq!(counter.take_due(None, later.plus(7_200)), None);
    }

    #[test]
    fn a_line_has_the_embedded_metric_format() {
        let idle = counted(&[holding(HEAD.number, None)]);
        insta::assert_snapshot!(idle.to_metric("packcast-prod-check-in"), @r#"{"CommitsAboveHead":0,"FunctionName":"packcast-prod-check-in","RefusedStates":0,"StateDaysLeft":19,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName"]],"Metrics":[{"Name":"RefusedStates","Unit":"Count"},{"Name":"CommitsAboveHead","Unit":"Count"},{"Name":"StateDaysLeft","Unit":"None"}],"Namespace":"Packcast"}],"Timestamp":1795000000000}}"#);
        let problems = counted(&[
            holding(HEAD.number + 1, None),
            holding(1, Some(RefusalWord::Fork)),
            holding(1, Some(RefusalWord::LeavesOut)),
            holding(1, Some(RefusalWord::Fork)),
        ]);
        insta::assert_snapshot!(problems.to_metric("packcast-prod-check-in"), @r#"{"CommitsAboveHead":1,"FunctionName":"packcast-prod-check-in","RefusedStates":3,"StateDaysLeft":19,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName"]],"Metrics":[{"Name":"RefusedStates","Unit":"Count"},{"Name":"CommitsAboveHead","Unit":"Count"},{"Name":"StateDaysLeft","Unit":"None"}],"Namespace":"Packcast"}],"Timestamp":1795000000000},"device":"key:aaaaaaaaaaaaaaaaaaaaaaaaaa","refused_states":{"fork":2,"leaves_out":1}}"#);
        insta::assert_snapshot!(problems, @"check-ins that refuse a state: 3 (fork: 2, leaves_out: 1), with a commit above the head: 1; the last by key:aaaaaaaaaaaaaaaaaaaaaaaaaa");
        insta::assert_snapshot!(idle, @"check-ins that refuse a state: 0, with a commit above the head: 0");
    }

    #[test]
    fn the_longest_line_has_at_most_1_kib() {
        let words = [
            RefusalWord::LeavesOut,
            RefusalWord::NotShown,
            RefusalWord::Fork,
            RefusalWord::Stale,
            RefusalWord::Key,
            RefusalWord::Target,
            RefusalWord::Tree,
            RefusalWord::Unreadable,
            RefusalWord::Other,
        ];
        let mut longest = counted(&words.map(|word| holding(HEAD.number + 1, Some(word))));
        longest.counts.above_head = u64::from(u32::MAX);
        for count in longest.counts.refused.values_mut() {
            *count = u64::from(u32::MAX);
        }
        let line = longest.to_metric(&"f".repeat(64));
        assert!(line.len() <= 1024, "{} bytes: {line}", line.len());
    }
}
