//! Commands and folders of actions, in a form that every agent accepts.

use std::fmt;
use std::str::FromStr;

use crate::text_form::text_form;

/// Errors in the command or folder of an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionTextError {
    #[error("the command is empty")]
    NoCommand,
    #[error(
        "the command has {bytes} bytes; at most {} are allowed: put longer logic in a script inside the archive",
        CommandLine::MAX_BYTES
    )]
    LongCommand { bytes: usize },
    #[error("control character {character:?} is not allowed in a command or folder")]
    Control { character: char },
    #[error(
        "{given:?} is not a program name: LAUNCH runs a file at the top of the archive, so give its name without a path"
    )]
    ProgramPath { given: String },
    #[error("the folder is empty: STORE needs an absolute path")]
    NoFolder,
    #[error(
        "folder {given:?} is not absolute: start it with /, a drive such as C:\\, a variable such as %ProgramFiles%, or INSTALL_PATH"
    )]
    RelativeFolder { given: String },
    #[error("folder {given:?} has a '..' in it: write the path without '..'")]
    ParentFolder { given: String },
    #[error(
        "the folder has {bytes} bytes; at most {} are allowed",
        Folder::MAX_BYTES
    )]
    LongFolder { bytes: usize },
}

/// Refuses control characters other than line breaks and tabs; XML 1.0 allows hardly any of them,
/// even as a character reference.
fn without_controls(text: &str) -> Result<(), ActionTextError> {
    text.chars()
        .find(|c| {
            (c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
                || matches!(c, '\u{FFFE}' | '\u{FFFF}')
        })
        .map_or(Ok(()), |character| {
            Err(ActionTextError::Control { character })
        })
}

/// The command of EXECUTE, for the device's shell: 1 to 4,096 bytes.
///
/// Control characters other than line breaks and tabs are refused; XML 1.0 allows hardly any of
/// them, even as a character reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommandLine(String);

impl CommandLine {
    pub const MAX_BYTES: usize = 4096;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CommandLine {
    type Err = ActionTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(ActionTextError::NoCommand);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(ActionTextError::LongCommand { bytes: text.len() });
        }
        without_controls(text)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a file at the top of an archive: no path, no white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProgramName(String);

impl ProgramName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProgramName {
    type Err = ActionTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        without_controls(text)?;
        let path = text.contains(['/', '\\', ':']) || text == "." || text == "..";
        if text.is_empty() || path || text.contains(char::is_whitespace) {
            return Err(ActionTextError::ProgramPath {
                given: text.chars().take(80).collect(),
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The command of LAUNCH: a program of the archive, then its arguments in shell syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaunchCommand {
    program: ProgramName,
    arguments: String,
}

impl LaunchCommand {
    pub const fn program(&self) -> &ProgramName {
        &self.program
    }

    /// Returns the text after the program's name, without surrounding white space.
    pub fn arguments(&self) -> &str {
        &self.arguments
    }
}

impl FromStr for LaunchCommand {
    type Err = ActionTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let CommandLine(line) = text.parse()?;
        let line = line.trim();
        let (program, arguments) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Ok(Self {
            program: program.parse()?,
            arguments: arguments.trim().to_owned(),
        })
    }
}

impl fmt::Display for LaunchCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.fmt(f)?;
        if self.arguments.is_empty() {
            Ok(())
        } else {
            write!(f, " {}", self.arguments)
        }
    }
}

/// The folder of STORE: an absolute path on the device, 1 to 1,024 bytes.
///
/// Agents expand `INSTALL_PATH`. Windows agents expand `%VARIABLES%`, too (protocol reference
/// §4.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Folder(String);

impl Folder {
    pub const MAX_BYTES: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Folder {
    type Err = ActionTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() {
            return Err(ActionTextError::NoFolder);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(ActionTextError::LongFolder { bytes: text.len() });
        }
        // Unlike a command, a folder must not contain line breaks or tabs.
        if let Some(character) = text.chars().find(|c| c.is_control()) {
            return Err(ActionTextError::Control { character });
        }
        without_controls(text)?;
        let given = || text.chars().take(80).collect();
        let bytes = text.as_bytes();
        let drive = bytes.len() > 2
            && bytes[0].is_ascii_alphabetic()
            && bytes[1] == b':'
            && matches!(bytes[2], b'/' | b'\\');
        let variable = text.starts_with('%') && text[1..].contains('%');
        let absolute = drive
            || variable
            || text.starts_with('/')
            || text.starts_with("\\\\")
            || text.starts_with("INSTALL_PATH");
        if !absolute {
            return Err(ActionTextError::RelativeFolder { given: given() });
        }
        if text.split(['/', '\\']).any(|segment| segment == "..") {
            return Err(ActionTextError::ParentFolder { given: given() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_form!(CommandLine, "CommandLine", "\\S");
text_form!(LaunchCommand, "LaunchCommand", "^\\s*[^\\s/\\\\:]+");
text_form!(
    Folder,
    "Folder",
    "^(/|[A-Za-z]:[/\\\\]|\\\\\\\\|%.+%|INSTALL_PATH)"
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::causes::messages;

    #[test]
    fn launch_takes_a_name_without_a_path() {
        let command: LaunchCommand = "setup.exe /S --dir \"a b\"".parse().unwrap();
        assert_eq!(command.program().as_str(), "setup.exe");
        assert_eq!(command.arguments(), "/S --dir \"a b\"");
        assert_eq!(command.to_string(), "setup.exe /S --dir \"a b\"");
        for bad in [
            "",
            " ",
            "./run.sh",
            "bin/run.sh",
            "C:\\run.exe",
            "..",
            "run.sh \u{0}",
        ] {
            assert!(bad.parse::<LaunchCommand>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn commands_keep_characters_that_xml_can_hold() {
        for good in ["a && b", "echo \"ü\" > 'x'\nsecond\tline\r\n"] {
            assert_eq!(good.parse::<CommandLine>().unwrap().as_str(), good);
        }
        for bad in ["", "\n", "a\u{1b}b", "a\u{0}", &"x".repeat(4097)] {
            assert!(bad.parse::<CommandLine>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn folders_are_absolute_and_do_not_climb() {
        for good in [
            "/opt/x y",
            "C:\\Tools",
            "%ProgramData%\\x",
            "INSTALL_PATH/plugins",
            "\\\\host\\share",
        ] {
            assert!(good.parse::<Folder>().is_ok(), "{good:?}");
        }
        for bad in ["", "opt", "/opt/../etc", "C:x", "%", "/a\nb"] {
            assert!(bad.parse::<Folder>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn error_messages() {
        let command = |text: &str| text.parse::<LaunchCommand>().unwrap_err();
        let folder = |text: &str| text.parse::<Folder>().unwrap_err();
        insta::assert_snapshot!(messages([
            command(""),
            command(&"x".repeat(5000)),
            command("setup.sh \u{1b}"),
            command("bin/setup.sh"),
            folder(""),
            folder("opt"),
            folder("/opt/../etc"),
            folder(&"/x".repeat(1000)),
        ]), @r#"
        the command is empty
        the command has 5000 bytes; at most 4096 are allowed: put longer logic in a script inside the archive
        control character '\u{1b}' is not allowed in a command or folder
        "bin/setup.sh" is not a program name: LAUNCH runs a file at the top of the archive, so give its name without a path
        the folder is empty: STORE needs an absolute path
        folder "opt" is not absolute: start it with /, a drive such as C:\, a variable such as %ProgramFiles%, or INSTALL_PATH
        folder "/opt/../etc" has a '..' in it: write the path without '..'
        the folder has 2000 bytes; at most 1024 are allowed
        "#);
    }
}
