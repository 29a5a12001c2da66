//! Facts about the machine and its system, from the registry.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::platform::facts::{FoundFacts, SystemName, model};
use crate::platform::registry::RegistryValues;

/// Returns the operating system. It changes with a restart only, so it is read once.
pub(crate) fn system_name() -> SystemName {
    static NAME: OnceLock<SystemName> = OnceLock::new();
    let read = || values(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion").system();
    NAME.get_or_init(read).clone()
}

/// Returns the other facts, without the memory: the registry does not show it.
pub(crate) fn found_facts() -> FoundFacts {
    let network = values(r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters");
    let domain = network
        .text("Domain")
        .or_else(|| network.text("DhcpDomain"));
    let bios = values(r"HKLM\HARDWARE\DESCRIPTION\System\BIOS");
    let zone = values(r"HKLM\SYSTEM\CurrentControlSet\Control\TimeZoneInformation");
    let drives = values(r"HKLM\SYSTEM\MountedDevices").drives();
    FoundFacts {
        domain: domain.map(str::to_owned),
        model: model(
            bios.text("SystemManufacturer"),
            bios.text("SystemProductName"),
            bios.text("SystemVersion"),
        ),
        memory_mib: None,
        time_zone: zone.text("TimeZoneKeyName").map(str::to_owned),
        volumes: drives
            .into_iter()
            .map(|drive| PathBuf::from(drive + r"\"))
            .collect(),
    }
}

/// Reads the values of a key; none if the key does not exist.
pub(super) fn values(key: &str) -> RegistryValues {
    let system = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    let mut command = Command::new(PathBuf::from(system).join(r"System32\reg.exe"));
    // A 32-bit agent must read the same value as a 64-bit agent.
    command.args(["query", key, "/reg:64"]);
    let output = command.output().map(|output| output.stdout);
    RegistryValues(String::from_utf8_lossy(&output.unwrap_or_default()).into_owned())
}
