//! The pacing options, which set the pauses of OCS agents and the order of announcements.

pub(crate) use packcast_publisher::text::pacing as words;
use packcast_publisher::values::duration::{self, DAY_S, DurationError, HOUR_S};

use packcast_rollout::pacing::{CheckInHours, PauseS, TimeoutDays, UpTo};
use packcast_rollout::{PacingChange, PacingOverride};

#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Settings {
    /// Pause after each fragment, such as 2s
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    fragment_pause: Option<PauseS>,
    /// Pause after each cycle of downloads, such as 5s
    ///
    /// A package of priority 5 has its turn in every fifth cycle.
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    cycle_pause: Option<PauseS>,
    /// Pause after each period of ten or more cycles, such as 1m
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    period_pause: Option<PauseS>,
    /// Time between check-ins of an agent that runs as a service, such as 4h
    #[arg(long, value_name = "DURATION", value_parser = hours)]
    check_in_every: Option<CheckInHours>,
    /// Time after which the agent drops a package that it could not deploy, such as 30d
    #[arg(long, value_name = "DURATION", value_parser = days)]
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

fn seconds(text: &str) -> Result<PauseS, DurationError> {
    whole(text, 1)
}

fn hours(text: &str) -> Result<CheckInHours, DurationError> {
    whole(text, HOUR_S)
}

/// Reads a number of days, at most ten years.
pub(crate) fn days(text: &str) -> Result<TimeoutDays, DurationError> {
    whole(text, DAY_S)
}

/// Reads a duration as a number of units.
fn whole<const MOST: u16>(text: &str, unit_s: u64) -> Result<UpTo<MOST>, DurationError> {
    let count = duration::count(text, unit_s, MOST)?;
    UpTo::new(count).ok_or(DurationError::Form)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn limits_are_those_of_the_wire_form() {
        assert_eq!(seconds("1m 30s").map(UpTo::get), Ok(90));
        assert_eq!(hours("1d").map(UpTo::get), Ok(24));
        assert_eq!(days("30d").map(UpTo::get), Ok(30));
        let errors = [
            seconds("2h").unwrap_err(),
            hours("90m").unwrap_err(),
            days("0d").unwrap_err(),
        ];
        assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        expected a time from 1s to 1h, in whole seconds
        expected a time from 1h to 168h, in whole hours
        expected a time from 1d to 3650d, in whole days
        ");
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
