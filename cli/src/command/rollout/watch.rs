//! `packcast rollout watch`: shows a rollout until it is complete or halted.

use std::time::Duration;

use packcast_protocol::PackageRef;
use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::rollout::{RolloutDetails, RolloutReader};
use packcast_publisher::values::duration::{self, DAY_S};
use packcast_publisher::{Failure, Kind};
use packcast_rollout::rollout::GateStatus;
use tokio::time::{Instant, sleep};

use super::sentence::sentence;
use super::show::{failures, members};
use crate::Globals;
use crate::output::{self, Format};

/// Time between two reads of the gate.
const PAUSE: Duration = Duration::from_secs(5);

/// Width of a bar, in characters.
const WIDTH: u64 = 20;

/// Watch a rollout until it is complete or halted
///
/// Each wave has a bar. Its full part shows the healthy devices, and its shaded part the devices of the
/// open wave that have begun and are not healthy yet. The last lines of output of the first failed devices
/// follow. The exit code is 0 if the rollout is complete, 1 if it is halted or has ended, and 75 after the
/// time of --for.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout watch vlc@3.0.21
  packcast rollout watch vlc@3.0.21 --for 2h")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// Stop watching after this time
    #[arg(long = "for", value_name = "DURATION", value_parser = duration::seconds(0, 30 * DAY_S))]
    most: Option<u64>,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let mut reader = RolloutReader::open(&target, &self.package).await?;
        let clock = LocalClock::of_machine();
        let end = self
            .most
            .map(|most| Instant::now() + Duration::from_secs(most));
        let mut shown = None;
        loop {
            let details = reader.read().await?;
            if globals.format == Format::Text {
                let text = text(&details, &clock);
                if shown.as_ref() != Some(&text) {
                    output::data_again(&text);
                    shown = Some(text);
                }
            }
            let is_over = end.is_some_and(|end| Instant::now() >= end);
            if let Some(result) = result(&details, is_over) {
                output::for_scripts(globals.format, &details);
                return result;
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            sleep(left.map_or(PAUSE, |left| left.min(PAUSE))).await;
        }
    }
}

/// Returns the result of watching; `None` if it goes on.
fn result(details: &RolloutDetails, is_over: bool) -> Option<Result<(), Failure>> {
    let name = &details.summary.name;
    match details.summary.gate_status {
        Some(GateStatus::Complete) => Some(Ok(())),
        Some(GateStatus::Halted { .. }) => Some(Err(Failure::failed(format!(
            "the rollout of {name} is halted"
        ))
        .hint(format!(
            "run 'packcast rollout show {name}' to see the failures"
        )))),
        Some(GateStatus::Ended) => Some(Err(Failure::failed(format!(
            "the rollout of {name} has ended"
        )))),
        _ if is_over => Some(Err(Failure::new(
            Kind::TryLater,
            format!("the rollout of {name} is not complete yet"),
        )
        .hint(format!(
            "run 'packcast rollout show {name}' to see what it waits for"
        )))),
        _ => None,
    }
}

fn text(details: &RolloutDetails, clock: &LocalClock) -> String {
    let mut healthy = details.summary.healthy;
    let rows = details.calendar.iter().map(|wave| {
        let of_wave = healthy.min(wave.devices);
        healthy -= of_wave;
        let is_latest = Some(wave.wave) == details.summary.wave;
        let unhealthy = details.round.as_ref().filter(|_| is_latest);
        let unhealthy = unhealthy.map_or(0, |round| round.begun.saturating_sub(round.healthy));
        let state = match (wave.is_open, wave.opens) {
            (true, _) => "open".to_owned(),
            (false, Some(from)) => clock.short(from),
            (false, None) => "with promote".to_owned(),
        };
        [
            wave.wave.to_string(),
            members(&wave.groups, wave.up_to),
            bar(of_wave, unhealthy, wave.devices),
            format!("{of_wave} of {}", wave.devices),
            state,
        ]
    });
    let waves = output::table(["WAVE", "OF", "HEALTHY █ BEGUN ▒", "", "OPENS"], rows);
    let parts = [
        format!("{}: {}\n", details.summary.name, sentence(details, clock)),
        format!("{}\n", waves.trim_end()),
        failures(details),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Draws the shares of healthy devices, and of those that have begun and are not healthy, as a bar.
fn bar(healthy: u32, unhealthy: u32, devices: u32) -> String {
    let filled = |number: u64| number * WIDTH / u64::from(devices.max(1));
    let (healthy, unhealthy) = (u64::from(healthy), u64::from(unhealthy));
    // A device that has begun is visible, although its share is small.
    let begun = filled(healthy + unhealthy).max(filled(healthy) + unhealthy.min(1));
    let cell = |at| {
        if at < filled(healthy) {
            '█'
        } else if at < begun {
            '▒'
        } else {
            '░'
        }
    };
    (0..WIDTH).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::command::rollout::show::tests::{details, failure};
    use crate::fixtures::east;
    use crate::output::screen::tests::on_terminals;

    #[test]
    fn bars_fill_wave_by_wave() {
        let mut details = details();
        details.first_failures = vec![failure("EXIT_CODE_1603")];
        assert_snapshot!(on_terminals(|| text(&details, &east())), @"
        80:
        vlc@3.0.21: running: 14 of 205 devices are healthy

        WAVE  OF            HEALTHY █ BEGUN ▒               OPENS
        1     group pilot   ████████████████████  5 of 5    open
        2     up to 10 %    █████████▒▒▒░░░░░░░░  9 of 20   open
        3     up to 50.5 %  ░░░░░░░░░░░░░░░░░░░░  0 of 80   Fri 2026-11-20 13:06 +02
        4     up to 100 %   ░░░░░░░░░░░░░░░░░░░░  0 of 100  with promote

        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_1603
          unpacking
          no space left on /opt
          disk full

        140:
        vlc@3.0.21: running: 14 of 205 devices are healthy

        WAVE  OF            HEALTHY █ BEGUN ▒               OPENS
        1     group pilot   ████████████████████  5 of 5    open
        2     up to 10 %    █████████▒▒▒░░░░░░░░  9 of 20   open
        3     up to 50.5 %  ░░░░░░░░░░░░░░░░░░░░  0 of 80   Fri 2026-11-20 13:06 +02
        4     up to 100 %   ░░░░░░░░░░░░░░░░░░░░  0 of 100  with promote

        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_1603
          unpacking
          no space left on /opt
          disk full
        ");
        assert_eq!(bar(0, 0, 0), "░".repeat(20));
        assert_eq!(bar(7, 1, 7), "█".repeat(20));
        assert_eq!(bar(0, 1, 1_000), format!("▒{}", "░".repeat(19)));
        assert_eq!(
            bar(500, 250, 1_000),
            format!("{}▒▒▒▒▒░░░░░", "█".repeat(10))
        );
    }

    #[test]
    fn watching_ends_with_the_rollout() {
        let of = |status, is_over| {
            let mut details = details();
            details.summary.gate_status = Some(status);
            result(&details, is_over)
        };
        assert!(of(GateStatus::Running, false).is_none());
        assert!(of(GateStatus::Complete, false).unwrap().is_ok());
        let ends = [
            of(GateStatus::Halted { failed: 3 }, false),
            of(GateStatus::Ended, false),
            of(GateStatus::Paused, true),
        ];
        let ends = ends.map(|end| {
            let failure = end.unwrap().unwrap_err();
            format!("{:?}: {failure}", failure.kind())
        });
        assert_snapshot!(ends.join("\n"), @"
        Failed: the rollout of vlc@3.0.21 is halted
        hint: run 'packcast rollout show vlc@3.0.21' to see the failures
        Failed: the rollout of vlc@3.0.21 has ended
        TryLater: the rollout of vlc@3.0.21 is not complete yet
        hint: run 'packcast rollout show vlc@3.0.21' to see what it waits for
        ");
    }
}
