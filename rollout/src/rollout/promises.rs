//! The promises of a rollout in words, for the display before its start.

use packcast_protocol::api::GO_VALID_S;

use super::limits::LimitValues;

/// Writes the promises of a rollout, and its limits, a sentence or two in each line. `reaches` is the maximum number
/// of machines by [`RolloutPlan::reaches`](super::RolloutPlan::reaches). `duration` writes a time in
/// seconds.
///
/// The words in capitals are the columns of the table of waves.
pub fn promises(
    limits: &LimitValues,
    reaches: u32,
    duration: impl Fn(u64) -> String,
) -> Vec<String> {
    let LimitValues {
        halt_at,
        tolerate,
        settle_s,
        first_settle_s,
        wait_s,
        ..
    } = *limits;
    let tolerated = match tolerate {
        0 => String::new(),
        _ => format!(" plus {tolerate} % of the healthy devices"),
    };
    vec![
        format!(
            "A package that fails everywhere, or after which no machine is heard from again, begins on at most {}, and on {halt_at} more for each resume or promotion.",
            count(reaches, "machine")
        ),
        format!("The rollout halts after {}{tolerated}.", count(halt_at, "failure")),
        "REACHED is the limit of the signed calendar: before the next wave opens, not even the owner of the cloud account can reach more.".to_owned(),
        "AT ONCE is the maximum number of devices that have begun and are not healthy; BEHIND is this number when the next wave opens.".to_owned(),
        format!(
            "A device is healthy if it checks in {} after its success ({} in the first wave). The next wave opens {} after a wave at the earliest.",
            duration(settle_s.into()),
            duration(first_settle_s.into()),
            duration(wait_s.into())
        ),
        format!(
            "After 'pause', 'end' or 'unassign' has returned, or failures have halted the rollout, no Packcast agent is permitted to begin. After a halt, a permission of the last {GO_VALID_S} s still holds. An OCS agent begins with each package that it was told of before."
        ),
        "Not promised: harm that shows after the device is healthy, machines that share an identity, a thief of the cloud account within the signed calendar, and devices that get the package without the rollout.".to_owned(),
    ]
}

/// Writes a number with its noun, such as `1 machine` or `2 machines`.
fn count(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::default_limits;

    #[test]
    fn the_limits_of_the_promises_are_printed() {
        let lines = promises(&default_limits(20), 1, |seconds| {
            format!("{seconds} seconds")
        });
        insta::assert_snapshot!(lines[5..].join("\n"), @"
        After 'pause', 'end' or 'unassign' has returned, or failures have halted the rollout, no Packcast agent is permitted to begin. After a halt, a permission of the last 60 s still holds. An OCS agent begins with each package that it was told of before.
        Not promised: harm that shows after the device is healthy, machines that share an identity, a thief of the cloud account within the signed calendar, and devices that get the package without the rollout.
        ");
    }

    #[test]
    fn one_machine_is_no_plural() {
        let limits = LimitValues {
            tolerate: 0,
            ..default_limits(20)
        };
        let lines = promises(&limits, 1, |seconds| format!("{seconds} seconds"));
        insta::assert_snapshot!(lines[..2].join("\n"), @"
        A package that fails everywhere, or after which no machine is heard from again, begins on at most 1 machine, and on 1 more for each resume or promotion.
        The rollout halts after 1 failure.
        ");
    }
}
