//! Facts about the machine and its system, most of them from the registry.

use std::path::PathBuf;
use std::sync::OnceLock;

use windows_registry::{LOCAL_MACHINE, Type, Value};

use crate::platform::facts::{FoundFacts, SystemName, model};
use crate::platform::registry::{RegistryValue, RegistryValues};

use super::KEY_WOW64_64KEY;

/// Returns the operating system. It changes with a restart only, so it is read once.
pub(crate) fn system_name() -> SystemName {
    static NAME: OnceLock<SystemName> = OnceLock::new();
    let read = || values(r"SOFTWARE\Microsoft\Windows NT\CurrentVersion").system();
    NAME.get_or_init(read).clone()
}

/// Returns the other facts.
pub(crate) fn found_facts() -> FoundFacts {
    let network = values(r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters");
    let domain = network
        .text("Domain")
        .or_else(|| network.text("DhcpDomain"));
    let bios = values(r"HARDWARE\DESCRIPTION\System\BIOS");
    let zone = values(r"SYSTEM\CurrentControlSet\Control\TimeZoneInformation");
    let drives = values(r"SYSTEM\MountedDevices").drives();
    FoundFacts {
        domain: domain.map(str::to_owned),
        model: model(
            bios.text("SystemManufacturer"),
            bios.text("SystemProductName"),
            bios.text("SystemVersion"),
        ),
        memory_mib: memory_mib(),
        time_zone: zone.text("TimeZoneKeyName").map(str::to_owned),
        volumes: drives
            .into_iter()
            .map(|drive| PathBuf::from(drive + r"\"))
            .collect(),
    }
}

fn memory_mib() -> Option<u32> {
    let memory = winsafe::GlobalMemoryStatusEx().ok()?;
    u32::try_from(memory.ullTotalPhys >> 20).ok()
}

/// Reads the values of a key of the local machine; none if the key does not exist.
pub(super) fn values(path: &str) -> RegistryValues {
    let read = || -> windows_registry::Result<_> {
        let key = LOCAL_MACHINE
            .options()
            .read()
            .access(KEY_WOW64_64KEY)
            .open(path)?;
        key.values().map(|values| {
            values
                .filter_map(|(name, value)| Some((name, known(value)?)))
                .collect()
        })
    };
    RegistryValues(read().unwrap_or_default())
}

/// Returns a value of a kind that the agent reads.
fn known(value: Value) -> Option<RegistryValue> {
    match value.ty() {
        Type::String | Type::ExpandString => value.try_into().ok().map(RegistryValue::Text),
        Type::U32 => value.try_into().ok().map(RegistryValue::Number),
        Type::Bytes => Some(RegistryValue::Bytes(value.to_vec())),
        _ => None,
    }
}
