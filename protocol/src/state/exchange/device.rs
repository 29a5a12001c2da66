//! The situation of a device in its requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BoundedList;
use crate::api::BoundedText;
use crate::package::PackageId;
use crate::state::mandate::Mandate;
use crate::time::UnixTime;

/// Largest number of waiting packages in a request.
pub const MAX_WAITING: usize = 64;

/// Largest number of mandates in the report of one result.
pub const MAX_MANDATES: usize = 64;

/// Announced packages that wait.
pub type WaitingPackages = BoundedList<WaitingPackage, MAX_WAITING>;

/// The mandates that an attempt has used up.
pub type UsedMandates = BoundedList<Mandate, MAX_MANDATES>;

/// An announced package with which the device does not begin, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitingPackage {
    pub package: PackageId,
    /// Number of the attempt.
    pub attempt: u32,
    pub reason: WaitWord,
    /// Time from which the device may begin, if the state names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixTime>,
}

/// Reason to wait, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitWord {
    /// The device follows no key list.
    NoKeyList,
    /// The newest key list has expired.
    KeyListExpired,
    /// The device holds no commit.
    NoCommit,
    /// The commit has expired.
    CommitExpired,
    /// The device lacks parts of the state.
    Incomplete,
    /// The device cannot read a document of the state.
    Unreadable,
    /// The state does not assign the package to the device.
    NotAssigned,
    /// The device has used up every mandate for the package.
    Used,
    /// The announced manifest differs from the assigned one.
    OtherManifest,
    /// The entry has a term that the device does not know.
    UnknownTerm,
    /// A known term of the entry is not met yet.
    Term,
    /// The wave of the device opens later.
    WaveNotOpen,
    /// The wave of the device stays closed until a commit sets a time.
    WaveClosed,
    /// The state has no calendar for the entry: no document of its rollout, or one for another entry.
    NoRollout,
    /// A later package of the same name is deployed.
    Downgrade,
    /// The package is for other devices.
    OtherAudience,
    /// No location delivers the package.
    Unreachable,
    /// A package of higher priority waits for a location.
    Behind,
    /// The package has expired by the device's clock, which differs from the function's.
    Clock,
    /// The function has told the device to wait.
    Held,
    /// The function has not answered the device's question.
    Unanswered,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

/// Facts about the machine that do not depend on the identity of its agent.
///
/// Two machines with one identity are copies of one image. A clock that is wrong makes a device
/// wait, so the record of the device shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineFacts {
    /// Operating system and architecture, such as `linux-x86_64`.
    pub platform: BoundedText<32>,
    /// Kind and id of the machine or its system, such as
    /// `hardware:4c4c4544-0042-3510-8051-b4c04f4b3732`, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<BoundedText<64>>,
    /// Id of the present run of the system, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BoundedText<64>>,
    /// Time of the machine's own clock, in whole minutes since 1970.
    now_min: u64,
}

impl MachineFacts {
    /// Creates facts with the time of the machine's own clock. Longer texts lose their beginning.
    pub fn new(platform: &str, machine: Option<&str>, boot: Option<&str>, clock: UnixTime) -> Self {
        Self {
            platform: BoundedText::tail(platform),
            machine: machine.map(BoundedText::tail),
            boot: boot.map(BoundedText::tail),
            now_min: clock.0 / 60,
        }
    }

    /// Returns the time of the machine's own clock, to the minute.
    pub const fn clock(&self) -> UnixTime {
        UnixTime(self.now_min.saturating_mul(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignee::Assignee;

    #[test]
    fn waiting_packages_read_back() {
        let package = WaitingPackage {
            package: PackageId::try_from(1_795_000_001).unwrap(),
            attempt: 2,
            reason: WaitWord::Term,
            until: Some(UnixTime(1_795_000_600)),
        };
        let text = serde_json::to_string(&WaitingPackages::first([package])).unwrap();
        assert_eq!(
            text,
            r#"[{"package":"1795000001","attempt":2,"reason":"term","until":1795000600}]"#
        );
        let read: WaitingPackages = serde_json::from_str(&text).unwrap();
        assert_eq!(read.as_slice(), [package]);
        let later = text.replace("term", "window");
        let read: WaitingPackages = serde_json::from_str(&later).unwrap();
        assert_eq!(read.as_slice()[0].reason, WaitWord::Other);
        assert_eq!(WaitingPackages::first([package; 65]).as_slice().len(), 64);
    }

    #[test]
    fn the_mandates_of_a_report_read_back() {
        let mandate = Mandate {
            assignee: Assignee::Group("lab".parse().unwrap()),
            seq: 7,
        };
        let text = serde_json::to_string(&UsedMandates::first([mandate.clone()])).unwrap();
        assert_eq!(text, r#"[{"assignee":{"group":"lab"},"seq":7}]"#);
        let read: UsedMandates = serde_json::from_str(&text).unwrap();
        assert_eq!(read.as_slice(), [mandate]);
    }

    #[test]
    fn machine_facts_are_short_and_have_the_minute_of_the_clock() {
        let long = "x".repeat(100);
        let facts = MachineFacts::new("linux-x86_64", Some(&long), None, UnixTime(179));
        assert_eq!(facts.clock(), UnixTime(120));
        let text = serde_json::to_string(&facts).unwrap();
        let short = &long[..64];
        assert_eq!(
            text,
            format!(r#"{{"platform":"linux-x86_64","machine":"{short}","now_min":2}}"#)
        );
        assert_eq!(serde_json::from_str::<MachineFacts>(&text).unwrap(), facts);
        let far = text.replace(":2}", ":18446744073709551615}");
        let far: MachineFacts = serde_json::from_str(&far).unwrap();
        assert_eq!(far.clock(), UnixTime(u64::MAX));
    }
}
