//! Names of uploaded files: names from a browser become names of files on this machine.

use std::fmt;
use std::str::FromStr;

use packcast_protocol::terminal;

/// The longest name in bytes that file systems hold.
const MAX_BYTES: usize = 255;

/// The name of an uploaded file: one component of a path, without hidden characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileName(String);

/// Errors in the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileNameError {
    #[error("cannot upload a file without a name: choose a file")]
    Empty,
    #[error("cannot upload {given:?}: the name contains {character:?}, so rename the file")]
    Character { given: String, character: char },
    #[error("cannot upload {given:?}: the name is not one of a file, so rename the file")]
    Reserved { given: String },
    #[error(
        "cannot upload the file: its name has {bytes} bytes, and at most {MAX_BYTES} are allowed"
    )]
    Long { bytes: usize },
}

/// Names that are devices of Windows, with any ending.
const DEVICES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

impl FileName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FileName {
    type Err = FileNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let given = || text.chars().take(80).collect::<String>();
        if text.is_empty() {
            return Err(FileNameError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(FileNameError::Long { bytes: text.len() });
        }
        if let Some(character) = text.chars().find(|c| is_refused(*c)) {
            let given = given();
            return Err(FileNameError::Character { given, character });
        }
        let stem = text.split('.').next().unwrap_or_default().trim();
        let is_device = DEVICES.iter().any(|name| name.eq_ignore_ascii_case(stem));
        if matches!(text, "." | "..")
            || (cfg!(windows) && (is_device || text.ends_with(['.', ' '])))
        {
            return Err(FileNameError::Reserved { given: given() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// Returns true for a character that leads out of the folder, or that hides or reorders the name.
fn is_refused(character: char) -> bool {
    let mut text = [0; 4];
    let text: &str = character.encode_utf8(&mut text);
    matches!(character, '/' | '\\')
        || (cfg!(windows) && "<>:\"|?*".contains(character))
        || terminal::line(text) != text && !matches!(character, '\\')
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_visible_component_of_a_path() {
        for good in [
            "vlc.zip",
            "Größe 7.msi",
            ".hidden",
            "a..b",
            "-x",
            "日本.tar.gz",
        ] {
            assert_eq!(good.parse::<FileName>().unwrap().as_str(), good);
        }
        let long = "x".repeat(256);
        let refused = [
            "",
            "..",
            ".",
            "../x",
            "/etc/passwd",
            r"..\x",
            "a\nb",
            "a\0",
            "gpj\u{202E}exe.zip",
            &long,
        ];
        let refused = refused.map(|name| name.parse::<FileName>().unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r#"
        cannot upload a file without a name: choose a file
        cannot upload "..": the name is not one of a file, so rename the file
        cannot upload ".": the name is not one of a file, so rename the file
        cannot upload "../x": the name contains '/', so rename the file
        cannot upload "/etc/passwd": the name contains '/', so rename the file
        cannot upload "..\\x": the name contains '\\', so rename the file
        cannot upload "a\nb": the name contains '\n', so rename the file
        cannot upload "a\0": the name contains '\0', so rename the file
        cannot upload "gpj\u{202e}exe.zip": the name contains '\u{202e}', so rename the file
        cannot upload the file: its name has 256 bytes, and at most 255 are allowed
        "#);
    }
}
