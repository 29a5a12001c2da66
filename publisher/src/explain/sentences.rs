//! Sentences for the reasons of an explanation, and for the next steps.

use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{DeviceId, Outcome, PackageId, UnixTime};
use packcast_rollout::rollout::{Closed, Settling};
use packcast_rollout::{DeviceRecord, Exclusion, FinishedTask, PackageRecord, Reason, RolloutWait};

use crate::device::{exclusion, waits};
use crate::package::{PUBLISH_AGAIN_HINT, named};
use crate::text;

/// A reason and the next step, in words.
pub(super) struct Sentences {
    /// The reason as a sentence.
    pub(super) says: String,
    /// The next step.
    pub(super) next: String,
}

/// The next step if the package was deleted.
const PUBLISH_ANOTHER_VERSION: &str =
    "publish the package under another version, and assign that version";

/// The next step if the audience of the package leaves out the device.
const PUBLISH_FOR_THE_DEVICE: &str = "publish the package under another version whose audience (--only-for, --only-for-group) includes the device, and assign that version";

/// The device and the package of an explanation.
pub(super) struct SentenceSubject<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) record: Option<&'a DeviceRecord>,
    pub(super) excluded: Option<&'a Exclusion>,
    pub(super) package: &'a PackageRecord,
    pub(super) finished: Option<&'a FinishedTask>,
    /// The success of the package in a rollout, if the device is not healthy yet.
    pub(super) settling: Option<&'a Settling>,
    /// Returns the name of another package of the device.
    pub(super) name_of: &'a dyn Fn(PackageId) -> String,
}

/// The words that the sentences are built from.
struct Words<'a> {
    subject: &'a SentenceSubject<'a>,
    /// The host name of the device; its id if the host name is unknown.
    host: &'a str,
    /// The id of the device, for commands.
    id: String,
    package: String,
    has_ocs_agent: bool,
}

impl Sentences {
    pub(super) fn new(subject: &SentenceSubject<'_>, reason: &Reason) -> Self {
        let id = subject.device.to_string();
        let host = subject.record.map(|record| record.host_name.as_str());
        let words = Words {
            subject,
            host: host.filter(|name| !name.is_empty()).unwrap_or(&id),
            id: id.clone(),
            package: named(subject.package),
            has_ocs_agent: matches!(subject.device, DeviceId::Ocs(_)),
        };
        let next = match reason {
            Reason::Withdrawn {
                told_to_drop: false,
                ..
            } if words.has_ocs_agent => format!(
                "wait for the report of the device; run 'packcast device drop {id}' to make an OCS Unix agent drop the package"
            ),
            reason if subject.package.is_deleted() => next_of_deleted(reason),
            reason => words.next(reason),
        };
        Self {
            says: words.says(reason),
            next,
        }
    }
}

impl Words<'_> {
    fn says(&self, reason: &Reason) -> String {
        let Self { host, package, .. } = self;
        match reason {
            Reason::NeverSeen => {
                format!(
                    "{host} has never checked in, so it is unknown if the device has {package}."
                )
            }
            Reason::Excluded => {
                let excluded = self
                    .subject
                    .excluded
                    .map_or_else(String::new, exclusion::words);
                format!("{host} gets no package from the target ({excluded}).")
            }
            Reason::NotAssigned => {
                format!("{package} is assigned neither to {host} nor to one of its groups.")
            }
            Reason::Unreached { group, assigned_at } => format!(
                "{host} gets {package} through its group {group}, assigned {}, but has not checked in since the assignment first applied to the device.",
                text::time(*assigned_at)
            ),
            Reason::Skipped { group } => format!(
                "{package} is assigned to group {group} of {host}, but the device got no task when it checked in: it had the package already, or was outside the audience."
            ),
            Reason::Draft => {
                format!("{package} is a draft: its publication was not completed.")
            }
            Reason::NotActive => {
                format!("{package} is not active, so it is not announced to {host}.")
            }
            Reason::NoLocation => {
                format!("{package} is active at no location, so it is not announced to {host}.")
            }
            Reason::Expired { expired_at } => format!(
                "{package} expired {}, so agents no longer deploy it.",
                text::time(*expired_at)
            ),
            Reason::Deleted { deleted_at } => format!(
                "{package} was deleted {}, before {host} deployed it.",
                text::time(*deleted_at)
            ),
            Reason::NotInAudience => {
                format!("{package} is only for its audience, and {host} is not in the audience.")
            }
            Reason::OcsAgent => format!(
                "{package} is only for its audience, and {host} has an OCS agent, which checks no audience."
            ),
            Reason::UpdatesOtherAgent => {
                format!("{package} updates Packcast agents, and {host} has an OCS agent.")
            }
            Reason::Pending => {
                format!("{package} will be announced to {host} at its next check-in.")
            }
            Reason::Announced { announced_at } => format!(
                "{package} was announced to {host} {}, and the device has not reported since.",
                text::time(*announced_at)
            ),
            Reason::Waits {
                announced_at,
                wait,
                until,
            } => format!(
                "{package} was announced to {host} {}, and waits: {}.",
                text::time(*announced_at),
                waits::reason(*wait, *until)
            ),
            Reason::Rollout(wait) => self.rollout(wait),
            Reason::Cancelling { announced_at } => format!(
                "{package} was announced to {host} {}, and is not active any more: the device cancels the package at its next check-in, unless the device has begun to act.",
                text::time(*announced_at)
            ),
            Reason::Withdrawn {
                announced_at,
                told_to_drop,
            } => self.withdrawn(*announced_at, *told_to_drop),
            Reason::Unassigned { announced_at } => self.unassigned(*announced_at),
            Reason::InHistory => {
                format!("{host} has {package}: the history of its agent lists it.")
            }
            Reason::BehindPriority { behind } => format!(
                "{package} is not announced to {host} until the device has reported on {}, which has a higher priority: strict pacing announces one priority at a time.",
                (self.subject.name_of)(*behind)
            ),
            Reason::NotApplicable => self.not_applicable(),
            Reason::Succeeded | Reason::Failed | Reason::Cancelled => self
                .subject
                .finished
                .map_or_else(String::new, |finished| self.result(finished)),
        }
    }

    fn rollout(&self, wait: &RolloutWait) -> String {
        let Self { host, package, .. } = self;
        match (wait.closed, wait.wave) {
            (Closed::Wave, Some(wave)) => {
                let opens = match wait.opens {
                    Some(opens) if wait.is_calendar_open => format!(
                        "which is open by the calendar since {}, and begins when the wave before it has gone well",
                        text::time(opens)
                    ),
                    Some(opens) => format!("which opens {} at the earliest", text::time(opens)),
                    None => "which stays closed until an administrator opens it".to_owned(),
                };
                format!("{host} is in wave {wave} of the rollout of {package}, {opens}.")
            }
            (Closed::Wave, None) => {
                format!("{host} is in no wave of the rollout of {package}.")
            }
            (Closed::Full, _) => format!(
                "The rollout of {package} is full, so {host} waits: each place is taken by a device that is not healthy yet."
            ),
            (Closed::Paused, _) => {
                format!("The rollout of {package} is paused, so {host} waits.")
            }
            (Closed::Restored, _) => format!(
                "The rollout of {package} was not resumed since the table was restored, so {host} waits."
            ),
            (Closed::Halted, _) => {
                format!("Failures have halted the rollout of {package}, so {host} waits.")
            }
            (Closed::Ended, _) => {
                format!("The rollout of {package} has ended, so {host} does not begin.")
            }
        }
    }

    fn not_applicable(&self) -> String {
        let Self { host, package, .. } = self;
        let os = self.subject.record.map(|record| record.os.as_str());
        let runs = match os.filter(|os| !os.is_empty()) {
            Some(os) => format!("{host} runs {os}"),
            None => format!("{host} runs another system"),
        };
        let platform = text::platform(self.subject.package.platform);
        format!("{package} is for {platform}, and {runs}, so the device does not get it.")
    }

    fn withdrawn(&self, announced_at: UnixTime, was_told_to_drop: bool) -> String {
        let Self { host, package, .. } = self;
        let consequence = match (self.has_ocs_agent, was_told_to_drop) {
            (false, _) => {
                "the device cancels the package at its next check-in, unless the device has begun to act"
            }
            (true, false) => "its OCS agent still deploys the package",
            (true, true) => {
                "the device's OCS agent was sent the command to drop the package, and has not reported"
            }
        };
        format!(
            "{package} was announced to {host} {}, and was unassigned since: {consequence}.",
            text::time(announced_at)
        )
    }

    fn unassigned(&self, announced_at: Option<UnixTime>) -> String {
        let Self { host, package, .. } = self;
        let consequence = announced_at.map_or_else(
            || "drops the task, which was never announced".to_owned(),
            |at| format!("withdraws the task, which was announced {}", text::time(at)),
        );
        format!(
            "{package} was unassigned, and {host} has not checked in since: the device's next check-in {consequence}."
        )
    }

    fn result(&self, finished: &FinishedTask) -> String {
        let settling = self.subject.settling;
        let settling = settling.filter(|_| finished.outcome == Outcome::Succeeded);
        format!(
            "Attempt {} at {} on {} ended {}: {}.{}",
            finished.attempt,
            self.package,
            self.host,
            text::time(finished.finished_at),
            text::outcome(finished),
            settling.map_or_else(String::new, |settling| self.settling(settling))
        )
    }

    /// Writes the time until which a device settles after its success in a rollout, and the restart that
    /// its rollout waits for.
    fn settling(&self, settling: &Settling) -> String {
        let (host, until) = (self.host, text::time(settling.until));
        let then = match settling.ran_in {
            Some(_) => "a later check-in, after a restart,",
            None => "a later check-in",
        };
        format!(
            " For its rollout, {host} settles until {until}: {then} shows that the device is healthy."
        )
    }

    fn next(&self, reason: &Reason) -> String {
        let Self { id, package, .. } = self;
        if let (Reason::Succeeded, Some(settling)) = (reason, self.subject.settling) {
            return next_of_settling(settling);
        }
        match reason {
            Reason::NeverSeen => {
                "check the name of the device, and its agent; run 'packcast device list' to list the known devices".to_owned()
            }
            Reason::Excluded => {
                format!("run 'packcast device unblock {id}' to admit the device again")
            }
            Reason::NotAssigned => {
                format!("run 'packcast assign {package} --device {id}' to assign the package")
            }
            Reason::Unreached { .. } | Reason::Pending => {
                "wait for the next check-in; if there is none, check the agent on the device"
                    .to_owned()
            }
            Reason::Skipped { .. } => format!(
                "run 'packcast assign {package} --device {id}' to assign the package to the device itself, with --force if the device had the package before"
            ),
            Reason::Draft => format!(
                "run the same 'packcast publish' command again to complete the publication, then 'packcast activate {package}'"
            ),
            Reason::NotActive | Reason::Cancelling { .. } => format!(
                "run 'packcast activate {package}' to announce the package to its devices"
            ),
            Reason::NoLocation => format!(
                "run 'packcast location list' to see the locations, then 'packcast activate {package}'"
            ),
            Reason::Expired { .. } => PUBLISH_AGAIN_HINT.to_owned(),
            Reason::Deleted { .. } => PUBLISH_ANOTHER_VERSION.to_owned(),
            Reason::Waits { wait, .. } => self.next_of_waiting(*wait),
            Reason::Rollout(wait) if wait.closed == Closed::Paused => {
                format!("run 'packcast rollout resume {package}' to continue the rollout")
            }
            Reason::Rollout(_) => {
                format!("run 'packcast rollout show {package}' to see the rollout")
            }
            Reason::NotApplicable => {
                "no action is needed; publish the package under another version with another --platform if the device can run it".to_owned()
            }
            Reason::NotInAudience => PUBLISH_FOR_THE_DEVICE.to_owned(),
            Reason::UpdatesOtherAgent => {
                "no action is needed; install the Packcast agent on the device to replace its OCS agent".to_owned()
            }
            Reason::OcsAgent => {
                "publish the package under another version without --only-for and --only-for-group, and assign that version".to_owned()
            }
            Reason::BehindPriority { behind } => format!(
                "run 'packcast explain {id} {behind}' to see why the device has not finished the other package"
            ),
            Reason::Announced { .. } if self.has_ocs_agent => format!(
                "wait for the report of the device; run 'packcast device restart-download {id}' to make an OCS Unix agent resume the download"
            ),
            Reason::Announced { .. } => {
                "wait for the report of the device; if there is none, check the agent on the device".to_owned()
            }
            Reason::Withdrawn { .. } | Reason::Unassigned { .. } => format!(
                "no action is needed; run 'packcast assign {package} --device {id}' to assign the package again"
            ),
            Reason::Succeeded | Reason::InHistory => format!(
                "no action is needed; run 'packcast assign {package} --device {id} --force' to deploy the package again"
            ),
            Reason::Failed => format!(
                "fix the cause, then run 'packcast assign {package} --device {id}' to try again"
            ),
            Reason::Cancelled => {
                format!("run 'packcast assign {package} --device {id}' to try again")
            }
        }
    }
}

impl Words<'_> {
    /// Returns the next step for an announced package with which the device does not begin.
    fn next_of_waiting(&self, wait: WaitWord) -> String {
        let Self { id, package, .. } = self;
        match wait {
            WaitWord::NoKeyList => {
                "run 'packcast keys show', and compare the trust line with agent.toml on the device"
                    .to_owned()
            }
            WaitWord::KeyListExpired | WaitWord::CommitExpired if self.clock_is_wrong() => {
                "correct the clock of the device, which differs by more than five minutes"
                    .to_owned()
            }
            WaitWord::KeyListExpired | WaitWord::CommitExpired => {
                "run 'packcast sign' to renew the state, then wait for the next check-in".to_owned()
            }
            WaitWord::NoCommit | WaitWord::Incomplete | WaitWord::NotAssigned => {
                "wait for the next check-in; if the reason stays, run 'packcast audit'".to_owned()
            }
            WaitWord::OtherManifest | WaitWord::NoRollout => "run 'packcast audit' to find the difference".to_owned(),
            WaitWord::Unreadable | WaitWord::UnknownTerm => {
                "update the Packcast agent on the device".to_owned()
            }
            WaitWord::Used => {
                format!("run 'packcast assign {package} --device {id}' to assign the package again")
            }
            WaitWord::Downgrade => format!(
                "run 'packcast assign {package} --device {id} --allow-downgrade' to allow the downgrade"
            ),
            WaitWord::OtherAudience => PUBLISH_FOR_THE_DEVICE.to_owned(),
            WaitWord::Unreachable => {
                "run 'packcast location check', and check the network of the device".to_owned()
            }
            WaitWord::Behind => {
                format!("run 'packcast device show {id}' to find the package of higher priority")
            }
            WaitWord::Clock => "correct the clock of the device".to_owned(),
            WaitWord::Held => {
                "run 'packcast status' to see if the target is paused; otherwise wait for the next check-in"
                    .to_owned()
            }
            WaitWord::Unanswered => {
                "no action is needed; the device asks again, with growing pauses".to_owned()
            }
            WaitWord::Term | WaitWord::WaveNotOpen => {
                "no action is needed; the device begins on its own".to_owned()
            }
            WaitWord::WaveClosed => format!("run 'packcast rollout promote {package}' to open the wave"),
            WaitWord::Other => {
                "run 'packcast-agent status' on the device to see the reason in words".to_owned()
            }
        }
    }

    fn clock_is_wrong(&self) -> bool {
        let machine = self
            .subject
            .record
            .and_then(|record| record.machine.as_ref());
        machine.is_some_and(|machine| machine.clock.is_some())
    }
}

/// Returns the next step for a device that settles. Another attempt would not help.
fn next_of_settling(settling: &Settling) -> String {
    match settling.ran_in {
        Some(_) => "restart the device: its result asked for a restart, and only a check-in after the restart counts",
        None => "wait for the check-in of the device; if there is none, check the device: it has not been heard from since its success",
    }
    .to_owned()
}

/// Returns the next step for a deleted package, which no device gets any more.
fn next_of_deleted(reason: &Reason) -> String {
    match reason {
        Reason::Succeeded | Reason::InHistory => {
            "no action is needed; the package was deleted since"
        }
        Reason::NeverSeen
        | Reason::NotApplicable
        | Reason::Withdrawn { .. }
        | Reason::Unassigned { .. } => {
            "no action is needed; the package was deleted, and no device gets it any more"
        }
        _ => PUBLISH_ANOTHER_VERSION,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use packcast_protocol::AgentId;
    use packcast_protocol::api::BoundedText;
    use packcast_protocol::manifest::Platform;
    use packcast_protocol::state::{RolloutId, WaveNumber};
    use packcast_rollout::record::PackageState;
    use packcast_rollout::rollout::Place;
    use packcast_rollout::{ClockError, ExclusionKind, MachineRecord, WriteBudget};

    use super::*;
    use crate::rendered::package_record;

    const AT: UnixTime = UnixTime(1_795_000_000);

    fn device(id: DeviceId) -> DeviceRecord {
        DeviceRecord {
            device: id,
            host_name: "web01".to_owned(),
            agent: String::new(),
            os: "Debian GNU/Linux 12".to_owned(),
            first_seen: AT,
            last_seen: AT,
            inventory_asked: None,
            inventory_received: None,
            machine: None,
            facts: None,
            batch: None,
            budget: WriteBudget::default(),
        }
    }

    /// Renders the sentences of each reason, for a device that checked in.
    fn render(id: DeviceId, state: PackageState, reasons: Vec<Reason>) -> String {
        render_settling(id, state, reasons, None)
    }

    /// Renders the same for a device that may settle.
    fn render_settling(
        id: DeviceId,
        state: PackageState,
        reasons: Vec<Reason>,
        settling: Option<&Settling>,
    ) -> String {
        let (record, mut package) = (device(id), package_record(state));
        package.platform = Platform::Windows;
        let mut rendered = String::new();
        for reason in reasons {
            let (outcome, code) = match reason {
                Reason::Failed => (Outcome::Failed, "EXIT_CODE_3"),
                Reason::Cancelled => (Outcome::Cancelled, "CANCELLED"),
                _ => (Outcome::Succeeded, "SUCCESS_0"),
            };
            let finished = FinishedTask {
                package: package.id,
                attempt: 2,
                code: code.parse().unwrap(),
                outcome,
                detail: None,
                output_tail: None,
                mandate: None,
                used: BTreeSet::new(),
                finished_at: AT,
            };
            let excluded = Exclusion {
                kind: ExclusionKind::Blocked,
                since: AT,
                reason: Some("stolen".parse().unwrap()),
            };
            let subject = SentenceSubject {
                device: &record.device,
                record: Some(&record),
                excluded: Some(&excluded),
                package: &package,
                finished: Some(&finished),
                settling,
                name_of: &|_| "urgent@1".to_owned(),
            };
            let Sentences { says, next } = Sentences::new(&subject, &reason);
            let debug = format!("{reason:?}");
            let name = debug.split(|c: char| !c.is_alphanumeric()).next();
            writeln!(rendered, "{}: {says}\n  next: {next}", name.unwrap()).unwrap();
        }
        rendered
    }

    fn packcast_agent() -> DeviceId {
        DeviceId::Agent(AgentId::of_public_key(&[1; 32]))
    }

    fn ocs_agent() -> DeviceId {
        "ocs:web01-2026-03-04-05-06-07".parse().unwrap()
    }

    fn reasons() -> Vec<Reason> {
        let group = || "lab".parse().unwrap();
        vec![
            Reason::NeverSeen,
            Reason::Excluded,
            Reason::NotAssigned,
            Reason::Unreached {
                group: group(),
                assigned_at: AT,
            },
            Reason::Skipped { group: group() },
            Reason::Draft,
            Reason::NotActive,
            Reason::NoLocation,
            Reason::Expired { expired_at: AT },
            Reason::Deleted { deleted_at: AT },
            Reason::NotApplicable,
            Reason::NotInAudience,
            Reason::OcsAgent,
            Reason::UpdatesOtherAgent,
            Reason::BehindPriority {
                behind: "1795000001".parse().unwrap(),
            },
            Reason::Pending,
            Reason::Announced { announced_at: AT },
            Reason::Cancelling { announced_at: AT },
            Reason::Withdrawn {
                announced_at: AT,
                told_to_drop: false,
            },
            Reason::Withdrawn {
                announced_at: AT,
                told_to_drop: true,
            },
            Reason::Unassigned { announced_at: None },
            Reason::Unassigned {
                announced_at: Some(AT),
            },
            Reason::InHistory,
            Reason::Succeeded,
            Reason::Failed,
            Reason::Cancelled,
        ]
    }

    #[test]
    fn each_reason_has_sentences_for_a_packcast_agent() {
        let rendered = render(packcast_agent(), PackageState::Draft, reasons());
        insta::assert_snapshot!(rendered, @"
        NeverSeen: web01 has never checked in, so it is unknown if the device has tool@1.
          next: check the name of the device, and its agent; run 'packcast device list' to list the known devices
        Excluded: web01 gets no package from the target (blocked since 2026-11-18 11:06:40 UTC: stolen).
          next: run 'packcast device unblock key:olgw5bbcyqd7w3ijq2ipceylpu' to admit the device again
        NotAssigned: tool@1 is assigned neither to web01 nor to one of its groups.
          next: run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package
        Unreached: web01 gets tool@1 through its group lab, assigned 2026-11-18 11:06:40 UTC, but has not checked in since the assignment first applied to the device.
          next: wait for the next check-in; if there is none, check the agent on the device
        Skipped: tool@1 is assigned to group lab of web01, but the device got no task when it checked in: it had the package already, or was outside the audience.
          next: run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package to the device itself, with --force if the device had the package before
        Draft: tool@1 is a draft: its publication was not completed.
          next: run the same 'packcast publish' command again to complete the publication, then 'packcast activate tool@1'
        NotActive: tool@1 is not active, so it is not announced to web01.
          next: run 'packcast activate tool@1' to announce the package to its devices
        NoLocation: tool@1 is active at no location, so it is not announced to web01.
          next: run 'packcast location list' to see the locations, then 'packcast activate tool@1'
        Expired: tool@1 expired 2026-11-18 11:06:40 UTC, so agents no longer deploy it.
          next: publish its content under another version, and assign that version: devices deploy it as a new package
        Deleted: tool@1 was deleted 2026-11-18 11:06:40 UTC, before web01 deployed it.
          next: publish the package under another version, and assign that version
        NotApplicable: tool@1 is for Windows, and web01 runs Debian GNU/Linux 12, so the device does not get it.
          next: no action is needed; publish the package under another version with another --platform if the device can run it
        NotInAudience: tool@1 is only for its audience, and web01 is not in the audience.
          next: publish the package under another version whose audience (--only-for, --only-for-group) includes the device, and assign that version
        OcsAgent: tool@1 is only for its audience, and web01 has an OCS agent, which checks no audience.
          next: publish the package under another version without --only-for and --only-for-group, and assign that version
        UpdatesOtherAgent: tool@1 updates Packcast agents, and web01 has an OCS agent.
          next: no action is needed; install the Packcast agent on the device to replace its OCS agent
        BehindPriority: tool@1 is not announced to web01 until the device has reported on urgent@1, which has a higher priority: strict pacing announces one priority at a time.
          next: run 'packcast explain key:olgw5bbcyqd7w3ijq2ipceylpu 1795000001' to see why the device has not finished the other package
        Pending: tool@1 will be announced to web01 at its next check-in.
          next: wait for the next check-in; if there is none, check the agent on the device
        Announced: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and the device has not reported since.
          next: wait for the report of the device; if there is none, check the agent on the device
        Cancelling: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and is not active any more: the device cancels the package at its next check-in, unless the device has begun to act.
          next: run 'packcast activate tool@1' to announce the package to its devices
        Withdrawn: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and was unassigned since: the device cancels the package at its next check-in, unless the device has begun to act.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package again
        Withdrawn: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and was unassigned since: the device cancels the package at its next check-in, unless the device has begun to act.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package again
        Unassigned: tool@1 was unassigned, and web01 has not checked in since: the device's next check-in drops the task, which was never announced.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package again
        Unassigned: tool@1 was unassigned, and web01 has not checked in since: the device's next check-in withdraws the task, which was announced 2026-11-18 11:06:40 UTC.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package again
        InHistory: web01 has tool@1: the history of its agent lists it.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu --force' to deploy the package again
        Succeeded: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: succeeded: ran, exit code 0.
          next: no action is needed; run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu --force' to deploy the package again
        Failed: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: failed: ran, exit code 3.
          next: fix the cause, then run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to try again
        Cancelled: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: cancelled: CANCELLED.
          next: run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to try again
        ");
    }

    #[test]
    fn each_reason_has_sentences_for_an_ocs_agent() {
        let rendered = render(ocs_agent(), PackageState::Draft, reasons());
        insta::assert_snapshot!(rendered, @"
        NeverSeen: web01 has never checked in, so it is unknown if the device has tool@1.
          next: check the name of the device, and its agent; run 'packcast device list' to list the known devices
        Excluded: web01 gets no package from the target (blocked since 2026-11-18 11:06:40 UTC: stolen).
          next: run 'packcast device unblock ocs:web01-2026-03-04-05-06-07' to admit the device again
        NotAssigned: tool@1 is assigned neither to web01 nor to one of its groups.
          next: run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to assign the package
        Unreached: web01 gets tool@1 through its group lab, assigned 2026-11-18 11:06:40 UTC, but has not checked in since the assignment first applied to the device.
          next: wait for the next check-in; if there is none, check the agent on the device
        Skipped: tool@1 is assigned to group lab of web01, but the device got no task when it checked in: it had the package already, or was outside the audience.
          next: run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to assign the package to the device itself, with --force if the device had the package before
        Draft: tool@1 is a draft: its publication was not completed.
          next: run the same 'packcast publish' command again to complete the publication, then 'packcast activate tool@1'
        NotActive: tool@1 is not active, so it is not announced to web01.
          next: run 'packcast activate tool@1' to announce the package to its devices
        NoLocation: tool@1 is active at no location, so it is not announced to web01.
          next: run 'packcast location list' to see the locations, then 'packcast activate tool@1'
        Expired: tool@1 expired 2026-11-18 11:06:40 UTC, so agents no longer deploy it.
          next: publish its content under another version, and assign that version: devices deploy it as a new package
        Deleted: tool@1 was deleted 2026-11-18 11:06:40 UTC, before web01 deployed it.
          next: publish the package under another version, and assign that version
        NotApplicable: tool@1 is for Windows, and web01 runs Debian GNU/Linux 12, so the device does not get it.
          next: no action is needed; publish the package under another version with another --platform if the device can run it
        NotInAudience: tool@1 is only for its audience, and web01 is not in the audience.
          next: publish the package under another version whose audience (--only-for, --only-for-group) includes the device, and assign that version
        OcsAgent: tool@1 is only for its audience, and web01 has an OCS agent, which checks no audience.
          next: publish the package under another version without --only-for and --only-for-group, and assign that version
        UpdatesOtherAgent: tool@1 updates Packcast agents, and web01 has an OCS agent.
          next: no action is needed; install the Packcast agent on the device to replace its OCS agent
        BehindPriority: tool@1 is not announced to web01 until the device has reported on urgent@1, which has a higher priority: strict pacing announces one priority at a time.
          next: run 'packcast explain ocs:web01-2026-03-04-05-06-07 1795000001' to see why the device has not finished the other package
        Pending: tool@1 will be announced to web01 at its next check-in.
          next: wait for the next check-in; if there is none, check the agent on the device
        Announced: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and the device has not reported since.
          next: wait for the report of the device; run 'packcast device restart-download ocs:web01-2026-03-04-05-06-07' to make an OCS Unix agent resume the download
        Cancelling: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and is not active any more: the device cancels the package at its next check-in, unless the device has begun to act.
          next: run 'packcast activate tool@1' to announce the package to its devices
        Withdrawn: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and was unassigned since: its OCS agent still deploys the package.
          next: wait for the report of the device; run 'packcast device drop ocs:web01-2026-03-04-05-06-07' to make an OCS Unix agent drop the package
        Withdrawn: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and was unassigned since: the device's OCS agent was sent the command to drop the package, and has not reported.
          next: no action is needed; run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to assign the package again
        Unassigned: tool@1 was unassigned, and web01 has not checked in since: the device's next check-in drops the task, which was never announced.
          next: no action is needed; run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to assign the package again
        Unassigned: tool@1 was unassigned, and web01 has not checked in since: the device's next check-in withdraws the task, which was announced 2026-11-18 11:06:40 UTC.
          next: no action is needed; run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to assign the package again
        InHistory: web01 has tool@1: the history of its agent lists it.
          next: no action is needed; run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07 --force' to deploy the package again
        Succeeded: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: succeeded: ran, exit code 0.
          next: no action is needed; run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07 --force' to deploy the package again
        Failed: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: failed: ran, exit code 3.
          next: fix the cause, then run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to try again
        Cancelled: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: cancelled: CANCELLED.
          next: run 'packcast assign tool@1 --device ocs:web01-2026-03-04-05-06-07' to try again
        ");
    }

    #[test]
    fn a_device_that_settles_is_waited_for_and_not_forced() {
        let mut settling = Settling {
            place: Place {
                rollout: RolloutId::from_bytes([7; 16]),
                round: 1,
            },
            package: package_record(PackageState::Draft).id,
            until: AT.plus(7_200),
            ran_in: None,
        };
        let render = |settling: &Settling, reason| {
            let state = PackageState::Draft;
            render_settling(packcast_agent(), state, vec![reason], Some(settling))
        };
        let checks_in = render(&settling, Reason::Succeeded);
        settling.ran_in = Some(BoundedText::tail("boot-1"));
        let restarts = render(&settling, Reason::Succeeded);
        insta::assert_snapshot!(checks_in + &restarts, @"
        Succeeded: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: succeeded: ran, exit code 0. For its rollout, web01 settles until 2026-11-18 13:06:40 UTC: a later check-in shows that the device is healthy.
          next: wait for the check-in of the device; if there is none, check the device: it has not been heard from since its success
        Succeeded: Attempt 2 at tool@1 on web01 ended 2026-11-18 11:06:40 UTC: succeeded: ran, exit code 0. For its rollout, web01 settles until 2026-11-18 13:06:40 UTC: a later check-in, after a restart, shows that the device is healthy.
          next: restart the device: its result asked for a restart, and only a check-in after the restart counts
        ");
    }

    #[test]
    fn each_wait_for_a_rollout_has_a_sentence() {
        let wave = Some(WaveNumber::FIRST);
        let wait = |closed, wave, opens, is_calendar_open| {
            Reason::Rollout(RolloutWait {
                rollout: RolloutId::from_bytes([7; 16]),
                closed,
                wave,
                opens,
                is_calendar_open,
            })
        };
        let reasons = vec![
            wait(Closed::Wave, wave, Some(AT), false),
            wait(Closed::Wave, wave, Some(AT), true),
            wait(Closed::Wave, wave, None, false),
            wait(Closed::Wave, None, None, false),
            wait(Closed::Full, wave, Some(AT), true),
            wait(Closed::Paused, wave, Some(AT), true),
            wait(Closed::Restored, wave, Some(AT), true),
            wait(Closed::Halted, wave, Some(AT), true),
            wait(Closed::Ended, None, None, false),
        ];
        let rendered = render(packcast_agent(), PackageState::Draft, reasons);
        insta::assert_snapshot!(rendered, @"
        Rollout: web01 is in wave 1 of the rollout of tool@1, which opens 2026-11-18 11:06:40 UTC at the earliest.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: web01 is in wave 1 of the rollout of tool@1, which is open by the calendar since 2026-11-18 11:06:40 UTC, and begins when the wave before it has gone well.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: web01 is in wave 1 of the rollout of tool@1, which stays closed until an administrator opens it.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: web01 is in no wave of the rollout of tool@1.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: The rollout of tool@1 is full, so web01 waits: each place is taken by a device that is not healthy yet.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: The rollout of tool@1 is paused, so web01 waits.
          next: run 'packcast rollout resume tool@1' to continue the rollout
        Rollout: The rollout of tool@1 was not resumed since the table was restored, so web01 waits.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: Failures have halted the rollout of tool@1, so web01 waits.
          next: run 'packcast rollout show tool@1' to see the rollout
        Rollout: The rollout of tool@1 has ended, so web01 does not begin.
          next: run 'packcast rollout show tool@1' to see the rollout
        ");
    }

    #[test]
    fn each_reason_to_wait_has_a_next_step() {
        let words = [
            WaitWord::NoKeyList,
            WaitWord::KeyListExpired,
            WaitWord::NoCommit,
            WaitWord::CommitExpired,
            WaitWord::Incomplete,
            WaitWord::Unreadable,
            WaitWord::NotAssigned,
            WaitWord::Used,
            WaitWord::OtherManifest,
            WaitWord::UnknownTerm,
            WaitWord::Term,
            WaitWord::WaveNotOpen,
            WaitWord::WaveClosed,
            WaitWord::NoRollout,
            WaitWord::Downgrade,
            WaitWord::OtherAudience,
            WaitWord::Unreachable,
            WaitWord::Behind,
            WaitWord::Clock,
            WaitWord::Held,
            WaitWord::Unanswered,
            WaitWord::Other,
        ];
        let reasons = words.map(|wait| Reason::Waits {
            announced_at: AT,
            wait,
            until: None,
        });
        let rendered = render(packcast_agent(), PackageState::Draft, reasons.into());
        insta::assert_snapshot!(rendered, @"
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device follows no key list.
          next: run 'packcast keys show', and compare the trust line with agent.toml on the device
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the key list of the device has expired.
          next: run 'packcast sign' to renew the state, then wait for the next check-in
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device holds no commit.
          next: wait for the next check-in; if the reason stays, run 'packcast audit'
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the state of the device has expired.
          next: run 'packcast sign' to renew the state, then wait for the next check-in
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device lacks parts of its state.
          next: wait for the next check-in; if the reason stays, run 'packcast audit'
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device cannot read a document of its state.
          next: update the Packcast agent on the device
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the state of the device does not assign the package.
          next: wait for the next check-in; if the reason stays, run 'packcast audit'
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device has used up every assignment of the package.
          next: run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu' to assign the package again
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the announced manifest is not the assigned one.
          next: run 'packcast audit' to find the difference
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the assignment has a term that the device does not know.
          next: update the Packcast agent on the device
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: a term of the assignment is not met yet.
          next: no action is needed; the device begins on its own
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the wave of the device in its rollout is not open yet.
          next: no action is needed; the device begins on its own
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the wave of the device in its rollout stays closed until an administrator opens it.
          next: run 'packcast rollout promote tool@1' to open the wave
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the state of the device has no calendar for the rollout.
          next: run 'packcast audit' to find the difference
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: a later package of the same name is deployed on the device.
          next: run 'packcast assign tool@1 --device key:olgw5bbcyqd7w3ijq2ipceylpu --allow-downgrade' to allow the downgrade
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the package is for other devices.
          next: publish the package under another version whose audience (--only-for, --only-for-group) includes the device, and assign that version
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: no location delivers the package.
          next: run 'packcast location check', and check the network of the device
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: a package of higher priority waits for its locations.
          next: run 'packcast device show key:olgw5bbcyqd7w3ijq2ipceylpu' to find the package of higher priority
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the package has expired by the clock of the device, which is wrong.
          next: correct the clock of the device
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the function does not let the device begin the package.
          next: run 'packcast status' to see if the target is paused; otherwise wait for the next check-in
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the function has not answered the device's question.
          next: no action is needed; the device asks again, with growing pauses
        Waits: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and waits: the device reports a reason of a later version.
          next: run 'packcast-agent status' on the device to see the reason in words
        ");
    }

    #[test]
    fn a_device_with_a_wrong_clock_needs_another_clock() {
        let mut record = device(packcast_agent());
        record.machine = Some(MachineRecord {
            platform: BoundedText::tail("linux-x86_64"),
            ids: Vec::new(),
            other: None,
            clock: Some(ClockError::Ahead),
        });
        let package = package_record(PackageState::Draft);
        let subject = SentenceSubject {
            device: &record.device,
            record: Some(&record),
            excluded: None,
            package: &package,
            finished: None,
            settling: None,
            name_of: &|id| id.to_string(),
        };
        let reason = Reason::Waits {
            announced_at: AT,
            wait: WaitWord::CommitExpired,
            until: None,
        };
        let sentences = Sentences::new(&subject, &reason);
        insta::assert_snapshot!(sentences.next, @"correct the clock of the device, which differs by more than five minutes");
    }

    #[test]
    fn a_deleted_package_has_next_steps_of_its_own() {
        let deleted = PackageState::Deleted { deleted_at: AT };
        let rendered = render(packcast_agent(), deleted.clone(), reasons());
        let next_steps = rendered.lines().filter(|line| line.starts_with("  next"));
        let next_steps: BTreeSet<&str> = next_steps.collect();
        let next_steps: Vec<&str> = next_steps.into_iter().collect();
        insta::assert_snapshot!(next_steps.join("\n"), @r"
        next: no action is needed; the package was deleted since
        next: no action is needed; the package was deleted, and no device gets it any more
        next: publish the package under another version, and assign that version
        ");
        let withdrawn = Reason::Withdrawn {
            announced_at: AT,
            told_to_drop: false,
        };
        let rendered = render(ocs_agent(), deleted, vec![withdrawn]);
        insta::assert_snapshot!(rendered, @r"
        Withdrawn: tool@1 was announced to web01 2026-11-18 11:06:40 UTC, and was unassigned since: its OCS agent still deploys the package.
          next: wait for the report of the device; run 'packcast device drop ocs:web01-2026-03-04-05-06-07' to make an OCS Unix agent drop the package
        ");
    }

    #[test]
    fn a_device_without_a_host_name_is_named_by_its_id() {
        let (id, package) = (ocs_agent(), package_record(PackageState::Draft));
        let subject = SentenceSubject {
            device: &id,
            record: None,
            excluded: None,
            package: &package,
            finished: None,
            settling: None,
            name_of: &|id| id.to_string(),
        };
        let sentences = Sentences::new(&subject, &Reason::NeverSeen);
        insta::assert_snapshot!(sentences.says, @"ocs:web01-2026-03-04-05-06-07 has never checked in, so it is unknown if the device has tool@1.");
    }
}
