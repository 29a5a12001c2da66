//! Daily facts of a device: on record once, and written only when they change.

use packcast_protocol::api::{DailyFacts, DeviceFacts, SiteLabel};
use packcast_protocol::state::exchange::DigestPrefix;
use packcast_protocol::{DeviceId, UnixTime};
use serde::{Deserialize, Serialize};

const DAY_S: u64 = 24 * 3600;

/// The daily facts on record of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsRecord {
    pub device: DeviceId,
    /// Time of the check-in with which the facts were written.
    pub at: UnixTime,
    #[serde(flatten)]
    pub facts: DailyFacts,
}

/// The mark of a device's facts in its own record. With the mark, a check-in with daily facts reads
/// no further item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactsMark {
    /// Start of the digest of the facts on record.
    pub digest: DigestPrefix,
    /// Time of the check-in with which the facts were written.
    pub at: UnixTime,
    /// Label of the device's site, for lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteLabel>,
}

/// Effect of the daily facts in a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FactsEffect {
    /// The check-in has no daily facts.
    NotStated,
    /// The facts are on record.
    OnRecord,
    /// The facts are to be written, with this mark.
    Write(FactsMark),
    /// Other facts were written less than a day ago. The device sends the facts again.
    Later,
}

/// Decides on daily facts.
///
/// Facts that differ from those on record are written at most once a day, and always if `renamed`:
/// if the host name, the operating system or the agent has changed.
pub fn facts_effect(
    known: Option<&FactsMark>,
    facts: Option<&DailyFacts>,
    renamed: bool,
    now: UnixTime,
) -> FactsEffect {
    let Some(facts) = facts else {
        return FactsEffect::NotStated;
    };
    let digest = facts.digest();
    match known {
        Some(known) if known.digest == digest => FactsEffect::OnRecord,
        Some(known) if !renamed && now.since(known.at) < DAY_S => FactsEffect::Later,
        _ => FactsEffect::Write(FactsMark {
            digest,
            at: now,
            site: facts.values().site.clone(),
        }),
    }
}

/// Returns the operating system that a Packcast agent reports, with the architecture. `None` keeps
/// the recorded one.
///
/// Only daily facts have the name and the version of the system. Without daily facts on record, the
/// family of the system takes their place.
pub fn reported_system(
    known: Option<&FactsMark>,
    reported: &DeviceFacts,
    daily: Option<&DailyFacts>,
) -> Option<String> {
    let values = daily.map(DailyFacts::values);
    let arch = reported.arch.as_str();
    match values.and_then(|values| Some((values.os_name.as_ref()?, values.os_version.as_ref()))) {
        Some((name, None)) => Some(format!("{name} {arch}")),
        Some((name, Some(version))) => Some(format!("{name} {version} {arch}")),
        None if daily.is_none() && known.is_some() => None,
        None => Some(format!("{} {arch}", reported.os)),
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::api::{BoundedText, FactValues};
    use packcast_protocol::state::document::PlainText;

    use super::*;
    use crate::check_in::{ReportedFacts, check_in_effect};
    use crate::record::DeviceRecord;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn facts(os_version: Option<&str>, memory_mib: u32) -> DailyFacts {
        let text = |text: &str| PlainText::shortened(text);
        DailyFacts::fitting(FactValues {
            os_name: os_version.map(|_| PlainText::shortened("Debian GNU/Linux")),
            os_version: os_version.map(text),
            memory_mib: Some(memory_mib),
            site: Some(PlainText::shortened("Zürich")),
            ..FactValues::default()
        })
    }

    #[test]
    fn other_facts_are_written_once_a_day_or_after_a_renaming() {
        let mark = |facts: &DailyFacts, at| FactsMark {
            digest: facts.digest(),
            at,
            site: facts.values().site.clone(),
        };
        let (old, new) = (facts(None, 1), facts(None, 2));
        let known = &mark(&old, NOW);
        let soon = NOW.plus(DAY_S - 1);
        let day = NOW.plus(DAY_S);
        for (known, facts, renamed, at, expected) in [
            (None, None, true, NOW, FactsEffect::NotStated),
            (Some(known), None, true, day, FactsEffect::NotStated),
            (
                None,
                Some(&old),
                false,
                NOW,
                FactsEffect::Write(known.clone()),
            ),
            (Some(known), Some(&old), false, day, FactsEffect::OnRecord),
            (Some(known), Some(&old), true, soon, FactsEffect::OnRecord),
            (Some(known), Some(&new), false, soon, FactsEffect::Later),
            // A clock that is set back writes nothing either.
            (
                Some(known),
                Some(&new),
                false,
                UnixTime(0),
                FactsEffect::Later,
            ),
            (
                Some(known),
                Some(&new),
                true,
                soon,
                FactsEffect::Write(mark(&new, soon)),
            ),
            (
                Some(known),
                Some(&new),
                false,
                day,
                FactsEffect::Write(mark(&new, day)),
            ),
        ] {
            let found = facts_effect(known, facts, renamed, at);
            assert_eq!(found, expected, "{facts:?} at {at:?}");
        }
    }

    fn device_facts() -> DeviceFacts {
        DeviceFacts {
            host_name: BoundedText::tail("web01"),
            os: BoundedText::tail("linux"),
            arch: BoundedText::tail("x86_64"),
            agent: BoundedText::tail("packcast-agent 0.1.0"),
        }
    }

    /// Returns the record and the effect of a check-in with daily facts.
    fn check_in(
        known: Option<&DeviceRecord>,
        host_name: &str,
        daily: Option<&DailyFacts>,
        now: UnixTime,
    ) -> (DeviceRecord, FactsEffect, bool) {
        let device = "key:aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let os = reported_system(
            known.and_then(|known| known.facts.as_ref()),
            &device_facts(),
            daily,
        );
        let reported = ReportedFacts {
            host_name: Some(host_name),
            agent: Some("packcast-agent 0.1.0"),
            os: os.as_deref(),
            daily,
            ..ReportedFacts::default()
        };
        let effect = check_in_effect(&device, known, &reported, now);
        let is_written = effect.write.is_some();
        let record = effect.write.or_else(|| known.cloned()).unwrap();
        (record, effect.facts, is_written)
    }

    #[test]
    fn an_idle_check_in_keeps_the_system_of_the_daily_facts() {
        let (plain, effect, _) = check_in(None, "web01", None, NOW);
        assert_eq!(
            (plain.os.as_str(), effect),
            ("linux x86_64", FactsEffect::NotStated)
        );
        let daily = facts(Some("12 (bookworm)"), 1);
        let (record, effect, _) = check_in(Some(&plain), "web01", Some(&daily), NOW);
        assert_eq!(record.os, "Debian GNU/Linux 12 (bookworm) x86_64");
        let mark = record.facts.clone().unwrap();
        assert_eq!(mark.site.as_ref().unwrap().as_str(), "Zürich");
        assert_eq!(effect, FactsEffect::Write(mark));
        for daily in [None, Some(&daily)] {
            let (same, _, is_written) = check_in(Some(&record), "web01", daily, NOW.plus(60));
            assert_eq!((is_written, &same), (false, &record));
        }
        // Without a name of the system, its family is known.
        let nameless = facts(None, 1);
        let (record, ..) = check_in(Some(&record), "web01", Some(&nameless), NOW.plus(60));
        assert_eq!(record.os, "linux x86_64");
    }

    #[test]
    fn a_new_version_of_the_system_and_a_new_host_name_are_written_at_once() {
        let old = facts(Some("12"), 1);
        let (record, ..) = check_in(None, "web01", Some(&old), NOW);
        let full = facts(Some("12"), 2);
        let (record, effect, is_written) = check_in(Some(&record), "web01", Some(&full), NOW);
        assert_eq!((effect, is_written), (FactsEffect::Later, false));
        let (record, effect, _) = check_in(Some(&record), "web02", Some(&full), NOW);
        assert!(matches!(effect, FactsEffect::Write(_)));
        let newer = facts(Some("13"), 2);
        let (_, effect, _) = check_in(Some(&record), "web02", Some(&newer), NOW);
        assert!(matches!(effect, FactsEffect::Write(_)));
    }

    #[test]
    fn facts_of_a_device_without_budget_are_not_on_record() {
        let (mut record, ..) = check_in(None, "web01", None, NOW);
        while let Some(budget) = record.budget.spend(NOW) {
            record.budget = budget;
        }
        let daily = facts(None, 1);
        let (same, effect, is_written) = check_in(Some(&record), "web01", Some(&daily), NOW);
        assert_eq!((effect, is_written), (FactsEffect::Later, false));
        assert_eq!(same.facts, None);
    }
}
