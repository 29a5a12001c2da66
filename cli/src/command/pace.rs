//! How fast stock agents work: what a group or a device can have instead of its target's pace.

use jiff::{Span, SpanRelativeTo};
use packcast_rollout::pace::{CheckInHours, PauseS, TimeoutDays, UpTo};
use packcast_rollout::{PacingChange, PacingOverride};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Let stock agents pause this long after each fragment, such as 2s
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    fragment_pause: Option<PauseS>,
    /// Let stock agents pause this long after each cycle, such as 5s
    ///
    /// A package of priority 5 has its turn in every fifth cycle.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    cycle_pause: Option<PauseS>,
    /// Let stock agents pause this long after each period, which is ten cycles or more
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    period_pause: Option<PauseS>,
    /// Let stock agents that run as a service ask this often, such as 4h
    #[arg(long, value_name = "TIME", value_parser = hours)]
    contact_every: Option<CheckInHours>,
    /// Let stock agents drop what they could not deploy in this time, such as 30d
    #[arg(long, value_name = "TIME", value_parser = days)]
    drop_after: Option<TimeoutDays>,
    /// Announce one priority level at a time
    #[arg(long, conflicts_with = "no_strict")]
    strict: bool,
    /// Announce all priority levels together
    #[arg(long)]
    no_strict: bool,
}

impl Settings {
    /// Returns the change that these options ask for; none if they ask for nothing.
    pub(crate) fn change(self, reset: bool) -> Option<PacingChange> {
        let settings = PacingOverride {
            fragment_pause_s: self.fragment_pause,
            cycle_pause_s: self.cycle_pause,
            period_pause_s: self.period_pause,
            contact_every_h: self.contact_every,
            timeout_days: self.drop_after,
            strict: (self.strict || self.no_strict).then_some(self.strict),
        };
        match settings {
            _ if reset => Some(PacingChange::Replace(settings)),
            settings if settings.is_empty() => None,
            settings => Some(PacingChange::Set(settings)),
        }
    }
}

/// Says what is set; nothing for a pace that is the target's.
pub(crate) fn words(pace: &PacingOverride) -> String {
    let number = |what: &str, number: Option<u16>, unit: &str| {
        number.map(|number| format!("{what} {number}{unit}"))
    };
    let strict = |strict| if strict { "strict" } else { "not strict" };
    let words = [
        number("fragment pause", pace.fragment_pause_s.map(UpTo::get), "s"),
        number("cycle pause", pace.cycle_pause_s.map(UpTo::get), "s"),
        number("period pause", pace.period_pause_s.map(UpTo::get), "s"),
        number("contact every", pace.contact_every_h.map(UpTo::get), "h"),
        number("drop after", pace.timeout_days.map(UpTo::get), "d"),
        pace.strict.map(|set| strict(set).to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A text that is no length of time, or one that is out of bounds.
#[derive(Debug, thiserror::Error)]
#[error("it is not a time from 1{unit} to {most}{unit}, in whole {name}")]
struct NotATime {
    unit: char,
    name: &'static str,
    most: u16,
}

fn seconds(text: &str) -> Result<PauseS, NotATime> {
    whole(text, ('s', "seconds", 1))
}

fn hours(text: &str) -> Result<CheckInHours, NotATime> {
    whole(text, ('h', "hours", 3_600))
}

fn days(text: &str) -> Result<TimeoutDays, NotATime> {
    whole(text, ('d', "days", 24 * 3_600))
}

/// Reads a time as people write it, such as `90s`, `1m 30s` or `30d`.
fn whole<const MOST: u16>(
    text: &str,
    (unit, name, unit_s): (char, &'static str, i64),
) -> Result<UpTo<MOST>, NotATime> {
    let count = || {
        let span: Span = text.parse().ok()?;
        let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let is_whole = time.subsec_nanos() == 0 && time.as_secs() % unit_s == 0;
        let count = u16::try_from(time.as_secs() / unit_s).ok();
        count.filter(|_| is_whole).and_then(UpTo::new)
    };
    let most = MOST;
    count().ok_or(NotATime { unit, name, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let pause = |text| seconds(text).ok().map(UpTo::get);
        for (text, expected) in [("2s", 2), ("90 seconds", 90), ("1m 30s", 90), ("1h", 3_600)] {
            assert_eq!(pause(text), Some(expected), "{text}");
        }
        for bad in [
            "", "2", "0s", "-2s", "1.5s", "3601s", "2h", "1 month", "soon",
        ] {
            assert_eq!(pause(bad), None, "{bad:?}");
        }
        assert_eq!(hours("1d").ok().map(UpTo::get), Some(24));
        assert_eq!(days("30d").ok().map(UpTo::get), Some(30));
        let error = hours("90m").unwrap_err().to_string();
        assert_eq!(error, "it is not a time from 1h to 168h, in whole hours");
    }

    #[test]
    fn only_what_is_set_is_said() {
        assert_eq!(words(&PacingOverride::default()), "");
        let pace = PacingOverride {
            cycle_pause_s: UpTo::new(5),
            timeout_days: UpTo::new(30),
            strict: Some(false),
            ..PacingOverride::default()
        };
        assert_eq!(words(&pace), "cycle pause 5s, drop after 30d, not strict");
    }
}
