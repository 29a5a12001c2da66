//! `packcast explain`: explains why a device has a package, or does not have it.

use packcast_protocol::PackageRef;
use packcast_publisher::Failure;
use packcast_publisher::device_name::DeviceName;
use packcast_publisher::explain::{self, Explained};
use packcast_rollout::{Explanation, OpenTask};

use super::device::{commands, list, show};
use super::pause;
use crate::Globals;
use crate::output;

/// Explain why a device has a package, or does not have it
///
/// Prints the first reason, the facts on record, and the next step. Once you have fixed that, the
/// command may print another reason. The command changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast explain web01 vlc@3.0.21
  packcast explain ocs:web01-2026-03-04-05-06-07 1795327754 --format json")]
pub(crate) struct Args {
    /// Device id, or a host name that no other device has
    device: DeviceName,
    /// Package id, or name@version
    package: PackageRef,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let explained = explain::explain(&target, &self.device, &self.package).await?;
        output::result(globals.format, &explained, text);
        if let Some(found) = &explained.pause {
            output::note(&pause::note(found, globals));
        }
        Ok(())
    }
}

fn text(explained: &Explained) -> String {
    let host_name = explained.host_name.as_deref().unwrap_or_default();
    let ahead: Vec<String> = explained
        .ahead
        .iter()
        .map(|package| format!("{} (priority {})", package.name, package.priority))
        .collect();
    let facts = output::fields([
        (
            "device",
            format!("{} {host_name}", explained.device)
                .trim_end()
                .to_owned(),
        ),
        (
            "last seen",
            explained
                .last_seen
                .map_or_else(|| "never".to_owned(), show::last_seen),
        ),
        ("excluded", list::words(explained.excluded.as_ref())),
        (
            "package",
            format!(
                "{} {}, {}",
                explained.package, explained.name, explained.state
            ),
        ),
        ("assigned to", assigned_to(&explained.explanation)),
        (
            "task",
            explained.task.as_ref().map_or_else(String::new, task),
        ),
        (
            "result",
            explained
                .result
                .as_ref()
                .map_or_else(String::new, |finished| {
                    let result = output::outcome(finished);
                    let at = output::time(finished.finished_at);
                    format!("attempt {}, {at}: {result}", finished.attempt)
                }),
        ),
        (
            "history",
            if explained.in_history {
                "lists the package"
            } else {
                ""
            }
            .to_owned(),
        ),
        ("higher priority", ahead.join(", ")),
        ("commands", commands::pending(&explained.commands)),
    ]);
    format!(
        "{}\n\n{facts}\nnext: {}",
        output::printable(&explained.says),
        explained.next
    )
}

fn assigned_to(explanation: &Explanation) -> String {
    let device = explanation.direct.then(|| "the device itself".to_owned());
    let groups = explanation.groups.iter();
    let groups = groups.map(|group| format!("group {group}"));
    let all: Vec<String> = device.into_iter().chain(groups).collect();
    all.join(", ")
}

fn task(task: &OpenTask) -> String {
    format!(
        "attempt {}, priority {}, {}",
        task.attempt,
        task.priority,
        show::open_state(task)
    )
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::UnixTime;
    use packcast_publisher::explain::Ahead;
    use packcast_rollout::{DeviceCommands, Reason};
    use serde_json::json;

    use super::*;
    use crate::fixtures::{self, AGENT, NOON, OCS};

    #[test]
    fn all_facts_are_listed_between_the_reason_and_the_next_step() {
        let [_, announced, _] = fixtures::task_states();
        let explained = Explained {
            device: OCS.parse().unwrap(),
            host_name: Some("web01".to_owned()),
            package: fixtures::id(),
            name: "vlc@3.0.21".to_owned(),
            explanation: Explanation {
                reason: Reason::Announced {
                    announced_at: UnixTime(NOON),
                },
                attempt: Some(1),
                direct: true,
                groups: vec!["lab".parse().unwrap()],
                ahead: Vec::new(),
            },
            says: "The reason as a sentence.".to_owned(),
            next: "the next step".to_owned(),
            task: Some(fixtures::task(&announced)),
            result: Some(fixtures::failed()),
            in_history: true,
            last_seen: Some(UnixTime(NOON)),
            excluded: Some(fixtures::blocked()),
            pause: Some(fixtures::pause()),
            state: "active",
            ahead: vec![Ahead {
                name: "fonts@2".to_owned(),
                priority: fixtures::read(json!(1)),
            }],
            commands: fixtures::read(json!({
                "restart_download": { "command": "restart-download", "asked_at": NOON, "told_at": null },
                "cancel": null,
            })),
        };
        assert_snapshot!(text(&explained), @"
        The reason as a sentence.

        device           ocs:web01-2026-03-04-05-06-07 web01
        last seen        2026-11-18 11:06:40 UTC (a check-in is recorded at most once a day)
        excluded         blocked since 2026-11-18 11:06:40 UTC: stolen
        package          1795327754 vlc@3.0.21, active
        assigned to      the device itself, group lab
        task             attempt 1, priority 5, announced 2026-11-18 11:06:40 UTC
        result           attempt 2, 2026-11-18 11:06:40 UTC: failed: ERR_EXIT_CODE_7
        history          lists the package
        higher priority  fonts@2 (priority 1)
        commands         restart download, requested 2026-11-18 11:06:40 UTC, waiting for the device's next check-in

        next: the next step
        ");
    }

    #[test]
    fn a_waiting_task_does_not_name_this_command() {
        let [waiting, ..] = fixtures::task_states();
        let text = task(&fixtures::task(&waiting));
        assert_eq!(text, "attempt 1, priority 5, waiting");
    }

    #[test]
    fn an_unknown_device_has_few_facts() {
        let explained = Explained {
            device: AGENT.parse().unwrap(),
            host_name: None,
            package: fixtures::id(),
            name: "vlc@3.0.21".to_owned(),
            explanation: Explanation {
                reason: Reason::NeverSeen,
                attempt: None,
                direct: false,
                groups: Vec::new(),
                ahead: Vec::new(),
            },
            says: "The reason as a sentence.".to_owned(),
            next: "the next step".to_owned(),
            task: None,
            result: None,
            in_history: false,
            last_seen: None,
            excluded: None,
            pause: None,
            state: "active",
            ahead: Vec::new(),
            commands: DeviceCommands::default(),
        };
        assert_snapshot!(text(&explained), @"
        The reason as a sentence.

        device           key:abcdefghijklmnopqrstuvwxya
        last seen        never
        package          1795327754 vlc@3.0.21, active

        next: the next step
        ");
    }
}
