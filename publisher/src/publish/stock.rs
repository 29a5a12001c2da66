//! What stock agents cannot do with a package, known before it is published.
//!
//! What breaks on every stock agent, such as a control character in a command or an `info`
//! over 16 KiB, cannot be planned at all. What depends on the agent is a warning here, as a
//! fleet may have none of that kind.

use packcast_protocol::manifest::Platform;
use packcast_protocol::{Action, ArchiveFormat};

use super::source::Contents;

/// A limit of some stock agents that a package runs into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Unix agents cut LAUNCH's program at the first hyphen (protocol reference §5.3).
    HyphenInProgram {
        program: String,
    },
    /// Unix agents copy to STORE's folder without quoting it (§5.3).
    SpaceInFolder {
        folder: String,
    },
    /// Unix agents do not copy top-level files whose names start with a dot (§5.3).
    DotfilesAtTop,
    /// Unix agents extract a zip of one tiny file as nothing (§5.3).
    TinyZip,
    /// Unix agents need `unzip` for zip archives; Windows agents read nothing else (§5.3).
    ZipOnUnix,
    TarGzOnWindows,
    /// Windows agents have room for 254 characters of command and 259 of path (§4.1).
    LongForWindows {
        characters: usize,
        room: usize,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HyphenInProgram { program } => write!(
                f,
                "stock Unix agents cut the program's name at the hyphen of {program:?} and fail: rename it, or use execute with 'sh ./{program}'"
            ),
            Self::SpaceInFolder { folder } => {
                write!(f, "stock Unix agents fail on the space in the folder {folder:?}")
            }
            Self::DotfilesAtTop => {
                f.write_str("stock Unix agents leave out files at the archive's top whose names start with a dot")
            }
            Self::TinyZip => {
                f.write_str("stock Unix agents extract nothing from a zip of a single file under 512 bytes: use .tar.gz")
            }
            Self::ZipOnUnix => f.write_str("stock Unix agents need unzip for a zip archive: use .tar.gz for them"),
            Self::TarGzOnWindows => f.write_str("stock Windows agents read zip archives only: use .zip for them"),
            Self::LongForWindows { characters, room } => write!(
                f,
                "stock Windows agents have room for {room} characters, not {characters}: put the logic in a script inside the archive"
            ),
        }
    }
}

const WINDOWS_COMMAND: usize = 254;
const WINDOWS_PATH: usize = 259;
const TINY: u64 = 512;

impl Warning {
    /// Tells whether the limit is one of Windows agents; all others are of Unix agents.
    const fn is_of_windows(&self) -> bool {
        matches!(self, Self::TarGzOnWindows | Self::LongForWindows { .. })
    }
}

/// Returns what the stock agents of a platform may stumble over.
pub fn warnings(action: &Action<(ArchiveFormat, &Contents)>, platform: Platform) -> Vec<Warning> {
    let mut warnings = all_warnings(action);
    warnings.retain(|warning| match platform {
        Platform::Any => true,
        Platform::Windows => warning.is_of_windows(),
        Platform::Linux | Platform::Macos => !warning.is_of_windows(),
    });
    warnings
}

fn all_warnings(action: &Action<(ArchiveFormat, &Contents)>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let (text, room) = match action {
        Action::Launch { command, .. } => {
            let program = command.program().as_str();
            if program.contains('-') {
                warnings.push(Warning::HyphenInProgram {
                    program: program.to_owned(),
                });
            }
            (command.to_string(), WINDOWS_COMMAND)
        }
        Action::Execute { command, .. } => (command.to_string(), WINDOWS_COMMAND),
        Action::Store {
            folder,
            archive: (_, contents),
        } => {
            if folder.as_str().contains(' ') {
                warnings.push(Warning::SpaceInFolder {
                    folder: folder.to_string(),
                });
            }
            if contents.top_dotfiles {
                warnings.push(Warning::DotfilesAtTop);
            }
            (folder.to_string(), WINDOWS_PATH)
        }
    };
    let characters = text.chars().count();
    if characters > room {
        warnings.push(Warning::LongForWindows { characters, room });
    }
    match action.archive() {
        Some((ArchiveFormat::Zip, contents))
            if contents.files == 1 && contents.largest_file < TINY =>
        {
            warnings.push(Warning::TinyZip);
        }
        Some((ArchiveFormat::Zip, _)) => warnings.push(Warning::ZipOnUnix),
        Some((ArchiveFormat::TarGz, _)) => warnings.push(Warning::TarGzOnWindows),
        None => {}
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(files: u64, largest_file: u64, top_dotfiles: bool) -> Contents {
        Contents {
            files,
            largest_file,
            top_dotfiles,
            top_files: Vec::new(),
        }
    }

    #[test]
    fn each_limit_is_found() {
        let (big, tiny, dots) = (
            contents(2, 4096, false),
            contents(1, 100, false),
            contents(2, 4096, true),
        );
        let launch = |command: &str| Action::Launch {
            archive: (ArchiveFormat::TarGz, &big),
            command: command.parse().unwrap(),
        };
        assert_eq!(
            all_warnings(&launch("setup.sh -x")),
            [Warning::TarGzOnWindows]
        );
        assert_eq!(
            all_warnings(&launch("my-setup.sh")),
            [
                Warning::HyphenInProgram {
                    program: "my-setup.sh".to_owned()
                },
                Warning::TarGzOnWindows
            ]
        );
        let store = |folder: &str, archive| Action::Store {
            archive,
            folder: folder.parse().unwrap(),
        };
        assert_eq!(
            all_warnings(&store("/opt/x", (ArchiveFormat::Zip, &tiny))),
            [Warning::TinyZip]
        );
        assert_eq!(
            all_warnings(&store("/opt/a b", (ArchiveFormat::Zip, &dots))),
            [
                Warning::SpaceInFolder {
                    folder: "/opt/a b".to_owned()
                },
                Warning::DotfilesAtTop,
                Warning::ZipOnUnix
            ]
        );
        let execute = Action::Execute {
            archive: None,
            command: "x".repeat(255).parse().unwrap(),
        };
        assert_eq!(
            all_warnings(&execute),
            [Warning::LongForWindows {
                characters: 255,
                room: 254
            }]
        );
    }

    #[test]
    fn a_platform_leaves_out_the_limits_of_others() {
        let contents = contents(2, 4096, false);
        let action = Action::Launch {
            archive: (ArchiveFormat::TarGz, &contents),
            command: "my-setup.sh".parse().unwrap(),
        };
        assert_eq!(
            warnings(&action, Platform::Windows),
            [Warning::TarGzOnWindows]
        );
        assert!(matches!(
            warnings(&action, Platform::Linux)[..],
            [Warning::HyphenInProgram { .. }]
        ));
        assert_eq!(warnings(&action, Platform::Any).len(), 2);
    }
}
