//! Refused requests: counted, and logged together at most once a minute.
//!
//! A stranger chooses the number of refused requests. A line for each of them would let the
//! stranger choose the size of the log, too.

use std::collections::BTreeMap;
use std::fmt;

use packcast_protocol::{Excerpt, UnixTime};
use serde::Serialize;
use serde_json::json;

/// Namespace of the metric in `CloudWatch`.
pub const METRIC_NAMESPACE: &str = "Packcast";

/// Name of the metric: the number of refused requests.
pub const REFUSED_REQUESTS: &str = "RefusedRequests";

/// Shortest time between two lines of one function, in seconds.
const LINE_EVERY_S: u64 = 60;

/// Reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalKind {
    /// The request did not come through the CDN.
    Origin,
    /// The method and path do not exist, or the path token is not valid.
    Address,
    /// The body is too large.
    Size,
    /// A header of the signature is missing, repeated, too long or malformed.
    Headers,
    /// The request has neither a valid pass nor a valid enrolment token.
    Admission,
    /// The signature does not match.
    Signature,
    /// The time of the signature is too far from the function's clock.
    Clock,
    /// The content of an admitted request is invalid.
    Content,
}

/// Counts of refused requests since the last line of the log about them.
#[derive(Debug, Default)]
pub(crate) struct RefusalCounter {
    counts: BTreeMap<RefusalKind, u64>,
    content_error: Option<Excerpt>,
    last_line: Option<UnixTime>,
}

impl RefusalCounter {
    pub(crate) fn count(&mut self, kind: RefusalKind) {
        let count = self.counts.entry(kind).or_default();
        *count = count.saturating_add(1);
    }

    /// Counts an admitted request with invalid content, and keeps the error for the next line.
    pub(crate) fn count_content(&mut self, error: Excerpt) {
        self.count(RefusalKind::Content);
        self.content_error = Some(error);
    }

    /// Returns the counts and resets them to zero, if there are any and the last line is at least a
    /// minute old.
    pub(crate) fn take_due(&mut self, now: UnixTime) -> Option<RefusalCounts> {
        // A clock that was set back must not silence the counter.
        let is_early = |last: UnixTime| last <= now && now.since(last) < LINE_EVERY_S;
        if self.counts.is_empty() || self.last_line.is_some_and(is_early) {
            return None;
        }
        self.last_line = Some(now);
        Some(RefusalCounts {
            at: now,
            counts: std::mem::take(&mut self.counts),
            content_error: self.content_error.take(),
        })
    }
}

/// The refused requests of about a minute, for one line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalCounts {
    at: UnixTime,
    counts: BTreeMap<RefusalKind, u64>,
    /// The latest error in the content of an admitted request.
    content_error: Option<Excerpt>,
}

impl RefusalCounts {
    /// Returns the number of refused requests.
    pub fn total(&self) -> u64 {
        self.counts
            .values()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Returns the line in the embedded metric format of `CloudWatch`: at most 1 KiB of JSON.
    ///
    /// The metric is the total for the function of this name. The kinds are fields of the line and
    /// no metrics, because `CloudWatch` bills each metric.
    pub fn to_metric(&self, function_name: &str) -> String {
        let mut line = json!({
            "_aws": {
                "Timestamp": self.at.0.saturating_mul(1000),
                "CloudWatchMetrics": [{
                    "Namespace": METRIC_NAMESPACE,
                    "Dimensions": [["FunctionName"]],
                    "Metrics": [{ "Name": REFUSED_REQUESTS, "Unit": "Count" }],
                }],
            },
            "FunctionName": function_name,
            "refused": self.counts,
        });
        line[REFUSED_REQUESTS] = self.total().into();
        if let Some(error) = &self.content_error {
            line["content_error"] = error.as_str().into();
        }
        line.to_string()
    }
}

impl fmt::Display for RefusalCounts {
    /// Writes a line for people, such as `refused 3 requests (admission: 2, content: 1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = serde_json::to_value(&self.counts).map_err(|_| fmt::Error)?;
        let kinds = kinds.as_object().into_iter().flatten();
        let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{kind}: {n}")).collect();
        write!(
            f,
            "refused {} requests ({})",
            self.total(),
            kinds.join(", ")
        )?;
        match &self.content_error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn counts(kinds: &[RefusalKind], counter: &mut RefusalCounter, now: UnixTime) -> Option<u64> {
        for kind in kinds {
            counter.count(*kind);
        }
        Some(counter.take_due(now)?.total())
    }

    #[test]
    fn the_first_refusal_is_due_at_once_and_the_others_once_a_minute() {
        let mut counter = RefusalCounter::default();
        let counter = &mut counter;
        assert_eq!(counts(&[], counter, NOW), None);
        assert_eq!(counts(&[RefusalKind::Address], counter, NOW), Some(1));
        let kinds = [RefusalKind::Address, RefusalKind::Clock];
        assert_eq!(counts(&kinds, counter, NOW), None);
        assert_eq!(counts(&kinds, counter, NOW.plus(59)), None);
        assert_eq!(counts(&[], counter, NOW.plus(60)), Some(4));
        assert_eq!(counts(&[], counter, NOW.plus(180)), None);
        assert_eq!(counts(&kinds, counter, NOW.plus(180)), Some(2));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_the_counter() {
        let mut counter = RefusalCounter::default();
        let kinds = [RefusalKind::Origin];
        assert_eq!(counts(&kinds, &mut counter, NOW), Some(1));
        assert_eq!(counts(&kinds, &mut counter, UnixTime(1)), Some(1));
        assert_eq!(counts(&kinds, &mut counter, UnixTime(60)), None);
        assert_eq!(counts(&kinds, &mut counter, UnixTime(61)), Some(2));
    }

    fn every_kind() -> RefusalCounts {
        let mut counter = RefusalCounter::default();
        for kind in [
            RefusalKind::Origin,
            RefusalKind::Address,
            RefusalKind::Size,
            RefusalKind::Headers,
            RefusalKind::Admission,
            RefusalKind::Admission,
            RefusalKind::Signature,
            RefusalKind::Clock,
        ] {
            counter.count(kind);
        }
        counter.count_content(Excerpt::of("cannot read the request: a\n\"b\""));
        counter.take_due(NOW).unwrap()
    }

    #[test]
    fn a_line_has_the_embedded_metric_format() {
        insta::assert_snapshot!(every_kind().to_metric("packcast-prod-check-in"), @r#"{"FunctionName":"packcast-prod-check-in","RefusedRequests":9,"_aws":{"CloudWatchMetrics":[{"Dimensions":[["FunctionName"]],"Metrics":[{"Name":"RefusedRequests","Unit":"Count"}],"Namespace":"Packcast"}],"Timestamp":1795000000000},"content_error":"cannot read the request: a\\n\"b\"","refused":{"address":1,"admission":2,"clock":1,"content":1,"headers":1,"origin":1,"signature":1,"size":1}}"#);
        insta::assert_snapshot!(every_kind(), @r#"refused 9 requests (address: 1, admission: 2, clock: 1, content: 1, headers: 1, origin: 1, signature: 1, size: 1): cannot read the request: a\n"b""#);
    }

    #[test]
    fn the_longest_line_has_at_most_1_kib() {
        let kinds = every_kind().counts.into_keys();
        let longest = RefusalCounts {
            at: NOW,
            counts: kinds.map(|kind| (kind, 999_999_999)).collect(),
            // JSON writes each backslash and each quote as two bytes.
            content_error: Some(Excerpt::of(&"\\".repeat(1000))),
        };
        let line = longest.to_metric(&"f".repeat(64));
        assert!(line.len() <= 1024, "{} bytes: {line}", line.len());
        assert!(!line.contains('\n'));
    }
}
