//! Values of the Windows registry, and the facts that follow from them.

use std::collections::BTreeMap;

use super::facts::SystemName;

/// The first build of Windows 11, whose registry still has the name of Windows 10.
const WINDOWS_11: u32 = 22_000;

#[derive(Clone, Debug)]
pub(crate) enum RegistryValue {
    Text(String),
    Number(u32),
    Bytes(Vec<u8>),
}

/// The values of one key, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistryValues(pub(crate) BTreeMap<String, RegistryValue>);

impl RegistryValues {
    /// Returns a value that is a text and not blank.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let Some(RegistryValue::Text(text)) = self.0.get(name) else {
            return None;
        };
        let text = text.trim();
        (!text.is_empty()).then_some(text)
    }

    /// Returns a value that is a number of 32 bits.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        match self.0.get(name)? {
            RegistryValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the operating system, from the key `CurrentVersion`.
    pub(crate) fn system(&self) -> SystemName {
        let build = self.text("CurrentBuildNumber");
        let number = build.and_then(|build| build.parse::<u32>().ok());
        let name = self.text("ProductName").map(|name| {
            if number.is_some_and(|build| build >= WINDOWS_11) {
                name.replace("Windows 10", "Windows 11")
            } else {
                name.to_owned()
            }
        });
        let kernel = match (
            self.number("CurrentMajorVersionNumber"),
            self.number("CurrentMinorVersionNumber"),
        ) {
            (Some(major), Some(minor)) => Some(format!("{major}.{minor}")),
            _ => self.text("CurrentVersion").map(str::to_owned),
        };
        let numbers = [
            kernel,
            build.map(str::to_owned),
            self.number("UBR").map(|n| n.to_string()),
        ];
        let numbers: Vec<String> = numbers.into_iter().flatten().collect();
        let numbers = numbers.join(".");
        let version = match self
            .text("DisplayVersion")
            .or_else(|| self.text("ReleaseId"))
        {
            Some(release) => format!("{release} ({numbers})"),
            None => numbers,
        };
        SystemName {
            name,
            version: (!version.is_empty()).then_some(version),
        }
    }

    /// Returns the drives on disks of the machine, from the key `MountedDevices`, such as `C:`.
    ///
    /// The value of a partition has 12 bytes, or begins with `DMIO:ID:`. Other drives are removable.
    pub(crate) fn drives(&self) -> Vec<String> {
        let is_on_disk = |value: &RegistryValue| {
            matches!(value, RegistryValue::Bytes(bytes)
                if bytes.len() == 12 || bytes.starts_with(b"DMIO:ID:"))
        };
        let on_disks = self.0.iter().filter(|(_, value)| is_on_disk(value));
        on_disks
            .filter_map(|(name, _)| name.strip_prefix(r"\DosDevices\"))
            .map(str::to_owned)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<const N: usize>(values: [(&str, RegistryValue); N]) -> RegistryValues {
        RegistryValues(values.map(|(name, value)| (name.to_owned(), value)).into())
    }

    fn text(text: &str) -> RegistryValue {
        RegistryValue::Text(text.to_owned())
    }

    #[test]
    fn windows_11_has_its_own_name_and_its_build() {
        let eleven = values([
            ("ProductName", text("Windows 10 Pro")),
            ("DisplayVersion", text("24H2")),
            ("CurrentBuildNumber", text("26100")),
            ("CurrentMajorVersionNumber", RegistryValue::Number(10)),
            ("CurrentMinorVersionNumber", RegistryValue::Number(0)),
            ("UBR", RegistryValue::Number(2033)),
            ("RegisteredOrganization", text(" ")),
        ]);
        let found = eleven.system();
        assert_eq!(found.name.as_deref(), Some("Windows 11 Pro"));
        assert_eq!(found.version.as_deref(), Some("24H2 (10.0.26100.2033)"));
        assert_eq!(eleven.text("RegisteredOrganization"), None);
        assert_eq!(eleven.text("UBR"), None);
    }

    #[test]
    fn an_old_windows_has_the_version_of_its_kernel() {
        let seven = values([
            ("ProductName", text("Windows 7 Professional")),
            ("CurrentVersion", text("6.1")),
            ("CurrentBuildNumber", text("7601")),
        ]);
        let found = seven.system();
        assert_eq!(found.name.as_deref(), Some("Windows 7 Professional"));
        assert_eq!(found.version.as_deref(), Some("6.1.7601"));
        assert_eq!(values([]).system(), SystemName::default());
    }

    #[test]
    fn only_partitions_are_drives_on_disks() {
        let bytes = |bytes: &[u8]| RegistryValue::Bytes(bytes.to_owned());
        let mounted = values([
            (r"\DosDevices\D:", bytes(&[7; 12])),
            (r"\DosDevices\C:", bytes(b"DMIO:ID:0123456789abcdef")),
            (r"\DosDevices\E:", bytes(br"\??\STORAGE")),
            (r"\??\Volume{1}", bytes(&[7; 12])),
        ]);
        assert_eq!(mounted.drives(), ["C:", "D:"]);
    }
}
