//! Events of the agent, for its log: one JSON object, or one readable line, per event.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use packcast_protocol::state::TargetId;
use packcast_protocol::state::exchange::WaitWord;
use packcast_protocol::{
    DeviceId, FragmentNumber, LocationName, PackageId, PackageName, PackageVersion, ResultCode,
};
use serde::{Deserialize, Serialize};

/// An event, in the order of occurrence.
///
/// In JSON: `{"event": "<name in snake case>", …}`. New fields may appear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The function answered a check-in.
    CheckedIn {
        /// The number of tasks in the reply.
        tasks: usize,
        next_check_in_s: u32,
    },
    /// The function answered a check-in while a package was under way.
    CheckedInMeanwhile { next_check_in_s: u32 },
    /// The agent trusts the keys of another key list from now on.
    KeysFollowed {
        /// The serial number of the key list.
        serial: u64,
    },
    /// The agent holds another commit of the signed state from now on.
    CommitHeld {
        /// The number of the commit.
        number: u64,
    },
    /// The agent refused a part of the signed state, and keeps the state that it has.
    DocumentRefused { detail: String },
    /// The configuration names another target than before. The state of the target before is kept.
    TargetChanged {
        before: TargetId,
        target: TargetId,
        /// The folder with the state of the target before.
        kept: PathBuf,
    },
    /// The manifest was fetched and verified.
    ManifestVerified {
        id: PackageId,
        name: PackageName,
        version: PackageVersion,
    },
    /// A fragment was verified.
    FragmentVerified {
        id: PackageId,
        n: u32,
        of: u32,
        bytes: u64,
        /// `true` if the fragment was on disk before this run.
        already: bool,
    },
    /// The whole archive was verified.
    ArchiveVerified { id: PackageId, bytes: u64 },
    /// The archive was unpacked or stored.
    Unpacked {
        id: PackageId,
        entries: u64,
        bytes: u64,
    },
    /// The program of an earlier agent process still runs. No package begins before it has ended.
    ProgramFound {
        id: PackageId,
        /// The rest of the time limit, after which the agent ends the program.
        remaining_s: u64,
    },
    /// The agent begins to act on the package.
    Started { id: PackageId },
    /// The attempt has a result.
    Finished {
        id: PackageId,
        attempt: u32,
        code: ResultCode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_tail: Option<String>,
    },
    /// The package waits for the next check-in, because its locations are unavailable now.
    Deferred { id: PackageId, detail: String },
    /// The package waits for another signed state. It holds up no other package.
    Waits {
        id: PackageId,
        attempt: u32,
        reason: WaitWord,
        /// The reason in words, with the remedy.
        detail: String,
    },
    /// The agent skips a location, because the signed state has no address for its name.
    LocationSkipped {
        id: PackageId,
        location: LocationName,
    },
    /// The identity was created on another machine, and no enrolment token is accepted.
    IdentityConflict { device: DeviceId },
    /// The identity was created on another machine, and this machine has enrolled as a new device.
    IdentityReplaced { before: DeviceId, device: DeviceId },
    /// A file of the state folder was damaged. The agent has kept the damaged content.
    StateDamaged {
        path: PathBuf,
        /// The file with the damaged content.
        kept: PathBuf,
        effect: String,
    },
    /// The agent sent a result to the function.
    Reported { id: PackageId, accepted: bool },
}

/// The receiver of the agent's events.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

impl Event {
    pub(crate) fn fragment(
        id: PackageId,
        number: FragmentNumber,
        of: usize,
        bytes: u64,
        already: bool,
    ) -> Self {
        Self::FragmentVerified {
            id,
            n: number.get(),
            of: u32::try_from(of).unwrap_or(u32::MAX),
            bytes,
            already,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckedIn {
                tasks,
                next_check_in_s,
            } => write!(f, "checked in, tasks: {tasks}, next in {next_check_in_s} s"),
            Self::CheckedInMeanwhile { next_check_in_s } => write!(
                f,
                "checked in while a package is under way, next in {next_check_in_s} s"
            ),
            Self::KeysFollowed { serial } => {
                write!(f, "now trusting the keys of key list {serial}")
            }
            Self::CommitHeld { number } => write!(f, "now holding commit {number}"),
            Self::DocumentRefused { detail } => f.write_str(detail),
            Self::TargetChanged {
                before,
                target,
                kept,
            } => write!(
                f,
                "now following target {target}: the state of target {before} was kept in {}",
                kept.display()
            ),
            Self::ManifestVerified { id, name, version } => {
                write!(f, "package {id}: manifest of {name} {version} verified")
            }
            Self::FragmentVerified {
                id, n, of, already, ..
            } => {
                let how = if *already { "was on disk" } else { "verified" };
                write!(f, "package {id}: fragment {n} of {of} {how}")
            }
            Self::ArchiveVerified { id, bytes } => {
                write!(f, "package {id}: archive of {bytes} bytes verified")
            }
            Self::Unpacked { id, entries, bytes } => {
                write!(
                    f,
                    "package {id}: unpacked, entries: {entries}, bytes: {bytes}"
                )
            }
            Self::ProgramFound { id, remaining_s } => write!(
                f,
                "package {id}: its program still runs since an earlier start of the agent, waiting for at most {remaining_s} s"
            ),
            Self::Started { id } => write!(f, "package {id}: started"),
            Self::Finished {
                id, code, detail, ..
            } => {
                write!(f, "package {id}: finished with {code}")?;
                detail.iter().try_for_each(|detail| write!(f, ": {detail}"))
            }
            Self::Deferred { id, detail } => {
                write!(f, "package {id}: waits for the next check-in: {detail}")
            }
            Self::Waits { id, detail, .. } => write!(f, "package {id}: waits: {detail}"),
            Self::LocationSkipped { id, location } => write!(
                f,
                "package {id}: skipped location {location}: the signed state has no address for the name"
            ),
            Self::IdentityConflict { device } => write!(
                f,
                "the identity of {device} was created on another machine: nothing begins without a valid enrolment token"
            ),
            Self::IdentityReplaced { before, device } => write!(
                f,
                "this machine is a copy of {before}, and has enrolled as {device}"
            ),
            Self::StateDamaged { path, kept, effect } => write!(
                f,
                "state file {} is damaged and was kept as {}: {effect}",
                path.display(),
                kept.display()
            ),
            Self::Reported { id, accepted: true } => write!(f, "package {id}: result accepted"),
            Self::Reported {
                id,
                accepted: false,
            } => write!(f, "package {id}: result kept for the next check-in"),
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::AgentId;

    use super::*;

    #[test]
    fn events_are_readable_lines() {
        let id = PackageId::try_from(1_795_000_000).unwrap();
        let finished = |code: &str, detail: Option<&str>| Event::Finished {
            id,
            attempt: 1,
            code: code.parse().unwrap(),
            exit_code: None,
            detail: detail.map(str::to_owned),
            output_tail: None,
        };
        let fragment = |already| Event::FragmentVerified {
            id,
            n: 2,
            of: 7,
            bytes: 1024,
            already,
        };
        let reported = |accepted| Event::Reported { id, accepted };
        let device = |key| DeviceId::Agent(AgentId::of_public_key(&[key; 32]));
        let events = [
            Event::CheckedIn {
                tasks: 2,
                next_check_in_s: 3600,
            },
            Event::CheckedInMeanwhile {
                next_check_in_s: 60,
            },
            Event::KeysFollowed { serial: 3 },
            Event::DocumentRefused {
                detail: "refused a key list".to_owned(),
            },
            Event::ManifestVerified {
                id,
                name: "vlc".parse().unwrap(),
                version: "3.0".parse().unwrap(),
            },
            fragment(false),
            fragment(true),
            Event::ArchiveVerified { id, bytes: 7000 },
            Event::Unpacked {
                id,
                entries: 4,
                bytes: 9000,
            },
            Event::ProgramFound {
                id,
                remaining_s: 7200,
            },
            Event::Started { id },
            finished("SUCCESS", None),
            finished(
                "ERR_EXECUTE",
                Some("the archive has no file \"run.sh\" at the top level"),
            ),
            Event::Deferred {
                id,
                detail: "cannot fetch manifest.json now".to_owned(),
            },
            Event::IdentityConflict { device: device(1) },
            Event::IdentityReplaced {
                before: device(1),
                device: device(2),
            },
            Event::StateDamaged {
                path: "/var/lib/packcast/history".into(),
                kept: "/var/lib/packcast/history.damaged-5c7b0011".into(),
                effect: "repaired from the other copy".to_owned(),
            },
            reported(true),
            reported(false),
        ];
        let text = events.map(|event| event.to_string()).join("\n");
        insta::assert_snapshot!(text, @r#"
        checked in, tasks: 2, next in 3600 s
        checked in while a package is under way, next in 60 s
        now trusting the keys of key list 3
        refused a key list
        package 1795000000: manifest of vlc 3.0 verified
        package 1795000000: fragment 2 of 7 verified
        package 1795000000: fragment 2 of 7 was on disk
        package 1795000000: archive of 7000 bytes verified
        package 1795000000: unpacked, entries: 4, bytes: 9000
        package 1795000000: its program still runs since an earlier start of the agent, waiting for at most 7200 s
        package 1795000000: started
        package 1795000000: finished with SUCCESS
        package 1795000000: finished with ERR_EXECUTE: the archive has no file "run.sh" at the top level
        package 1795000000: waits for the next check-in: cannot fetch manifest.json now
        the identity of key:olgw5bbcyqd7w3ijq2ipceylpu was created on another machine: nothing begins without a valid enrolment token
        this machine is a copy of key:olgw5bbcyqd7w3ijq2ipceylpu, and has enrolled as key:owdxxna5he5v7ocfltta5tmn3i
        state file /var/lib/packcast/history is damaged and was kept as /var/lib/packcast/history.damaged-5c7b0011: repaired from the other copy
        package 1795000000: result accepted
        package 1795000000: result kept for the next check-in
        "#);
    }

    #[test]
    fn events_of_the_signed_state_are_readable_lines() {
        let id = PackageId::try_from(1_795_000_000).unwrap();
        let events = [
            Event::CommitHeld {
                number: 1_795_000_007,
            },
            Event::TargetChanged {
                before: TargetId::from_bytes([1; 16]),
                target: TargetId::from_bytes([2; 16]),
                kept: "/var/lib/packcast/target-aeaqcaibaeaqcaibaeaqcaibae".into(),
            },
            Event::Waits {
                id,
                attempt: 1,
                reason: WaitWord::Used,
                detail: "assign the package again".to_owned(),
            },
            Event::LocationSkipped {
                id,
                location: "paris".parse().unwrap(),
            },
        ];
        let text = events.map(|event| event.to_string()).join("\n");
        insta::assert_snapshot!(text, @r"
        now holding commit 1795000007
        now following target aibaeaqcaibaeaqcaibaeaqcai: the state of target aeaqcaibaeaqcaibaeaqcaibae was kept in /var/lib/packcast/target-aeaqcaibaeaqcaibaeaqcaibae
        package 1795000000: waits: assign the package again
        package 1795000000: skipped location paris: the signed state has no address for the name
        ");
    }
}
