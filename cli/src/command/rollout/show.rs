//! `packcast rollout show`: one rollout with its waves and failures.

use packcast_protocol::{GroupName, PackageRef};
use packcast_publisher::Failure;
use packcast_publisher::local_clock::LocalClock;
use packcast_publisher::rollout::{RolloutDetails, RolloutFailure, RolloutReader, RolloutWave};

use super::sentence::sentence;
use crate::{Globals, output};

/// Maximum number of lines of a device's output.
const LINES: usize = 5;

/// Show a rollout: its status, waves and first failures
///
/// The first line says what the rollout does, or waits for, and names the next command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast rollout show vlc@3.0.21")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let mut reader = RolloutReader::open(&target, &self.package).await?;
        let details = reader.read().await?;
        let clock = LocalClock::of_machine();
        output::result(globals.format, &details, |details| text(details, &clock));
        Ok(())
    }
}

fn text(details: &RolloutDetails, clock: &LocalClock) -> String {
    let summary = &details.summary;
    let groups: Vec<&str> = summary.groups.iter().map(GroupName::as_str).collect();
    let round = details.round.as_ref().map_or_else(String::new, |round| {
        format!(
            "{} since {}: {} begun, {} healthy, {} failed, {} free",
            round.round,
            clock.text(round.opened),
            round.begun,
            round.healthy,
            round.failed,
            count(round.free, "place"),
        )
    });
    let all = format!(
        "{} of {} healthy, {} failed",
        summary.healthy, summary.devices, summary.failed
    );
    let fields = output::fields([
        ("package", format!("{} {}", summary.package, summary.name)),
        ("rollout", summary.rollout.to_string()),
        ("groups", groups.join(", ")),
        ("devices", all),
        ("round", round),
    ]);
    let waves = details.calendar.iter().map(|wave| {
        [
            wave.wave.to_string(),
            members(&wave.groups, wave.up_to),
            wave.devices.to_string(),
            opens(wave, clock),
        ]
    });
    let waves = output::table(["WAVE", "OF", "DEVICES", "OPENS"], waves);
    let parts = [
        format!("{}\n", sentence(details, clock)),
        fields,
        format!("{}\n", waves.trim_end()),
        failures(details),
    ];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Writes the first failures, each with the end of its output; empty without a failure.
pub(super) fn failures(details: &RolloutDetails) -> String {
    let failures = details.first_failures.iter().map(|failure| {
        let host_name = output::printable(&failure.host_name);
        let device = match &*host_name {
            "" => failure.device.to_string(),
            host_name => format!("{host_name} ({})", failure.device),
        };
        let code = output::printable(&failure.code.to_string());
        let mut text = format!("failed on {device}: {code}\n");
        for line in end_of_output(failure) {
            let line = output::cut(&format!(
                "  {}",
                output::printable(&line.replace('\t', " "))
            ));
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    failures.collect()
}

/// Returns the last lines of the output that are not empty, or else the reason that the agent gives.
fn end_of_output(failure: &RolloutFailure) -> Vec<&str> {
    let tail = failure.output_tail.as_deref().unwrap_or_default();
    let lines = tail.lines().map(str::trim_end);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let from = lines.len().saturating_sub(LINES);
    match lines[from..] {
        [] => failure.line.as_deref().into_iter().collect(),
        ref last => last.to_vec(),
    }
}

/// Writes the devices of a wave, such as `group pilot` or `up to 10 %`.
pub(super) fn members(groups: &[GroupName], up_to: Option<u16>) -> String {
    match (groups, up_to) {
        ([group], _) => format!("group {group}"),
        (_, Some(bound)) => format!("up to {} %", f64::from(bound) / 100.0),
        (groups, None) => {
            let groups: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
            format!("groups {}", groups.join(", "))
        }
    }
}

fn opens(wave: &RolloutWave, clock: &LocalClock) -> String {
    match (wave.opens, wave.is_open) {
        (None, _) => "with promote".to_owned(),
        (Some(from), true) => format!("open, {}", clock.text(from)),
        (Some(from), false) => clock.text(from),
    }
}

/// Writes a number with its noun, such as `1 place` or `2 places`.
pub(super) fn count(number: u32, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
pub(super) mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::RolloutId;
    use packcast_publisher::rollout::{RolloutFailure, RolloutRound, RolloutSummary};
    use packcast_rollout::rollout::{GateStatus, default_limits};

    use super::*;
    use crate::fixtures::east;
    use crate::fixtures::{AGENT, NOON, id, plain};
    use crate::output::screen::tests::on_terminals;

    pub(in crate::command::rollout) fn failure(code: &str) -> RolloutFailure {
        RolloutFailure {
            device: AGENT.parse().unwrap(),
            host_name: "web01".to_owned(),
            code: code.parse().unwrap(),
            line: Some("disk full".to_owned()),
            output_tail: Some("unpacking\nno space left on /opt\n\ndisk full\n".to_owned()),
        }
    }

    /// Returns a rollout to a pilot group and 200 other devices, whose second wave is open.
    pub(in crate::command::rollout) fn details() -> RolloutDetails {
        let group = |name: &str| name.parse().unwrap();
        let wave = |number: u8, groups: &[&str], up_to, devices, from| RolloutWave {
            wave: number.try_into().unwrap(),
            groups: groups.iter().map(|name| group(name)).collect(),
            up_to,
            devices,
            opens: from,
            is_open: number <= 2,
            states: None,
        };
        let day = |days: u64| Some(UnixTime(NOON + days * 86_400));
        RolloutDetails {
            summary: RolloutSummary {
                rollout: RolloutId::from_bytes([7; 16]),
                package: id(),
                name: "vlc@3.0.21".to_owned(),
                groups: vec![group("lab"), group("office")],
                devices: 205,
                status: "running",
                wave: Some(2.try_into().unwrap()),
                waves: 4,
                begun: 17,
                healthy: 14,
                failed: 1,
                gate_status: Some(GateStatus::Running),
                may_be_complete: false,
            },
            calendar: vec![
                wave(1, &["pilot"], None, 5, day(0)),
                wave(2, &[], Some(1_000), 20, day(1)),
                wave(3, &[], Some(5_050), 80, day(2)),
                wave(4, &[], Some(10_000), 100, None),
            ],
            round: Some(RolloutRound {
                round: 2,
                opened: UnixTime(NOON + 86_400),
                free: 9,
                begun: 12,
                healthy: 9,
                failed: 1,
                limits: default_limits(205),
            }),
            first_failures: Vec::new(),
            silent: Vec::new(),
        }
    }

    #[test]
    fn a_rollout_has_a_status_and_waves() {
        assert_snapshot!(plain(&text(&details(), &east())), @"
        running: 14 of 205 devices are healthy

        package  1795327754 vlc@3.0.21
        rollout  a4dqobyha4dqobyha4dqobyha4
        groups   lab, office
        devices  14 of 205 healthy, 1 failed
        round    2 since Thu 2026-11-19 13:06 +02 (2026-11-19 11:06 UTC): 12 begun, 9 healthy, 1 failed, 9 places free

        WAVE  OF            DEVICES  OPENS
        1     group pilot   5        open, Wed 2026-11-18 13:06 +02 (2026-11-18 11:06 UTC)
        2     up to 10 %    20       open, Thu 2026-11-19 13:06 +02 (2026-11-19 11:06 UTC)
        3     up to 50.5 %  80       Fri 2026-11-20 13:06 +02 (2026-11-20 11:06 UTC)
        4     up to 100 %   100      with promote
        ");
    }

    #[test]
    fn failures_have_the_end_of_their_output() {
        let mut details = details();
        let long = failure("EXIT_CODE_1603");
        let (mut silent, mut hostile) = (failure("ERR_TIMEOUT"), failure("EXIT_CODE_7"));
        (silent.host_name, silent.output_tail) = (String::new(), None);
        silent.line = Some("killed after 60 s".to_owned());
        let lines = (1..=9).map(|number| format!("{number} {}\r\n", "long ".repeat(20)));
        hostile.output_tail = Some(lines.collect::<String>() + "\u{1b}[2J\thidden\u{202e}\n\n");
        details.first_failures = vec![long, silent, hostile];
        let texts = on_terminals(|| failures(&details));
        assert_snapshot!(texts, @r"
        80:
        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_1603
          unpacking
          no space left on /opt
          disk full
        failed on key:abcdefghijklmnopqrstuvwxya: ERR_TIMEOUT
          killed after 60 s
        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_7
          6 long long long long long long long long long long long long long long long …
          7 long long long long long long long long long long long long long long long …
          8 long long long long long long long long long long long long long long long …
          9 long long long long long long long long long long long long long long long …
          \u{1b}[2J hidden\u{202e}

        140:
        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_1603
          unpacking
          no space left on /opt
          disk full
        failed on key:abcdefghijklmnopqrstuvwxya: ERR_TIMEOUT
          killed after 60 s
        failed on web01 (key:abcdefghijklmnopqrstuvwxya): EXIT_CODE_7
          6 long long long long long long long long long long long long long long long long long long long long
          7 long long long long long long long long long long long long long long long long long long long long
          8 long long long long long long long long long long long long long long long long long long long long
          9 long long long long long long long long long long long long long long long long long long long long
          \u{1b}[2J hidden\u{202e}
        ");
        assert_eq!(
            members(&["lab", "desk"].map(|name| name.parse().unwrap()), None),
            "groups lab, desk"
        );
    }
}
