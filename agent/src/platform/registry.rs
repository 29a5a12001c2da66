//! Values of the Windows registry, as `reg.exe query` prints them.

use super::facts::SystemName;

/// The first build of Windows 11. Its registry has the name of Windows 10.
const WINDOWS_11: u32 = 22_000;

/// The values of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistryValues(pub(crate) String);

impl RegistryValues {
    /// Returns a value that is a text and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.named(name, &["REG_SZ", "REG_EXPAND_SZ"])
    }

    /// Returns a value that is a number of 32 bits.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        let digits = self.named(name, &["REG_DWORD"])?;
        u32::from_str_radix(digits.strip_prefix("0x")?, 16).ok()
    }

    fn named(&self, name: &str, kinds: &[&str]) -> Option<&str> {
        let mut values = self.values();
        let (_, _, value) =
            values.find(|(found, kind, _)| *found == name && kinds.contains(kind))?;
        (!value.is_empty()).then_some(value)
    }

    /// Returns name, kind and content of each value.
    fn values(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.lines().filter_map(|line| {
            // Four blanks separate the three parts. A name may contain single blanks.
            let (name, rest) = line.strip_prefix("    ")?.split_once("    ")?;
            let (kind, value) = rest.split_once("    ").unwrap_or((rest, ""));
            Some((name, kind.trim(), value.trim()))
        })
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
    /// A partition has 12 bytes, or a text that begins with `DMIO:ID:`. Other drives are removable.
    pub(crate) fn drives(&self) -> Vec<String> {
        const PARTITION: &str = "444D494F3A49443A";
        let on_disks = self.values().filter(|(_, kind, value)| {
            *kind == "REG_BINARY" && (value.len() == 24 || value.starts_with(PARTITION))
        });
        let drives = on_disks.filter_map(|(name, ..)| name.strip_prefix(r"\DosDevices\"));
        let mut drives: Vec<String> = drives.map(str::to_owned).collect();
        drives.sort_unstable();
        drives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(values: &str) -> SystemName {
        RegistryValues(values.to_owned()).system()
    }

    #[test]
    fn windows_11_has_its_own_name_and_its_build() {
        let eleven = "\r\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\r\n\
            \x20   ProductName    REG_SZ    Windows 10 Pro\r\n\
            \x20   DisplayVersion    REG_SZ    24H2\r\n\
            \x20   CurrentBuildNumber    REG_SZ    26100\r\n\
            \x20   CurrentMajorVersionNumber    REG_DWORD    0xa\r\n\
            \x20   CurrentMinorVersionNumber    REG_DWORD    0x0\r\n\
            \x20   UBR    REG_DWORD    0x7f1\r\n\
            \x20   RegisteredOrganization    REG_SZ    \r\n";
        let found = system(eleven);
        assert_eq!(found.name.as_deref(), Some("Windows 11 Pro"));
        assert_eq!(found.version.as_deref(), Some("24H2 (10.0.26100.2033)"));
        let values = RegistryValues(eleven.to_owned());
        assert_eq!(values.text("RegisteredOrganization"), None);
        assert_eq!(values.text("UBR"), None);
    }

    #[test]
    fn an_old_windows_has_the_version_of_its_kernel() {
        let seven = "    ProductName    REG_SZ    Windows 7 Professional\n\
            \x20   CurrentVersion    REG_SZ    6.1\n\
            \x20   CurrentBuildNumber    REG_SZ    7601\n";
        let found = system(seven);
        assert_eq!(found.name.as_deref(), Some("Windows 7 Professional"));
        assert_eq!(found.version.as_deref(), Some("6.1.7601"));
        assert_eq!(system(""), SystemName::default());
        assert_eq!(system("    ProductName"), SystemName::default());
    }

    #[test]
    fn only_partitions_are_drives_on_disks() {
        let values = "    \\DosDevices\\D:    REG_BINARY    1234567800001000000000AB\n\
            \x20   \\DosDevices\\C:    REG_BINARY    444D494F3A49443AEE4A2BA8A8FBD44EA2E4F0E2F9A5B1C3\n\
            \x20   \\DosDevices\\E:    REG_BINARY    5C003F003F005C00530054004F0052004100470045\n\
            \x20   \\??\\Volume{1}    REG_BINARY    1234567800001000000000AB\n";
        assert_eq!(RegistryValues(values.to_owned()).drives(), ["C:", "D:"]);
    }
}
