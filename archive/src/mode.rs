//! The rights to files and folders in an archive.

/// The rights of owner, group and others, as in the mode of a Unix file.
///
/// The mode has neither set-user-id, set-group-id and sticky bits, nor the right of others to write:
/// archives packed on a Windows share give that right for every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryMode(u16);

impl EntryMode {
    /// The mode of a file whose archive has no Unix modes: `0644`.
    pub const FILE: Self = Self(0o644);

    /// The mode of a folder without an entry, or without a Unix mode: `0755`.
    pub const FOLDER: Self = Self(0o755);

    /// Creates a mode from the mode of a file. Bits that do not belong to the rights are dropped.
    pub fn from_bits(bits: u32) -> Self {
        Self((bits & 0o775).try_into().unwrap_or_default())
    }

    /// Returns the mode as Unix knows it: at most `0775`.
    pub fn bits(self) -> u32 {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_has_only_rights() {
        let check = |bits, expected| assert_eq!(EntryMode::from_bits(bits).bits(), expected);
        check(0o100_600, 0o600);
        check(0o106_755, 0o755);
        check(0o41_777, 0o775);
        check(0o640, 0o640);
        check(0, 0);
    }
}
