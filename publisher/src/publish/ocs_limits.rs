//! What stock agents cannot do with a package, known before it is published.
//!
//! What breaks on every stock agent, such as a control character in a command or an `info`
//! over 16 KiB, cannot be planned at all. What depends on the agent is a warning here, as a
//! fleet may have none of that kind.

use packcast_archive::System;
use packcast_protocol::manifest::Platform;
use packcast_protocol::windows::Schedule;
use packcast_protocol::{Action, ArchiveFormat, Folder, UnixTime, WindowsTerms};
use packcast_rollout::Pacing;

use super::inspect::{Contents, Inspection};
use super::plan::{Plan, Terms};

/// A limit of some stock agents that a package runs into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Unix agents cut LAUNCH's program at the first hyphen (protocol reference §5.3).
    #[error(
        "stock Unix agents cut the program's name at the hyphen of {program:?} and fail: rename it, or use execute with 'sh ./{program}'"
    )]
    HyphenInProgram { program: String },
    /// Unix agents copy to STORE's folder without quoting it (§5.3).
    #[error("stock Unix agents fail on the space in the folder {folder:?}")]
    SpaceInFolder { folder: String },
    /// Unix agents make a folder of that very name.
    #[error(
        "stock Unix agents do not know the folder {folder:?}: do not assign the package to them"
    )]
    WindowsFolder { folder: String },
    /// Unix agents do not copy top-level files whose names start with a dot (§5.3).
    #[error("stock Unix agents leave out files at the archive's top whose names start with a dot")]
    DotfilesAtTop,
    /// Unix agents extract a zip of one tiny file as nothing (§5.3).
    #[error(
        "stock Unix agents extract nothing from a zip of a single file under 512 bytes: use .tar.gz"
    )]
    TinyZip,
    /// Unix agents need `unzip` for zip archives; Windows agents read nothing else (§5.3).
    #[error("stock Unix agents need unzip for a zip archive: use .tar.gz for them")]
    ZipOnUnix,
    /// No agent on the system can unpack the archive.
    #[error(
        "{system} cannot hold the archive's entry {entry:?}: name it otherwise, or choose another --platform"
    )]
    UnfitName { system: System, entry: String },
    /// Unix agents ignore what is only for Windows agents (§2.4, §4.1).
    #[error(
        "only stock Windows agents show texts, wait for a date or restart: the others act at once and say nothing"
    )]
    WindowsTerms,
    /// Windows agents read zip archives only (§5.3).
    #[error("stock Windows agents read zip archives only: use .zip for them")]
    TarGzOnWindows,
    /// Windows agents have room for 254 characters of command and 259 of path (§4.1).
    #[error(
        "stock Windows agents have room for {room} characters, with %VARIABLES% expanded, not {characters}: put the logic in a script inside the archive"
    )]
    LongForWindows { characters: usize, room: usize },
    /// Windows agents hand the command to `cmd /c`, which reads one line (§5.2).
    #[error(
        "stock Windows agents run the first line of a command only: put the lines in a script inside the archive"
    )]
    LinesOnWindows,
    /// Windows agents turn slashes round and know no drive then (§5.3).
    #[error(
        "stock Windows agents look for the folder {folder:?} on whatever drive they run from: name one, such as C:\\"
    )]
    UnixFolder { folder: String },
    /// Windows has no folders with such a character in their names.
    #[error(
        "Windows has no folders with {character:?} in their names: choose another --path for stock Windows agents"
    )]
    CharacterInFolder { character: char },
    /// Windows agents wait 120 minutes for a program, whatever they are told (§2.3, §5.3).
    #[error(
        "stock Windows agents report a program as failed after {WINDOWS_MINUTES} minutes, not {minutes}, and let it run"
    )]
    SlowOnWindows { minutes: u32 },
    /// Windows agents act at once when the schedule is over (§2.4).
    #[error(
        "{schedule} is over everywhere: stock Windows agents act as soon as they have the package"
    )]
    PastSchedule { schedule: Schedule },
    /// Windows agents drop a package that waits longer than their TIMEOUT (§2.4).
    #[error(
        "stock Windows agents drop a package that waits for more than {days} days: do not assign it earlier than that before {schedule}"
    )]
    FarSchedule { schedule: Schedule, days: u16 },
}

const WINDOWS_COMMAND: usize = 254;
const WINDOWS_PATH: usize = 259;
/// How long Windows agents wait for a program.
pub const WINDOWS_MINUTES: u32 = 120;
const TINY: u64 = 512;

impl Warning {
    /// Tells whether the limit is one of Windows agents; all others are of Unix agents.
    const fn is_of_windows(&self) -> bool {
        match self {
            Self::UnfitName { system, .. } => matches!(system, System::Windows),
            Self::TarGzOnWindows
            | Self::LongForWindows { .. }
            | Self::LinesOnWindows
            | Self::UnixFolder { .. }
            | Self::CharacterInFolder { .. }
            | Self::SlowOnWindows { .. }
            | Self::PastSchedule { .. }
            | Self::FarSchedule { .. } => true,
            Self::HyphenInProgram { .. }
            | Self::SpaceInFolder { .. }
            | Self::WindowsFolder { .. }
            | Self::DotfilesAtTop
            | Self::TinyZip
            | Self::ZipOnUnix
            | Self::WindowsTerms => false,
        }
    }
}

/// Returns the limits that a plan runs into on stock agents of its platform; `inspection` is that
/// of the plan's archive.
pub fn warnings(plan: &Plan, inspection: Option<&Inspection>, now: UnixTime) -> Vec<Warning> {
    let no_contents = Contents::default();
    let contents = inspection.map_or(&no_contents, |inspection| &inspection.contents);
    let action = plan.action.clone();
    let action = action.map_archive(|planned| (planned.archive.format(), contents));
    of_package(&action, &plan.terms, now)
}

fn of_package(
    action: &Action<(ArchiveFormat, &Contents)>,
    terms: &Terms,
    now: UnixTime,
) -> Vec<Warning> {
    let mut warnings = of_action(action);
    let minutes = terms.timeout_s.div_ceil(60);
    if minutes > WINDOWS_MINUTES {
        warnings.push(Warning::SlowOnWindows { minutes });
    }
    warnings.extend(of_windows_terms(&terms.windows, now));
    if terms.platform == Platform::Any {
        warnings.extend(
            action
                .archive()
                .into_iter()
                .flat_map(|(_, it)| of_names(it)),
        );
    }
    warnings.retain(|warning| match terms.platform {
        Platform::Any => *warning != Warning::WindowsTerms,
        Platform::Windows => warning.is_of_windows(),
        Platform::Linux | Platform::Macos => !warning.is_of_windows(),
    });
    warnings
}

fn of_action(action: &Action<(ArchiveFormat, &Contents)>) -> Vec<Warning> {
    let mut warnings = match action {
        Action::Launch { command, .. } => of_program(command.program().as_str())
            .into_iter()
            .chain(of_command(&command.to_string()))
            .collect(),
        Action::Execute { command, .. } => of_command(command.as_str()),
        Action::Store {
            folder,
            archive: (_, contents),
        } => of_store(folder, contents),
    };
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

fn of_names(contents: &Contents) -> impl Iterator<Item = Warning> {
    contents.unfit.iter().map(|unfit| Warning::UnfitName {
        system: unfit.system,
        entry: unfit.entry.clone(),
    })
}

fn of_program(program: &str) -> Option<Warning> {
    let program = program.to_owned();
    program
        .contains('-')
        .then_some(Warning::HyphenInProgram { program })
}

fn of_command(command: &str) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = too_long(command, WINDOWS_COMMAND).into_iter().collect();
    if command.trim_end().contains(['\n', '\r']) {
        warnings.push(Warning::LinesOnWindows);
    }
    warnings
}

fn of_store(folder: &Folder, contents: &Contents) -> Vec<Warning> {
    let text = folder.as_str();
    let mut warnings = Vec::new();
    if text.contains(' ') {
        let folder = text.to_owned();
        warnings.push(Warning::SpaceInFolder { folder });
    }
    if contents.top_dotfiles {
        warnings.push(Warning::DotfilesAtTop);
    }
    warnings.extend(of_other_system(text));
    warnings.extend(too_long(text, WINDOWS_PATH));
    warnings
}

/// A folder belongs to one kind of system, but for the agent's own, `INSTALL_PATH`.
fn of_other_system(folder: &str) -> Option<Warning> {
    const NOT_IN_WINDOWS_NAMES: [char; 7] = ['<', '>', ':', '"', '|', '?', '*'];
    if folder.starts_with('/') {
        let folder = folder.to_owned();
        return Some(Warning::UnixFolder { folder });
    }
    // The colon of a drive is the second character.
    let mut names = folder.chars().enumerate().filter(|(at, _)| *at != 1);
    if let Some((_, character)) = names.find(|(_, c)| NOT_IN_WINDOWS_NAMES.contains(c)) {
        return Some(Warning::CharacterInFolder { character });
    }
    let folder = folder.to_owned();
    (!folder.starts_with("INSTALL_PATH")).then_some(Warning::WindowsFolder { folder })
}

/// Windows counts in units of UTF-16.
fn too_long(text: &str, room: usize) -> Option<Warning> {
    let characters = text.encode_utf16().count();
    (characters > room).then_some(Warning::LongForWindows { characters, room })
}

fn of_windows_terms(terms: &WindowsTerms, now: UnixTime) -> Vec<Warning> {
    let days = Pacing::default().timeout_days.get();
    let mut warnings = Vec::new();
    if !terms.is_none() {
        warnings.push(Warning::WindowsTerms);
    }
    if let Some(schedule) = terms.schedule {
        if schedule.has_come_everywhere() < now {
            warnings.push(Warning::PastSchedule { schedule });
        } else if schedule.in_utc().since(now) > u64::from(days) * 24 * 3600 {
            warnings.push(Warning::FarSchedule { schedule, days });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[
        (
            "§0.15, §8.11: each system has its own archives",
            each_limit_is_found,
        ),
        (
            "§8.15: Windows agents have room for short commands only",
            a_command_is_one_short_line_on_windows,
        ),
        (
            "§2.4: Windows agents drop what waits beyond their TIMEOUT",
            a_schedule_is_neither_past_nor_beyond_the_timeout,
        ),
    ];

    fn contents(files: u64, largest_file: u64, top_dotfiles: bool) -> Contents {
        Contents {
            files,
            largest_file,
            top_dotfiles,
            ..Contents::default()
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
        assert_eq!(of_action(&launch("setup.sh -x")), [Warning::TarGzOnWindows]);
        assert_eq!(
            of_action(&launch("my-setup.sh")),
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
            of_action(&store("INSTALL_PATH/x", (ArchiveFormat::Zip, &tiny))),
            [Warning::TinyZip]
        );
        assert_eq!(
            of_action(&store("INSTALL_PATH/a b", (ArchiveFormat::Zip, &dots))),
            [
                Warning::SpaceInFolder {
                    folder: "INSTALL_PATH/a b".to_owned()
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
            of_action(&execute),
            [Warning::LongForWindows {
                characters: 255,
                room: 254
            }]
        );
    }

    fn terms(platform: Platform, windows: WindowsTerms) -> Terms {
        Terms {
            platform,
            success_codes: std::collections::BTreeSet::from([0]),
            reboot_codes: std::collections::BTreeSet::new(),
            timeout_s: 60,
            validity_s: 60,
            rerun_after_interruption: false,
            going_back: false,
            audience: packcast_protocol::manifest::Audience::Any,
            windows,
        }
    }

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_platform_leaves_out_the_limits_of_others() {
        let contents = contents(2, 4096, false);
        let action = Action::Launch {
            archive: (ArchiveFormat::TarGz, &contents),
            command: "my-setup.sh".parse().unwrap(),
        };
        let found = |platform| of_package(&action, &terms(platform, WindowsTerms::default()), NOW);
        assert_eq!(found(Platform::Windows), [Warning::TarGzOnWindows]);
        assert!(matches!(
            found(Platform::Linux)[..],
            [Warning::HyphenInProgram { .. }]
        ));
        assert_eq!(found(Platform::Any).len(), 2);
    }

    #[test]
    fn a_command_is_one_short_line_on_windows() {
        let found = |command: &str| {
            of_action(&Action::Execute {
                archive: None,
                command: command.parse().unwrap(),
            })
        };
        assert_eq!(found(&"ü".repeat(254)), []);
        let long = Warning::LongForWindows {
            characters: 256,
            room: 254,
        };
        assert_eq!(found(&"🖥".repeat(128)), [long]);
        assert_eq!(found("one\ntwo"), [Warning::LinesOnWindows]);
        assert_eq!(found("one\n"), []);
    }

    #[test]
    fn a_program_has_two_hours_on_windows() {
        let action = Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        };
        let found = |timeout_s| {
            let terms = Terms {
                timeout_s,
                ..terms(Platform::Any, WindowsTerms::default())
            };
            of_package(&action, &terms, NOW)
        };
        assert_eq!(found(7200), []);
        assert_eq!(found(8000), [Warning::SlowOnWindows { minutes: 134 }]);
    }

    #[test]
    fn a_folder_is_of_one_system() {
        let found = |folder: &str| of_other_system(folder);
        let (unix, windows) = ("/opt/x".to_owned(), "C:\\Data".to_owned());
        assert_eq!(found(&unix), Some(Warning::UnixFolder { folder: unix }));
        assert_eq!(
            found(&windows),
            Some(Warning::WindowsFolder { folder: windows })
        );
        for character in ['*', ':', '?'] {
            let folder = format!("C:\\a{character}b");
            assert_eq!(
                found(&folder),
                Some(Warning::CharacterInFolder { character })
            );
        }
        assert_eq!(found("INSTALL_PATH/files"), None);
    }

    #[test]
    fn a_schedule_is_neither_past_nor_beyond_the_timeout() {
        let action = Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        };
        let found = |platform, schedule: Schedule| {
            let windows = WindowsTerms {
                schedule: Some(schedule),
                ..WindowsTerms::default()
            };
            of_package(&action, &terms(platform, windows), NOW)
        };
        // It is 2026-11-18 11:06:40 in Greenwich.
        let at = |text: &str| text.parse::<Schedule>().unwrap();
        for good in ["2026/11/17 22:00", "2026/11/18 12:00", "2026/12/18 11:00"] {
            assert_eq!(found(Platform::Windows, at(good)), [], "{good}");
            assert_eq!(found(Platform::Linux, at(good)), [Warning::WindowsTerms]);
            assert_eq!(found(Platform::Any, at(good)), [], "{good}");
        }
        let schedule = at("2026/11/17 20:00");
        assert_eq!(
            found(Platform::Any, schedule),
            [Warning::PastSchedule { schedule }]
        );
        let schedule = at("2026/12/18 12:00");
        assert_eq!(
            found(Platform::Windows, schedule),
            [Warning::FarSchedule { schedule, days: 30 }]
        );
    }
}
