//! The pacing options, which set the pauses of OCS agents and the order of announcements.

use jiff::{Span, SpanRelativeTo};
use packcast_rollout::pacing::{CheckInHours, PauseS, TimeoutDays, UpTo};
use packcast_rollout::{PacingChange, PacingOverride};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Pause after each fragment, such as 2s
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    fragment_pause: Option<PauseS>,
    /// Pause after each cycle of downloads, such as 5s
    ///
    /// A package of priority 5 has its turn in every fifth cycle.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    cycle_pause: Option<PauseS>,
    /// Pause after each period of ten or more cycles, such as 1m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    period_pause: Option<PauseS>,
    /// Time between check-ins of an agent that runs as a service, such as 4h
    #[arg(long, value_name = "TIME", value_parser = hours)]
    check_in_every: Option<CheckInHours>,
    /// Time after which the agent drops a package that it could not deploy, such as 30d
    #[arg(long, value_name = "TIME", value_parser = days)]
    drop_after: Option<TimeoutDays>,
    /// Announce the packages of one priority at a time
    #[arg(long, conflicts_with = "no_strict")]
    strict: bool,
    /// Announce the packages of all priorities together
    #[arg(long)]
    no_strict: bool,
}

impl Settings {
    /// Returns the change that these options request; `None` if no option is given.
    pub(crate) fn change(self, reset: bool) -> Option<PacingChange> {
        let settings = PacingOverride {
            fragment_pause_s: self.fragment_pause,
            cycle_pause_s: self.cycle_pause,
            period_pause_s: self.period_pause,
            contact_every_h: self.check_in_every,
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

/// Writes the settings that are set; nothing if none is.
pub(crate) fn words(pacing: &PacingOverride) -> String {
    let number = |name: &str, number: Option<u16>, unit: &str| {
        number.map(|number| format!("{name} {number}{unit}"))
    };
    let strict = |strict| if strict { "strict" } else { "not strict" };
    let words = [
        number(
            "fragment pause",
            pacing.fragment_pause_s.map(UpTo::get),
            "s",
        ),
        number("cycle pause", pacing.cycle_pause_s.map(UpTo::get), "s"),
        number("period pause", pacing.period_pause_s.map(UpTo::get), "s"),
        number("check-in every", pacing.contact_every_h.map(UpTo::get), "h"),
        number("drop after", pacing.timeout_days.map(UpTo::get), "d"),
        pacing.strict.map(|set| strict(set).to_owned()),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Error for a text that is not a time within the limits.
#[derive(Debug, thiserror::Error)]
#[error("expected a time from 1{unit} to {most}{unit}, in whole {name}")]
pub(crate) struct PacingTimeError {
    unit: char,
    name: &'static str,
    most: u16,
}

fn seconds(text: &str) -> Result<PauseS, PacingTimeError> {
    whole(text, ('s', "seconds", 1))
}

fn hours(text: &str) -> Result<CheckInHours, PacingTimeError> {
    whole(text, ('h', "hours", 3_600))
}

/// Reads a number of days, at most ten years.
pub(crate) fn days(text: &str) -> Result<TimeoutDays, PacingTimeError> {
    whole(text, ('d', "days", 24 * 3_600))
}

/// Reads a time in a form such as `90s`, `1m 30s` or `30d`.
fn whole<const MOST: u16>(
    text: &str,
    (unit, name, unit_s): (char, &'static str, i64),
) -> Result<UpTo<MOST>, PacingTimeError> {
    let count = || {
        let span: Span = text.parse().ok()?;
        let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let is_whole = time.subsec_nanos() == 0 && time.as_secs() % unit_s == 0;
        let count = u16::try_from(time.as_secs() / unit_s).ok();
        count.filter(|_| is_whole).and_then(UpTo::new)
    };
    let most = MOST;
    count().ok_or(PacingTimeError { unit, name, most })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn times_may_be_written_in_several_forms() {
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
        assert_snapshot!(hours("90m").unwrap_err(), @"expected a time from 1h to 168h, in whole hours");
    }

    #[test]
    fn only_settings_that_are_set_are_written() {
        assert_eq!(words(&PacingOverride::default()), "");
        let pacing = PacingOverride {
            cycle_pause_s: UpTo::new(5),
            timeout_days: UpTo::new(30),
            strict: Some(false),
            ..PacingOverride::default()
        };
        assert_eq!(words(&pacing), "cycle pause 5s, drop after 30d, not strict");
        let pacing = PacingOverride {
            fragment_pause_s: UpTo::new(2),
            cycle_pause_s: UpTo::new(5),
            period_pause_s: UpTo::new(60),
            contact_every_h: UpTo::new(4),
            timeout_days: UpTo::new(30),
            strict: Some(true),
        };
        assert_snapshot!(words(&pacing), @"fragment pause 2s, cycle pause 5s, period pause 60s, check-in every 4h, drop after 30d, strict");
    }
}
