//! Comparison of the clock of this machine with other times, before it signs.
//!
//! The time of a commit decides on its number and on its end. A commit with a time in the future
//! would keep out later ones, and a time in the past would let it expire early.

use packcast_protocol::UnixTime;
use packcast_store::records::ServiceTime;

use crate::clock::BEFORE_BUILD;
use crate::text::time;

/// Largest difference between the clocks of this machine and of the table, in seconds.
const MAX_DIFFERENCE_S: u64 = 300;

/// Largest age of the head, in seconds, if the table is on this machine: 90 days.
const MAX_HEAD_AGE_S: u64 = 90 * 86_400;

/// Errors from comparing the clock of this machine.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    #[error("the clock of this machine shows {}, that of the table {}", time(*.here), time(*.table))]
    Differs { here: UnixTime, table: UnixTime },
    #[error("the table does not tell the time, so the clock of this machine cannot be compared")]
    Untold,
    #[error(
        "the clock of this machine shows {}, a time before this program was built",
        time(*.here)
    )]
    BeforeBuild { here: UnixTime },
    #[error(
        "the clock of this machine shows {}, more than 90 days after the head was signed on {}",
        time(*.here), time(*.issued)
    )]
    LongAfterHead { here: UnixTime, issued: UnixTime },
}

impl ClockError {
    /// Returns true if a person may confirm the clock. The clock of the table is never wrong.
    pub(super) const fn may_be_accepted(&self) -> bool {
        !matches!(self, Self::Differs { .. })
    }
}

/// Compares the clock with the time of the table, with the time of the program, and, if the table is
/// on this machine, with the time of the head.
pub(super) fn check(
    here: UnixTime,
    service: ServiceTime,
    issued: Option<UnixTime>,
) -> Result<(), ClockError> {
    if here < BEFORE_BUILD {
        return Err(ClockError::BeforeBuild { here });
    }
    match (service, issued) {
        (ServiceTime::Told(table), _) if here.0.abs_diff(table.0) > MAX_DIFFERENCE_S => {
            Err(ClockError::Differs { here, table })
        }
        (ServiceTime::Untold, _) => Err(ClockError::Untold),
        (ServiceTime::ThisMachine, Some(issued)) if here.since(issued) > MAX_HEAD_AGE_S => {
            Err(ClockError::LongAfterHead { here, issued })
        }
        (ServiceTime::Told(_) | ServiceTime::ThisMachine, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_clock_that_differs_from_the_table_signs_nothing() {
        let told = |table: u64| check(NOW, ServiceTime::Told(UnixTime(table)), None);
        for table in [NOW.0 - 300, NOW.0, NOW.0 + 300] {
            assert!(told(table).is_ok(), "{table}");
        }
        for table in [0, NOW.0 - 301, NOW.0 + 301] {
            let error = told(table).unwrap_err();
            assert!(!error.may_be_accepted());
        }
        // The age of the head does not matter if the table tells the time.
        let old = Some(UnixTime(0));
        assert!(check(NOW, ServiceTime::Told(NOW), old).is_ok());
    }

    #[test]
    fn a_table_on_this_machine_is_compared_by_the_age_of_its_head() {
        let aged = |age| {
            let issued = Some(UnixTime(NOW.0 - age));
            check(NOW, ServiceTime::ThisMachine, issued)
        };
        assert!(check(NOW, ServiceTime::ThisMachine, None).is_ok());
        assert!(aged(MAX_HEAD_AGE_S).is_ok());
        let error = aged(MAX_HEAD_AGE_S + 1).unwrap_err();
        assert!(error.may_be_accepted());
        let future = Some(NOW.plus(1));
        assert!(check(NOW, ServiceTime::ThisMachine, future).is_ok());
    }

    #[test]
    fn error_messages() {
        let early = UnixTime(BEFORE_BUILD.0 - 1);
        let errors = [
            check(NOW, ServiceTime::Told(UnixTime(NOW.0 - 301)), None),
            check(NOW, ServiceTime::Untold, None),
            check(early, ServiceTime::Told(early), None),
            check(NOW, ServiceTime::ThisMachine, Some(UnixTime(0))),
        ];
        insta::assert_snapshot!(messages(errors.map(Result::unwrap_err)), @"
        the clock of this machine shows 2026-11-18 11:06:40 UTC, that of the table 2026-11-18 11:01:39 UTC
        the table does not tell the time, so the clock of this machine cannot be compared
        the clock of this machine shows 2026-10-31 23:59:59 UTC, a time before this program was built
        the clock of this machine shows 2026-11-18 11:06:40 UTC, more than 90 days after the head was signed on 1970-01-01 00:00:00 UTC
        ");
    }
}
