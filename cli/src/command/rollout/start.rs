//! `packcast rollout start`: plans a rollout, and starts it.

use clap::ArgGroup;
use packcast_protocol::{GroupName, PackageRef, UnixTime};
use packcast_publisher::Failure;
use packcast_publisher::clock::now;
use packcast_publisher::local_clock::{LocalClock, LocalClockError};
use packcast_publisher::rollout::{
    LimitChoices, PlannedRollout, RolloutStarted, StartRequest, WaveBounds, WithoutRollout,
    plan_start,
};
use packcast_publisher::values::duration::{self, DAY_S};
use packcast_publisher::values::shares;
use packcast_rollout::rollout::{WaveShares, Weekdays, promises};

use super::show::members;
use crate::command::key_arg::{AcceptArg, KeyArg};
use crate::confirm::{ConfirmArgs, counted};
use crate::progress::{Bar, until_interrupted};
use crate::{Globals, output};

/// Start a rollout of a package to groups
///
/// The waves are signed in one commit, and open by themselves. Devices that join the groups later fall
/// into a wave, too. Each device begins only after it has asked the function, so that the rollout can
/// halt. The defaults depend on the number of devices: --dry-run shows them.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("to").required(true).args(["group", "all"]), after_help = "\
Examples:
  packcast rollout start vlc@3.0.21 --group office --pilot lab --dry-run
  packcast rollout start vlc@3.0.21 --all --waves 1,10,50,100
  packcast rollout start vlc@3.0.21 --group office --wait 2d --days mon-thu
  packcast rollout start vlc@3.0.21 --group office --begin '2026-12-01 22:00'")]
pub(crate) struct Args {
    /// Package id, or name@version
    package: PackageRef,
    /// Deploy to the devices of this group (repeatable)
    #[arg(long, value_name = "GROUP")]
    group: Vec<GroupName>,
    /// Deploy to all devices of the target
    #[arg(long)]
    all: bool,
    /// Begin with the devices of this group, in a wave of their own (repeatable)
    ///
    /// Only devices that are also in one of the rollout's groups get the package.
    #[arg(long, value_name = "GROUP")]
    pilot: Vec<GroupName>,
    /// Percentages of the devices that have the package after each wave, such as 1,10,50,100
    #[arg(long, value_name = "PERCENTAGES", value_parser = shares::parse)]
    waves: Option<WaveShares>,
    /// Time from the opening of a wave to the next one: 24h by default
    #[arg(long, value_name = "DURATION", value_parser = duration::seconds(0, 30 * DAY_S))]
    wait: Option<u64>,
    /// Days on which waves open
    #[arg(long, value_name = "DAYS", default_value = "mon-fri")]
    days: Weekdays,
    /// Open the first wave at this time of this machine's time zone, such as '2026-12-01 22:00'
    ///
    /// Without this option, the first wave opens now. The other waves open at the same hour.
    #[arg(long, value_name = "TIME", value_parser = begin)]
    begin: Option<UnixTime>,
    /// Open only the first wave by itself, and each other one with 'packcast rollout promote'
    #[arg(long)]
    manual: bool,
    /// Maximum number of devices that have begun and are not healthy
    #[arg(long, value_name = "COUNT")]
    at_once: Option<u32>,
    /// Halt after this number of failures
    #[arg(long, value_name = "COUNT")]
    halt_at: Option<u32>,
    /// Tolerate further failures: a share of the healthy devices, in percent [default: 5]
    #[arg(long, value_name = "PERCENT")]
    tolerate: Option<u8>,
    /// Time after a success until a device that checks in counts as healthy
    ///
    /// The default is 2h in the first wave, and 30min in all others.
    #[arg(long, value_name = "DURATION", value_parser = duration::seconds(0, 7 * DAY_S))]
    settle: Option<u64>,
    /// Deploy on devices that have a later package of the same name
    #[arg(long)]
    allow_downgrade: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let clock = LocalClock::of_machine();
        let seconds = |given: Option<u64>| given.and_then(|given| u32::try_from(given).ok());
        let request = StartRequest {
            package: self.package,
            groups: if self.all {
                vec![GroupName::all()]
            } else {
                self.group
            },
            pilots: self.pilot,
            waves: self.waves,
            limits: LimitChoices {
                halt_at: self.halt_at,
                tolerate: self.tolerate,
                at_once: self.at_once,
                settle_s: seconds(self.settle),
                wait_s: seconds(self.wait),
            },
            days: self.days,
            by_hand: self.manual,
            from: self.begin,
            draw: None,
            offset_s: clock.offset_s(now()),
            allow_downgrade: self.allow_downgrade,
            also_accept: self.accept.also_accept(),
        };
        let (signer, bar) = (self.key.signer(&target), Bar::new());
        let progress = bar.progress();
        let deciding = Box::pin(plan_start(&target, &request));
        let plan = until_interrupted("devices", deciding, &bar).await?;
        output::warn(plan.warnings());
        let show = |planned: &PlannedRollout| text(planned, &clock);
        if self.confirm.shows_dry_run(globals, plan.planned(), show) {
            return Ok(());
        }
        if output::is_interactive() {
            output::note(&text(plan.planned(), &clock));
        }
        if !self
            .confirm
            .is_agreed_without_devices(globals, plan.preview())?
        {
            return Ok(());
        }
        let work = Box::pin(plan.perform(signer, &progress));
        let started = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &started, |started| {
            started_text(started, &clock)
        });
        if !started.is_active {
            output::note(&not_active(globals, &request.package));
        }
        Ok(())
    }
}

fn begin(text: &str) -> Result<UnixTime, LocalClockError> {
    LocalClock::of_machine().read(text)
}

fn started_text(started: &RolloutStarted, clock: &LocalClock) -> String {
    let first = started.planned.waves.first().and_then(|wave| wave.opens);
    let opens = first.map_or_else(String::new, |from| {
        format!(": wave 1 opens {}", clock.text(from))
    });
    format!(
        "started the rollout of {} to {}{opens}",
        started.planned.name,
        counted(started.planned.devices.into())
    )
}

/// Returns the note after the start of a rollout whose package is not active.
fn not_active(globals: &Globals, package: &PackageRef) -> String {
    let activate = globals.command(&format!("activate {package}"));
    format!("hint: the package is not active: devices begin with it after '{activate}'")
}

fn text(planned: &PlannedRollout, clock: &LocalClock) -> String {
    let groups: Vec<&str> = planned.groups.iter().map(GroupName::as_str).collect();
    let fields = output::fields([
        ("package", format!("{} {}", planned.package, planned.name)),
        ("groups", groups.join(", ")),
        ("devices", counted(planned.devices.into())),
    ]);
    let has_ocs = planned
        .waves
        .iter()
        .any(|wave| wave.ocs_duration_s.is_some());
    let row = |wave: &WaveBounds| {
        let opens = wave.opens;
        [
            wave.wave.to_string(),
            members(&wave.groups, wave.up_to),
            wave.devices.to_string(),
            opens.map_or_else(|| "with promote".to_owned(), |from| clock.text(from)),
            wave.reached.to_string(),
            wave.at_once.to_string(),
            wave.left_behind.to_string(),
        ]
    };
    let heading = [
        "WAVE", "OF", "DEVICES", "OPENS", "REACHED", "AT ONCE", "BEHIND",
    ];
    let waves = output::table(heading, planned.waves.iter().map(row));
    let mut lines = promises(&planned.limits, planned.reaches, output::duration);
    if has_ocs {
        let durations = planned.waves.iter().filter_map(|wave| {
            let duration = output::duration(wave.ocs_duration_s?);
            Some(format!("wave {} about {duration}", wave.wave))
        });
        let durations: Vec<String> = durations.collect();
        lines.push(format!(
            "If all devices have OCS agents, a wave takes from its opening: {}.",
            durations.join(", ")
        ));
    }
    lines.extend(without(&planned.without_rollout));
    format!("{fields}\n{}\n\n{}", waves.trim_end(), lines.join("\n"))
}

/// Writes who has the package without the rollout; `None` if nobody has it.
fn without(without: &WithoutRollout) -> Option<String> {
    let mut parts: Vec<String> = without
        .groups
        .iter()
        .map(|at| format!("group {} ({})", at.group, counted(at.devices)))
        .collect();
    if without.devices > 0 {
        parts.push(format!(
            "{} by earlier assignments",
            counted(without.devices)
        ));
    }
    (!parts.is_empty()).then(|| {
        format!(
            "Without the rollout, the package is assigned to: {}. They do not count.",
            parts.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::RolloutId;
    use packcast_publisher::status::GroupSize;
    use packcast_rollout::rollout::default_limits;

    use super::*;
    use crate::fixtures::east;
    use crate::fixtures::{self, NOON, id, plain};
    use crate::output::screen::tests::on_terminals;

    fn planned() -> PlannedRollout {
        let wave = |number: u8, groups: &[&str], up_to, devices, reached| WaveBounds {
            wave: number.try_into().unwrap(),
            groups: groups.iter().map(|name| name.parse().unwrap()).collect(),
            up_to,
            devices,
            reached,
            opens: (number < 3).then_some(UnixTime(NOON + u64::from(number) * 86_400)),
            at_once: devices.min(13),
            left_behind: 1 + devices / 20,
            ocs_duration_s: None,
        };
        PlannedRollout {
            package: id(),
            name: "vlc@3.0.21".to_owned(),
            groups: vec!["office".parse().unwrap()],
            devices: 205,
            waves: vec![
                wave(1, &["pilot"], None, 5, 5),
                wave(2, &[], Some(1_000), 20, 25),
                wave(3, &[], Some(10_000), 180, 205),
            ],
            limits: default_limits(205),
            reaches: 3,
            without_rollout: WithoutRollout::default(),
        }
    }

    #[test]
    fn a_plan_has_waves_and_bounds() {
        assert_snapshot!(plain(&text(&planned(), &east())), @"
        package  1795327754 vlc@3.0.21
        groups   office
        devices  205 devices

        WAVE  OF           DEVICES  OPENS                                            REACHED  AT ONCE  BEHIND
        1     group pilot  5        Thu 2026-11-19 13:06 +02 (2026-11-19 11:06 UTC)  5        5        1
        2     up to 10 %   20       Fri 2026-11-20 13:06 +02 (2026-11-20 11:06 UTC)  25       13       2
        3     up to 100 %  180      with promote                                     205      13       10

        A package that fails everywhere, or after which no machine is heard from again, begins on at most 3 machines, and on 3 more for each resume or promotion.
        The rollout halts after 3 failures plus 5 % of the healthy devices.
        REACHED is the limit of the signed calendar: before the next wave opens, not even the owner of the cloud account can reach more.
        AT ONCE is the maximum number of devices that have begun and are not healthy; BEHIND is this number when the next wave opens.
        A device is healthy if it checks in 30 minutes after its success (2 hours in the first wave). The next wave opens 24 hours after a wave at the earliest.
        After 'pause', 'end' or 'unassign' has returned, or failures have halted the rollout, no Packcast agent is permitted to begin. After a halt, a permission of the last 60 s still holds. An OCS agent begins with each package that it was told of before.
        Not promised: harm that shows after the device is healthy, machines that share an identity, a thief of the cloud account within the signed calendar, and devices that get the package without the rollout.
        ");
    }

    #[test]
    fn the_waves_of_a_plan_fit_the_terminal() {
        let waves = || {
            let text = text(&planned(), &east());
            text.split("\n\n").nth(1).unwrap_or_default().to_owned()
        };
        assert_snapshot!(on_terminals(waves), @"
        80:
        WAVE  OF           DEVICES  OPENS                       REACHED  AT ONCE  BEHIND
        1     group pilot  5        Thu 2026-11-19 13:06 +02    5        5        1
                                    (2026-11-19 11:06 UTC)
        2     up to 10 %   20       Fri 2026-11-20 13:06 +02    25       13       2
                                    (2026-11-20 11:06 UTC)
        3     up to 100 %  180      with promote                205      13       10

        140:
        WAVE  OF           DEVICES  OPENS                                            REACHED  AT ONCE  BEHIND
        1     group pilot  5        Thu 2026-11-19 13:06 +02 (2026-11-19 11:06 UTC)  5        5        1
        2     up to 10 %   20       Fri 2026-11-20 13:06 +02 (2026-11-20 11:06 UTC)  25       13       2
        3     up to 100 %  180      with promote                                     205      13       10
        ");
    }

    #[test]
    fn a_plan_names_devices_outside_and_slow_waves() {
        let mut planned = planned();
        planned.waves[0].ocs_duration_s = Some(9 * 3_600);
        planned.waves[1].ocs_duration_s = Some(30 * 3_600);
        (planned.limits.tolerate, planned.limits.settle_s) = (0, 0);
        planned.without_rollout = WithoutRollout {
            groups: vec![GroupSize {
                group: "desk".parse().unwrap(),
                devices: 12,
            }],
            devices: 1,
        };
        let text = plain(&text(&planned, &east()));
        let (_, sentences) = text.split_once("\n\n").unwrap();
        let (_, sentences) = sentences.split_once("A package").unwrap();
        assert_snapshot!(sentences, @"
         that fails everywhere, or after which no machine is heard from again, begins on at most 3 machines, and on 3 more for each resume or promotion.
        The rollout halts after 3 failures.
        REACHED is the limit of the signed calendar: before the next wave opens, not even the owner of the cloud account can reach more.
        AT ONCE is the maximum number of devices that have begun and are not healthy; BEHIND is this number when the next wave opens.
        A device is healthy if it checks in 0 seconds after its success (2 hours in the first wave). The next wave opens 24 hours after a wave at the earliest.
        After 'pause', 'end' or 'unassign' has returned, or failures have halted the rollout, no Packcast agent is permitted to begin. After a halt, a permission of the last 60 s still holds. An OCS agent begins with each package that it was told of before.
        Not promised: harm that shows after the device is healthy, machines that share an identity, a thief of the cloud account within the signed calendar, and devices that get the package without the rollout.
        If all devices have OCS agents, a wave takes from its opening: wave 1 about 9 hours, wave 2 about 30 hours.
        Without the rollout, the package is assigned to: group desk (12 devices), 1 device by earlier assignments. They do not count.
        ");
    }

    #[test]
    fn a_start_has_the_time_of_the_first_wave() {
        let started = RolloutStarted {
            rollout: RolloutId::from_bytes([7; 16]),
            commit: Some(1_795_000_000),
            planned: planned(),
            is_active: true,
        };
        assert_snapshot!(started_text(&started, &east()), @"
        started the rollout of vlc@3.0.21 to 205 devices: wave 1 opens Thu 2026-11-19 13:06 +02 (2026-11-19 11:06 UTC)
        ");
        let package = "vlc@3.0.21".parse().unwrap();
        assert_snapshot!(not_active(&fixtures::globals(), &package), @"
        hint: the package is not active: devices begin with it after 'packcast activate vlc@3.0.21'
        ");
    }
}
