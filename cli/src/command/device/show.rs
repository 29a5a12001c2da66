//! `packcast device show`: shows a device with its packages and results.

use packcast_protocol::enrolment::BatchId;
use packcast_protocol::state::exchange::WaitingPackage;
use packcast_protocol::{GroupName, PackageId, UnixTime, terminal};
use packcast_publisher::device::{self, DeviceDetails, exclusion, waits};
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::{Failure, Target};
use packcast_rollout::{FinishedTask, OpenTask, TaskState, wait_of};

use super::{commands, facts, machine};
use crate::command::pacing;
use crate::output::{self, Format};

/// Prints a device with its packages and results.
pub(super) async fn print(
    target: &Target,
    name: &DeviceName,
    format: Format,
) -> Result<(), Failure> {
    let details = device::show(target, name).await?;
    output::result(format, &details, text);
    Ok(())
}

fn text(details: &DeviceDetails) -> String {
    let device = &details.device;
    let mut text = output::fields([
        ("device", device.device.to_string()),
        ("host", device.host_name.clone()),
        ("system", device.os.clone()),
        ("agent", device.agent.clone()),
        ("platform", machine::platform(device.machine.as_ref())),
        ("machine", machine::ids(device.machine.as_ref())),
        ("conflict", machine::conflict(device.machine.as_ref())),
        ("clock", machine::clock(device.machine.as_ref()).to_owned()),
        (
            "excluded",
            details
                .excluded
                .as_ref()
                .map_or_else(String::new, exclusion::words),
        ),
        ("first seen", output::time(device.first_seen)),
        ("last seen", last_seen(device.last_seen)),
        ("batch", batch(device.batch.as_ref())),
        ("groups", groups(&details.groups)),
        ("commands", commands::pending(&details.commands)),
        ("pacing", pacing::words(&details.pacing)),
        ("pacing of groups", pacing::words(&details.pacing_of_groups)),
    ]);
    if let Some(stated) = &details.facts {
        text.push('\n');
        text.push_str(&facts::section(stated));
    }
    let name = |id: &PackageId| details.names.get(id).cloned().unwrap_or_default();
    if !details.open.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["OPEN", "PACKAGE", "PRIORITY", "ATTEMPT", "STATE"],
            details.open.iter().map(|task| {
                [
                    task.package.to_string(),
                    name(&task.package),
                    task.priority.to_string(),
                    task.attempt.to_string(),
                    state(task, &details.waits),
                ]
            }),
        ));
        text.push('\n');
    }
    if !details.finished.is_empty() {
        text.push('\n');
        text.push_str(&output::table(
            ["FINISHED", "PACKAGE", "ATTEMPT", "RESULT", "WHEN"],
            details.finished.iter().map(|task| {
                [
                    task.package.to_string(),
                    name(&task.package),
                    task.attempt.to_string(),
                    output::outcome(task),
                    output::when(task.finished_at),
                ]
            }),
        ));
        text.push('\n');
        text.push_str(&tails(&details.finished));
    }
    text
}

/// Writes the time of the last check-in on record.
pub(crate) fn last_seen(at: UnixTime) -> String {
    format!(
        "{} (a check-in is recorded at most once a day)",
        output::time(at)
    )
}

/// Writes the batch of the token with which a device has enrolled.
fn batch(batch: Option<&BatchId>) -> String {
    batch.map_or_else(String::new, ToString::to_string)
}

fn groups(groups: &[GroupName]) -> String {
    let names: Vec<&str> = groups.iter().map(GroupName::as_str).collect();
    names.join(", ")
}

/// Writes the state of an open task, with the reason why the device does not begin.
fn state(task: &OpenTask, waits: &[WaitingPackage]) -> String {
    let mut state = open_state(task);
    if task.state == TaskState::Pending {
        state.push_str("; 'packcast explain' gives the reason");
    }
    match wait_of(waits, task) {
        None => state,
        Some(waiting) => format!("{state}; waits: {}", waits::words(&waiting)),
    }
}

/// Writes the state of an open task.
pub(crate) fn open_state(task: &OpenTask) -> String {
    match task.state {
        TaskState::Pending => "waiting".to_owned(),
        TaskState::Announced { announced_at } => {
            format!("announced {}", output::time(announced_at))
        }
        TaskState::Withdrawn { announced_at } => {
            format!("withdrawn, announced {}", output::time(announced_at))
        }
    }
}

/// Writes the recorded output of each finished task that has some.
fn tails(finished: &[FinishedTask]) -> String {
    finished
        .iter()
        .filter_map(|task| task.output_tail.as_ref().map(|tail| (task.package, tail)))
        .filter(|(_, tail)| !tail.trim().is_empty())
        .map(|(package, tail)| {
            let tail = terminal::lines(tail.trim_end());
            let lines: String = tail.lines().map(|line| format!("  {line}\n")).collect();
            format!("\nend of the output of package {package}:\n{lines}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_rollout::{DeviceCommands, PacingOverride};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, AGENT, OCS, plain};
    use crate::output::screen::tests::on_terminals;

    fn details(device: &str) -> DeviceDetails {
        DeviceDetails {
            device: fixtures::device(device),
            facts: (device == AGENT).then(|| fixtures::facts(device)),
            excluded: None,
            groups: vec!["lab".parse().unwrap(), "office".parse().unwrap()],
            commands: fixtures::read(json!({
                "restart_download": null,
                "drop": { "command": "drop", "asked_at": fixtures::NOON, "told_at": null },
            })),
            pacing: fixtures::read(json!({ "fragment_pause_s": 2, "strict": true })),
            pacing_of_groups: fixtures::read(json!({ "cycle_pause_s": 5 })),
            open: fixtures::task_states().iter().map(fixtures::task).collect(),
            waits: vec![fixtures::waiting()],
            finished: vec![fixtures::failed(), fixtures::succeeded()],
            names: [(fixtures::id(), "vlc@3.0.21".to_owned())].into(),
        }
    }

    #[test]
    fn a_device_is_shown_with_its_packages() {
        let shown = details(AGENT);
        assert_snapshot!(on_terminals(|| text(&shown)), @"
        80:
        device            key:abcdefghijklmnopqrstuvwxya
        host              web01
        system            Debian GNU/Linux 12
        agent             packcast-agent 0.1.0
        platform          linux-x86_64
        machine           hardware:4c4c4544-0042-3510-8051-b4c04f4b3732
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)
        groups            lab, office
        commands          drop, requested 2026-11-18 11:06:40 UTC, waiting for the device's next check-in
        pacing            fragment pause 2s, strict
        pacing of groups  cycle pause 5s

        facts             stated 2026-11-18 11:06:40 UTC
        operating system  Debian GNU/Linux 12 (bookworm)
        domain            branch.example
        address           192.0.2.7
        site              Zürich
        time zone         Europe/Zurich
        model             Dell Inc. Latitude 7490
        memory            15.56 GiB
        volumes           / 234 GiB (40 % free), /var 930 GiB (less than 10 % free)
        known terms       downgrade, rollout

        OPEN        PACKAGE     PRIORITY  ATTEMPT  STATE
        1795327754  vlc@3.0.21  5         1        waiting; 'packcast explain' gives the
                                                   reason
        1795327754  vlc@3.0.21  5         1        announced 2026-11-18 11:06:40 UTC;
                                                   waits: the state of the device has
                                                   expired
        1795327754  vlc@3.0.21  5         1        withdrawn, announced 2026-11-18
                                                   11:06:40 UTC

        FINISHED    PACKAGE     ATTEMPT  RESULT                   WHEN
        1795327754  vlc@3.0.21  2        failed: ERR_EXIT_CODE_7  2026-11-18 11:06:40
                                                                  UTC
        1795327754  vlc@3.0.21  1        succeeded: SUCCESS       2026-11-18 11:06:40
                                                                  UTC

        end of the output of package 1795327754:
          unpacking
          disk full

        140:
        device            key:abcdefghijklmnopqrstuvwxya
        host              web01
        system            Debian GNU/Linux 12
        agent             packcast-agent 0.1.0
        platform          linux-x86_64
        machine           hardware:4c4c4544-0042-3510-8051-b4c04f4b3732
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)
        groups            lab, office
        commands          drop, requested 2026-11-18 11:06:40 UTC, waiting for the device's next check-in
        pacing            fragment pause 2s, strict
        pacing of groups  cycle pause 5s

        facts             stated 2026-11-18 11:06:40 UTC
        operating system  Debian GNU/Linux 12 (bookworm)
        domain            branch.example
        address           192.0.2.7
        site              Zürich
        time zone         Europe/Zurich
        model             Dell Inc. Latitude 7490
        memory            15.56 GiB
        volumes           / 234 GiB (40 % free), /var 930 GiB (less than 10 % free)
        known terms       downgrade, rollout

        OPEN        PACKAGE     PRIORITY  ATTEMPT  STATE
        1795327754  vlc@3.0.21  5         1        waiting; 'packcast explain' gives the reason
        1795327754  vlc@3.0.21  5         1        announced 2026-11-18 11:06:40 UTC; waits: the state of the device has expired
        1795327754  vlc@3.0.21  5         1        withdrawn, announced 2026-11-18 11:06:40 UTC

        FINISHED    PACKAGE     ATTEMPT  RESULT                   WHEN
        1795327754  vlc@3.0.21  2        failed: ERR_EXIT_CODE_7  2026-11-18 11:06:40 UTC
        1795327754  vlc@3.0.21  1        succeeded: SUCCESS       2026-11-18 11:06:40 UTC

        end of the output of package 1795327754:
          unpacking
          disk full
        ");
    }

    #[test]
    fn a_device_with_two_machines_and_a_wrong_clock_is_shown() {
        let mut details = details(AGENT);
        details.device.machine = Some(fixtures::read(json!({
            "platform": "windows-x86_64",
            "ids": ["hardware:11111111-0042-3510-8051-b4c04f4b3732", "system:0f8fad5b-d9cb-469f-a165-70867728950e"],
            "other": {
                "id": "system:7c9e6679-7425-40de-944b-e07fc1f90ae7",
                "last_seen": fixtures::NOON,
            },
            "clock": "behind",
        })));
        let text = plain(&text(&details));
        let lines = text.lines().filter(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            ["platform", "machine", "conflict", "clock"].contains(&name)
        });
        assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
        platform          windows-x86_64
        machine           hardware:11111111-0042-3510-8051-b4c04f4b3732, system:0f8fad5b-d9cb-469f-a165-70867728950e
        conflict          two machines use this identity; the other is system:7c9e6679-7425-40de-944b-e07fc1f90ae7, last seen 2026-11-18 11:06:40 UTC
        clock             more than 5 minutes behind the function's clock
        ");
    }

    #[test]
    fn a_blocked_device_without_packages_has_its_facts_only() {
        let details = DeviceDetails {
            excluded: Some(fixtures::blocked()),
            groups: Vec::new(),
            commands: DeviceCommands::default(),
            pacing: PacingOverride::default(),
            pacing_of_groups: PacingOverride::default(),
            open: Vec::new(),
            waits: Vec::new(),
            finished: Vec::new(),
            ..details(OCS)
        };
        assert_snapshot!(on_terminals(|| text(&details)), @"
        80:
        device            ocs:web01-2026-03-04-05-06-07
        host              web01
        system            Debian GNU/Linux 12
        agent             OCS-NG_unified_unix_agent_v2.10.0
        excluded          blocked since 2026-11-18 11:06:40 UTC: stolen
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)

        140:
        device            ocs:web01-2026-03-04-05-06-07
        host              web01
        system            Debian GNU/Linux 12
        agent             OCS-NG_unified_unix_agent_v2.10.0
        excluded          blocked since 2026-11-18 11:06:40 UTC: stolen
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)
        ");
        assert_snapshot!(plain(&text(&details)), @"
        device            ocs:web01-2026-03-04-05-06-07
        host              web01
        system            Debian GNU/Linux 12
        agent             OCS-NG_unified_unix_agent_v2.10.0
        excluded          blocked since 2026-11-18 11:06:40 UTC: stolen
        first seen        2026-11-17 11:06:40 UTC
        last seen         2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)
        ");
    }
}
