//! Sentences for each reason: the explanation, and the next step.

use packcast_protocol::{DeviceId, GroupName, PackageId, UnixTime};
use packcast_rollout::{DeviceRecord, FinishedTask, PackageRecord, Reason};

use crate::package::named;
use crate::text;

/// A reason in words.
pub(super) struct Sentences {
    /// The reason as a sentence.
    pub(super) says: String,
    /// The next step.
    pub(super) next: String,
}

/// The device and the package that sentences are about.
pub(super) struct Subject<'a> {
    pub(super) device: &'a DeviceId,
    pub(super) record: Option<&'a DeviceRecord>,
    pub(super) package: &'a PackageRecord,
    pub(super) finished: Option<&'a FinishedTask>,
    /// Names another package of the device.
    pub(super) name_of: &'a dyn Fn(PackageId) -> String,
}

/// The names in the sentences.
struct Words<'a> {
    subject: &'a Subject<'a>,
    /// The device as people call it.
    host: &'a str,
    /// The device as commands take it.
    id: String,
    package: String,
    is_stock: bool,
}

impl Sentences {
    pub(super) fn new(subject: &Subject<'_>, reason: &Reason) -> Self {
        let id = subject.device.to_string();
        let host = subject.record.map(|record| record.host_name.as_str());
        let words = Words {
            subject,
            host: host.filter(|name| !name.is_empty()).unwrap_or(&id),
            id: id.clone(),
            package: named(subject.package),
            is_stock: matches!(subject.device, DeviceId::Ocs(_)),
        };
        let next = match reason {
            Reason::Withdrawn {
                told_to_drop: false,
                ..
            } if words.is_stock => format!(
                "wait for its report; 'packcast device {id} --drop' lets a stock Unix agent drop it"
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
                format!("{host} has never checked in, so nothing is known of it and {package}.")
            }
            Reason::NotAssigned => format!(
                "{host} is not to have {package}: neither the device nor any group of it was assigned it."
            ),
            Reason::Unreached { group, assigned_at } => self.unreached(group, *assigned_at),
            Reason::Skipped { group } => format!(
                "{host} was passed over when it checked in: its group {group} has {package}, but the device was not to get it then."
            ),
            Reason::Draft => format!("{package} is a draft: it was not published completely."),
            Reason::NotActive => {
                format!("{package} is not active, so {host} is not told of it.")
            }
            Reason::NoLocation => {
                format!("{package} is active at no location, so {host} is not told of it.")
            }
            Reason::Expired { expired_at } => format!(
                "{package} expired {}, so it is not deployed any more.",
                text::time(*expired_at)
            ),
            Reason::Deleted { deleted_at } => format!(
                "{package} was deleted {}, before {host} had it.",
                text::time(*deleted_at)
            ),
            Reason::NotInAudience => {
                format!("{package} is meant for some devices only, and {host} is none of them.")
            }
            Reason::OcsAgent => format!(
                "{package} is meant for some devices only, and {host} runs a stock agent, which cannot check for which."
            ),
            Reason::Pending => format!("{host} is told of {package} at its next check-in."),
            Reason::Announced { announced_at } => format!(
                "{host} was told of {package} {}, and has not reported since.",
                text::time(*announced_at)
            ),
            Reason::Cancelling { announced_at } => format!(
                "{package} is not active any more since {host} was told {}: the device cancels at its next check-in, unless it has begun to act.",
                text::time(*announced_at)
            ),
            Reason::Withdrawn {
                announced_at,
                told_to_drop,
            } => self.withdrawn(*announced_at, *told_to_drop),
            Reason::Unassigned { announced_at } => self.taken_back(*announced_at),
            Reason::InHistory => {
                format!("{host} has {package}: the history of its agent lists it.")
            }
            Reason::BehindPriority { behind } => format!(
                "{host} is not told of {package} before it has reported on {}, which has a higher priority: this target announces one priority at a time.",
                (self.subject.name_of)(*behind)
            ),
            Reason::Succeeded | Reason::Failed | Reason::Cancelled => self
                .subject
                .finished
                .map_or_else(String::new, |finished| self.result(finished)),
        }
    }

    fn unreached(&self, group: &GroupName, assigned_at: UnixTime) -> String {
        let Self { host, package, .. } = self;
        format!(
            "{host} is to have {package} for its group {group}, which has it since {}, but has not checked in since it was to have it.",
            text::time(assigned_at)
        )
    }

    fn withdrawn(&self, announced_at: UnixTime, told_to_drop: bool) -> String {
        let Self { host, package, .. } = self;
        let goes_on = match (self.is_stock, told_to_drop) {
            (false, _) => "cancels at its next check-in, unless it has begun to act",
            (true, false) => "runs a stock agent, which goes on until it reports",
            (true, true) => "was ordered to drop it; it has not reported",
        };
        format!(
            "{package} was taken back after {host} was told {}: the device {goes_on}.",
            text::time(announced_at)
        )
    }

    fn taken_back(&self, announced_at: Option<UnixTime>) -> String {
        let Self { host, package, .. } = self;
        let then = announced_at.map_or_else(
            || "it was not told, and its task is dropped then".to_owned(),
            |at| {
                format!(
                    "it was told {}, and its task is withdrawn then",
                    text::time(at)
                )
            },
        );
        format!("{package} was taken back, and {host} has not checked in since: {then}.")
    }

    fn result(&self, finished: &FinishedTask) -> String {
        format!(
            "Attempt {} at {} on {} {}: {}.",
            finished.attempt,
            self.package,
            self.host,
            text::time(finished.finished_at),
            text::outcome(finished)
        )
    }

    fn next(&self, reason: &Reason) -> String {
        let Self { id, package, .. } = self;
        match reason {
            Reason::NeverSeen => {
                "check the name, and the agent on the device; 'packcast device' lists those that are known".to_owned()
            }
            Reason::NotAssigned => format!("'packcast assign {package} --device {id}'"),
            Reason::Unreached { .. } | Reason::Pending => {
                "wait for its next check-in; see to the agent on the device if there is none".to_owned()
            }
            Reason::Skipped { .. } => format!(
                "'packcast assign {package} --device {id}', with --force if the device had it before"
            ),
            Reason::Draft => {
                "run the same 'packcast publish' again to complete it, and activate it".to_owned()
            }
            Reason::NotActive | Reason::Cancelling { .. } => format!(
                "'packcast activate {package}' lets its devices be told"
            ),
            Reason::NoLocation => format!(
                "'packcast location list' shows the locations; then 'packcast activate {package}'"
            ),
            Reason::Expired { .. } | Reason::Deleted { .. } => {
                "publish it under another version, and assign that".to_owned()
            }
            Reason::NotInAudience => {
                "publish it under another version, for this device too (--only-for)".to_owned()
            }
            Reason::OcsAgent => {
                "publish it under another version for all devices, without --only-for".to_owned()
            }
            Reason::BehindPriority { behind } => {
                format!("'packcast explain {id} {behind}' tells what the other waits for")
            }
            Reason::Announced { .. } if self.is_stock => format!(
                "wait for its report; 'packcast device {id} --restart-download' lets a stock Unix agent resume"
            ),
            Reason::Announced { .. } => {
                "wait for its report; see to the agent on the device if there is none".to_owned()
            }
            Reason::Withdrawn { .. } | Reason::Unassigned { .. } => format!(
                "nothing; 'packcast assign {package} --device {id}' lets the device have it after all"
            ),
            Reason::Succeeded | Reason::InHistory => format!(
                "nothing; 'packcast assign {package} --device {id} --force' deploys it again"
            ),
            Reason::Failed => format!(
                "mend the cause, and 'packcast assign {package} --device {id}' tries again"
            ),
            Reason::Cancelled => format!("'packcast assign {package} --device {id}' tries again"),
        }
    }
}

/// Returns the next step for a package that no device gets any more.
fn next_of_deleted(reason: &Reason) -> String {
    match reason {
        Reason::Succeeded | Reason::InHistory => "nothing; the package was deleted since",
        Reason::NeverSeen | Reason::Withdrawn { .. } | Reason::Unassigned { .. } => {
            "nothing; the package was deleted, and no device gets it any more"
        }
        _ => "publish it under another version, and assign that",
    }
    .to_owned()
}
