//! The words for each reason: one sentence, and what to do about it.

use packcast_protocol::{DeviceId, GroupName, UnixTime};
use packcast_rollout::{DeviceRecord, FinishedTask, Reason};

use super::Read;
use crate::command::{device, named};
use crate::output;

/// What is said of a device and a package.
pub(super) struct Said {
    pub(super) says: String,
    pub(super) next: String,
}

/// What the sentences speak of.
struct Words<'a> {
    read: &'a Read,
    /// The device as people call it.
    host: &'a str,
    /// The device as commands take it.
    id: String,
    package: String,
    is_stock: bool,
}

impl Said {
    pub(super) fn of(read: &Read, reason: &Reason) -> Self {
        let id = read.device.to_string();
        let host = read.record().map(|record| record.host_name.as_str());
        let words = Words {
            read,
            host: host.filter(|name| !name.is_empty()).unwrap_or(&id),
            id: id.clone(),
            package: named(&read.package),
            is_stock: matches!(read.device, DeviceId::Ocs(_)),
        };
        let next = match reason {
            Reason::Withdrawn {
                told_to_drop: false,
                ..
            } if words.is_stock => format!(
                "wait for its report; 'packcast device {id} --cancel' lets a stock Unix agent drop it"
            ),
            reason if read.package.is_deleted() => next_of_deleted(reason),
            reason => words.next(reason),
        };
        Self {
            says: words.says(reason),
            next,
        }
    }
}

/// Says when a device was last seen.
pub(super) fn last_seen(record: Option<&DeviceRecord>) -> String {
    record.map_or_else(
        || "never".to_owned(),
        |record| format!("{} (written at most daily)", output::time(record.last_seen)),
    )
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
            Reason::PassedOver { group } => format!(
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
                output::time(*expired_at)
            ),
            Reason::Deleted { deleted_at } => format!(
                "{package} was deleted {}, before {host} had it.",
                output::time(*deleted_at)
            ),
            Reason::NotInAudience => {
                format!("{package} is meant for some devices only, and {host} is none of them.")
            }
            Reason::StockAgent => format!(
                "{package} is meant for some devices only, and {host} runs a stock agent, which cannot check for which."
            ),
            Reason::Held => format!("{host} is told of {package} at its next check-in."),
            Reason::Announced { announced_at } => format!(
                "{host} was told of {package} {}, and has not reported since.",
                output::time(*announced_at)
            ),
            Reason::CalledOff { announced_at } => format!(
                "{package} is not active any more since {host} was told {}: the device cancels at its next check-in, unless it has begun to act.",
                output::time(*announced_at)
            ),
            Reason::Withdrawn {
                announced_at,
                told_to_drop,
            } => self.withdrawn(*announced_at, *told_to_drop),
            Reason::TakenBack { announced_at } => self.taken_back(*announced_at),
            Reason::InHistory => {
                format!("{host} has {package}: the history of its agent lists it.")
            }
            Reason::BehindPriority { behind } => format!(
                "{host} is not told of {package} before it has reported on {}, which has a higher priority: this target announces one priority at a time.",
                self.read.name_of(*behind)
            ),
            Reason::Succeeded | Reason::Failed | Reason::Cancelled => {
                let finished = self.read.finished.as_ref();
                finished.map_or_else(String::new, |finished| self.result(finished))
            }
        }
    }

    fn unreached(&self, group: &GroupName, assigned_at: UnixTime) -> String {
        let Self { host, package, .. } = self;
        format!(
            "{host} is to have {package} for its group {group}, which has it since {}, but has not checked in since it was to have it.",
            output::time(assigned_at)
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
            output::time(announced_at)
        )
    }

    fn taken_back(&self, announced_at: Option<UnixTime>) -> String {
        let Self { host, package, .. } = self;
        let then = announced_at.map_or_else(
            || "it was not told, and its task is dropped then".to_owned(),
            |at| {
                format!(
                    "it was told {}, and its task is withdrawn then",
                    output::time(at)
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
            output::time(finished.finished_at),
            device::result(finished)
        )
    }

    fn next(&self, reason: &Reason) -> String {
        let Self { id, package, .. } = self;
        match reason {
            Reason::NeverSeen => {
                "check the name, and the agent on the device; 'packcast device' lists those that are known".to_owned()
            }
            Reason::NotAssigned => format!("'packcast assign {package} --device {id}'"),
            Reason::Unreached { .. } | Reason::Held => {
                "wait for its next check-in; see to the agent on the device if there is none".to_owned()
            }
            Reason::PassedOver { .. } => format!(
                "'packcast assign {package} --device {id}', with --force if the device had it before"
            ),
            Reason::Draft => {
                "run the same 'packcast publish' again to complete it, and activate it".to_owned()
            }
            Reason::NotActive | Reason::CalledOff { .. } => format!(
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
            Reason::StockAgent => {
                "publish it under another version for all devices, without --only-for".to_owned()
            }
            Reason::BehindPriority { behind } => {
                format!("'packcast explain {id} {behind}' tells what the other waits for")
            }
            Reason::Announced { .. } if self.is_stock => format!(
                "wait for its report; 'packcast device {id} --unstick' lets a stock Unix agent resume"
            ),
            Reason::Announced { .. } => {
                "wait for its report; see to the agent on the device if there is none".to_owned()
            }
            Reason::Withdrawn { .. } | Reason::TakenBack { .. } => format!(
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

/// Says what is left to do about a package that no device gets any more.
fn next_of_deleted(reason: &Reason) -> String {
    match reason {
        Reason::Succeeded | Reason::InHistory => "nothing; the package was deleted since",
        Reason::NeverSeen | Reason::Withdrawn { .. } | Reason::TakenBack { .. } => {
            "nothing; the package was deleted, and no device gets it any more"
        }
        _ => "publish it under another version, and assign that",
    }
    .to_owned()
}
