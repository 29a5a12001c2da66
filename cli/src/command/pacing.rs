//! The pacing options, which set the pauses of OCS agents and the order of announcements.

pub(crate) use packcast_publisher::text::pacing as words;
pub(crate) use packcast_publisher::values::pacing::days;
use packcast_publisher::values::pacing::{hours, seconds};
use packcast_rollout::pacing::{CheckInHours, PauseS, TimeoutDays};
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::pacing::UpTo;

    use super::*;

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
