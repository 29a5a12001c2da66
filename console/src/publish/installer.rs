//! The tool that has built an installer for Windows, by the marks in its first bytes.

/// A tool that builds installers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Installer {
    Nullsoft,
    Inno,
    /// Bundles of the `WiX` toolset.
    Burn,
    InstallShield,
    #[default]
    Unknown,
}

/// The number of bytes that are searched: the marks are in the program, before its data.
pub(crate) const SEARCHED: u64 = 1 << 20;

/// The marks, the most certain first: other installers contain the names of their tools in texts.
const MARKS: [(&[u8], Installer); 5] = [
    (b".wixburn", Installer::Burn),
    (b"NullsoftInst", Installer::Nullsoft),
    (b"Nullsoft.NSIS", Installer::Nullsoft),
    (b"Inno Setup", Installer::Inno),
    (b"InstallShield", Installer::InstallShield),
];

impl Installer {
    /// Finds the tool by the first bytes of an installer.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
        let found = MARKS.iter().find(|(mark, _)| has(mark));
        found.map_or(Self::Unknown, |(_, installer)| *installer)
    }

    /// Returns the silent switches of the installers of this tool, and the reason for them.
    pub(crate) const fn silent(self) -> (&'static str, &'static str) {
        match self {
            Self::Nullsoft => ("/S", "the file is an installer of NSIS"),
            Self::Inno => (
                "/VERYSILENT /SUPPRESSMSGBOXES /NORESTART",
                "the file is an installer of Inno Setup",
            ),
            Self::Burn => (
                "/quiet /norestart",
                "the file is a bundle of the WiX toolset",
            ),
            Self::InstallShield => (
                "/s /v\"/qn /norestart\"",
                "the file is an installer of InstallShield",
            ),
            Self::Unknown => (
                "/S",
                "the most common silent switch; many installers have another",
            ),
        }
    }

    /// Returns the exit codes for a success before a restart.
    pub(crate) const fn reboot_codes(self) -> &'static [i32] {
        match self {
            Self::Burn | Self::InstallShield => &[1641, 3010],
            Self::Nullsoft | Self::Inno | Self::Unknown => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_by_their_marks() {
        for (bytes, expected) in [
            (&b"MZ...\0NullsoftInst\0"[..], Installer::Nullsoft),
            (b"MZ..This was built with Inno Setup.", Installer::Inno),
            (b"MZ.text.wixburn8 InstallShield", Installer::Burn),
            (b"InstallShield", Installer::InstallShield),
            (b"MZ", Installer::Unknown),
            (b"", Installer::Unknown),
        ] {
            assert_eq!(Installer::of(bytes), expected, "{bytes:?}");
        }
    }
}
