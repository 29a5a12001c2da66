//! The operating system of a device, as far as its record tells.

use packcast_protocol::DeviceId;
use packcast_protocol::manifest::Platform;

use crate::record::DeviceRecord;

/// Operating system of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceSystem {
    /// The record does not tell.
    #[default]
    Unknown,
    /// A system of the Unix family, perhaps Linux or macOS.
    Unix,
    Linux,
    Windows,
    Macos,
    /// A system that no package names, such as FreeBSD or Android.
    Other,
}

/// Words in the name of a Unix system that is neither Linux nor macOS.
const OTHER_UNIX: [&str; 8] = [
    "bsd",
    "dragonfly",
    "solaris",
    "sunos",
    "illumos",
    "aix",
    "hp-ux",
    "hpux",
];

impl DeviceSystem {
    /// Returns the system of a device.
    ///
    /// A Packcast agent reports the platform of its machine. An OCS agent reports in its name whether
    /// it is the agent for Windows, Android or Unix, and in its inventories the name of the system.
    pub fn of(record: &DeviceRecord) -> Self {
        match (&record.device, &record.machine) {
            (DeviceId::Agent(_), None) => Self::Unknown,
            (DeviceId::Agent(_), Some(machine)) => Self::of_platform(machine.platform.as_str()),
            (DeviceId::Ocs(_), _) => {
                Self::of_ocs_agent(&record.agent.to_lowercase(), &record.os.to_lowercase())
            }
        }
    }

    /// Returns the system of a platform, such as `linux-x86_64`.
    fn of_platform(platform: &str) -> Self {
        match platform.split('-').next().unwrap_or_default() {
            "" => Self::Unknown,
            "linux" => Self::Linux,
            "windows" => Self::Windows,
            "macos" => Self::Macos,
            _ => Self::Other,
        }
    }

    fn of_ocs_agent(agent: &str, os: &str) -> Self {
        if agent.contains("windows") {
            return Self::Windows;
        }
        if agent.contains("android") {
            return Self::Other;
        }
        if !agent.contains("unix") {
            return Self::Unknown;
        }
        if os.is_empty() {
            Self::Unix
        } else if os.contains("mac os") || os.contains("macos") || os.contains("darwin") {
            Self::Macos
        } else if OTHER_UNIX.iter().any(|word| os.contains(word)) {
            Self::Other
        } else {
            // The names of Linux systems are those of their distributions.
            Self::Linux
        }
    }

    /// Returns true if a device with this system certainly cannot run packages for a platform.
    pub fn is_other_than(self, platform: Platform) -> bool {
        match (self, platform) {
            (Self::Unknown, _)
            | (_, Platform::Any)
            | (Self::Unix | Self::Linux, Platform::Linux)
            | (Self::Unix | Self::Macos, Platform::Macos)
            | (Self::Windows, Platform::Windows) => false,
            (Self::Unix | Self::Linux | Self::Windows | Self::Macos | Self::Other, _) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use packcast_protocol::UnixTime;
    use packcast_protocol::state::exchange::MachineFacts;

    use super::*;
    use crate::machine::MachineRecord;
    use crate::write_budget::WriteBudget;

    fn record(device: &str, agent: &str, os: &str) -> DeviceRecord {
        DeviceRecord {
            device: device.parse().unwrap(),
            host_name: "web01".to_owned(),
            agent: agent.to_owned(),
            os: os.to_owned(),
            first_seen: UnixTime(0),
            last_seen: UnixTime(0),
            inventory_asked: None,
            inventory_received: None,
            machine: None,
            facts: None,
            batch: None,
            budget: WriteBudget::default(),
        }
    }

    #[test]
    fn an_ocs_agent_and_its_inventory_tell_the_system() {
        let check = |agent: &str, os: &str, expected| {
            let record = record("ocs:web01-2026-03-04-05-06-07", agent, os);
            assert_eq!(DeviceSystem::of(&record), expected, "{agent} {os}");
        };
        let unix = "OCS-NG_unified_unix_agent_v2.10.0";
        check(unix, "", DeviceSystem::Unix);
        check(unix, "Debian GNU/Linux 12", DeviceSystem::Linux);
        check(unix, "Rocky Linux release 9.4", DeviceSystem::Linux);
        check(unix, "openSUSE Leap 15.6", DeviceSystem::Linux);
        check(unix, "macOS", DeviceSystem::Macos);
        check(unix, "Mac OS X", DeviceSystem::Macos);
        check(unix, "FreeBSD", DeviceSystem::Other);
        check(unix, "AIX", DeviceSystem::Other);
        let windows = "OCS-NG_WINDOWS_AGENT_v2.11.0.1";
        check(windows, "", DeviceSystem::Windows);
        check(windows, "Microsoft Windows 11 Pro", DeviceSystem::Windows);
        check("OCS-NG_Android_agent_v2.7", "Android", DeviceSystem::Other);
        check("", "", DeviceSystem::Unknown);
    }

    #[test]
    fn a_packcast_agent_names_its_platform() {
        let agent = "packcast-agent 0.1.0";
        let mut record = record("key:aaaaaaaaaaaaaaaaaaaaaaaaaa", agent, "linux x86_64");
        assert_eq!(DeviceSystem::of(&record), DeviceSystem::Unknown);
        for (platform, expected) in [
            ("linux-x86_64", DeviceSystem::Linux),
            ("windows-x86_64", DeviceSystem::Windows),
            ("macos-aarch64", DeviceSystem::Macos),
            ("freebsd-x86_64", DeviceSystem::Other),
            ("", DeviceSystem::Unknown),
        ] {
            let facts = MachineFacts::new(platform, None, None, UnixTime(0));
            record.machine = Some(MachineRecord::after_check_in(None, &facts, UnixTime(0)));
            assert_eq!(DeviceSystem::of(&record), expected, "{platform}");
        }
    }

    #[test]
    fn only_a_known_system_is_another_one() {
        use DeviceSystem::{Linux, Macos, Other, Unix, Unknown, Windows};
        let others = |platform| {
            let systems = [Unknown, Unix, Linux, Windows, Macos, Other];
            let mut others = systems.to_vec();
            others.retain(|system| system.is_other_than(platform));
            others
        };
        assert_eq!(others(Platform::Any), []);
        assert_eq!(others(Platform::Linux), [Windows, Macos, Other]);
        assert_eq!(others(Platform::Windows), [Unix, Linux, Macos, Other]);
        assert_eq!(others(Platform::Macos), [Linux, Windows, Other]);
    }
}
