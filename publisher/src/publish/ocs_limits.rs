//! Limits of OCS agents that a package exceeds, found before it is published.
//!
//! The plan of a package refuses everything that breaks on all OCS agents, such as a control
//! character in a command, or an `info` over 16 KiB. This module warns of limits that only some
//! OCS agents have, because a fleet may have no such agent.

use packcast_archive::System;
use packcast_protocol::manifest::Platform;
use packcast_protocol::windows::Schedule;
use packcast_protocol::{Action, ArchiveFormat, Folder, UnixTime, WindowsTerms};
use packcast_rollout::Pacing;

use super::inspect::{Contents, Inspection};
use super::plan::{PackageTerms, Plan};

/// A limit of some OCS agents that a package exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OcsLimit {
    /// Unix agents cut LAUNCH's program at the first hyphen (protocol reference §5.3).
    #[error(
        "OCS Unix agents cut the program name {program:?} at the hyphen and fail: rename the program, or use --action execute with --command 'sh ./{program}'"
    )]
    HyphenInProgram { program: String },
    /// Unix agents copy to STORE's folder without quoting it (§5.3).
    #[error("OCS Unix agents fail on the space in the folder {folder:?}: choose another --path")]
    SpaceInFolder { folder: String },
    /// Unix agents create a folder whose name is the whole Windows path.
    #[error("OCS Unix agents do not know the folder {folder:?}: do not assign the package to them")]
    WindowsFolder { folder: String },
    /// Unix agents do not copy top-level files whose names start with a dot (§5.3).
    #[error("OCS Unix agents skip files at the top of the archive whose names start with a dot")]
    DotfilesAtTop,
    /// Unix agents extract nothing from a zip archive of one tiny file (§5.3).
    #[error(
        "OCS Unix agents extract nothing from a zip archive with a single file under 512 bytes: use .tar.gz"
    )]
    TinyZip,
    /// Unix agents need `unzip` for zip archives; Windows agents read nothing else (§5.3).
    #[error("OCS Unix agents need unzip for a zip archive: use .tar.gz for these agents")]
    ZipOnUnix,
    /// No agent on this system can unpack the archive.
    #[error(
        "{system} cannot hold entry {entry:?} of the archive: rename the entry, or choose another --platform"
    )]
    UnfitName { system: System, entry: String },
    /// Unix agents ignore the terms that are only for Windows agents (§2.4, §4.1).
    #[error(
        "only OCS Windows agents show texts, wait for a date or restart: other agents act at once and show nothing"
    )]
    WindowsTerms,
    /// Windows agents read zip archives only (§5.3).
    #[error("OCS Windows agents read zip archives only: use .zip for these agents")]
    TarGzOnWindows,
    /// Windows agents have room for 254 characters of command and 259 of path (§4.1).
    #[error(
        "OCS Windows agents have room for {room} characters after %VARIABLES% are expanded, found {characters}: put the logic in a script inside the archive"
    )]
    LongForWindows { characters: usize, room: usize },
    /// Windows agents replace slashes by backslashes, and the path has no drive then (§5.3).
    #[error(
        "OCS Windows agents look for the folder {folder:?} on the drive that they run from: name a drive, such as C:\\"
    )]
    UnixFolder { folder: String },
    /// Windows does not allow this character in the name of a folder.
    #[error(
        "Windows does not allow {character:?} in the name of a folder: choose another --path for OCS Windows agents"
    )]
    CharacterInFolder { character: char },
    /// Windows agents wait 120 minutes for a program, and ignore other timeouts (§2.3, §5.3).
    #[error(
        "OCS Windows agents report a program as failed after {WINDOWS_MINUTES} minutes, not {minutes}, and let the program run"
    )]
    SlowOnWindows { minutes: u32 },
    /// Windows agents act at once if the date of the schedule has passed (§2.4).
    #[error(
        "{schedule} has passed in every time zone: OCS Windows agents act as soon as they have the package"
    )]
    PastSchedule { schedule: Schedule },
    /// Windows agents drop a package that waits longer than their TIMEOUT (§2.4).
    #[error(
        "OCS Windows agents drop a package that waits for more than {days} days: do not assign the package earlier than {days} days before {schedule}"
    )]
    FarSchedule { schedule: Schedule, days: u16 },
}

const WINDOWS_COMMAND: usize = 254;
const WINDOWS_PATH: usize = 259;
/// The time that Windows agents wait for a program, in minutes.
pub const WINDOWS_MINUTES: u32 = 120;
const TINY: u64 = 512;

impl OcsLimit {
    /// Returns true for a limit of Windows agents, false for a limit of Unix agents.
    const fn is_of_windows(&self) -> bool {
        match self {
            Self::UnfitName { system, .. } => matches!(system, System::Windows),
            Self::TarGzOnWindows
            | Self::LongForWindows { .. }
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

/// Returns the limits that a plan exceeds on the OCS agents of its platform. `inspection` belongs
/// to the archive of the plan.
pub fn warnings(plan: &Plan, inspection: Option<&Inspection>, now: UnixTime) -> Vec<OcsLimit> {
    let no_contents = Contents::default();
    let contents = inspection.map_or(&no_contents, |inspection| &inspection.contents);
    let action = plan.action.clone();
    let action = action.map_archive(|planned| (planned.archive.format(), contents));
    of_package(&action, &plan.terms, now)
}

fn of_package(
    action: &Action<(ArchiveFormat, &Contents)>,
    terms: &PackageTerms,
    now: UnixTime,
) -> Vec<OcsLimit> {
    // No OCS agent gets the package.
    if matches!(action, Action::Update { .. }) {
        return Vec::new();
    }
    let mut warnings = of_action(action);
    let minutes = terms.timeout_s.div_ceil(60);
    if minutes > WINDOWS_MINUTES {
        warnings.push(OcsLimit::SlowOnWindows { minutes });
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
        Platform::Any => *warning != OcsLimit::WindowsTerms,
        Platform::Windows => warning.is_of_windows(),
        Platform::Linux | Platform::Macos => !warning.is_of_windows(),
    });
    warnings
}

fn of_action(action: &Action<(ArchiveFormat, &Contents)>) -> Vec<OcsLimit> {
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
        Action::Update { .. } => Vec::new(),
    };
    match action.archive() {
        Some((ArchiveFormat::Zip, contents))
            if contents.files == 1 && contents.largest_file < TINY =>
        {
            warnings.push(OcsLimit::TinyZip);
        }
        Some((ArchiveFormat::Zip, _)) => warnings.push(OcsLimit::ZipOnUnix),
        Some((ArchiveFormat::TarGz, _)) => warnings.push(OcsLimit::TarGzOnWindows),
        None => {}
    }
    warnings
}

fn of_names(contents: &Contents) -> impl Iterator<Item = OcsLimit> {
    contents.unfit.iter().map(|unfit| OcsLimit::UnfitName {
        system: unfit.system,
        entry: unfit.entry.clone(),
    })
}

fn of_program(program: &str) -> Option<OcsLimit> {
    let program = program.to_owned();
    program
        .contains('-')
        .then_some(OcsLimit::HyphenInProgram { program })
}

fn of_command(command: &str) -> Vec<OcsLimit> {
    too_long(command, WINDOWS_COMMAND).into_iter().collect()
}

fn of_store(folder: &Folder, contents: &Contents) -> Vec<OcsLimit> {
    let text = folder.as_str();
    let mut warnings = Vec::new();
    if text.contains(' ') {
        let folder = text.to_owned();
        warnings.push(OcsLimit::SpaceInFolder { folder });
    }
    if contents.top_dotfiles {
        warnings.push(OcsLimit::DotfilesAtTop);
    }
    warnings.extend(of_other_system(text));
    warnings.extend(too_long(text, WINDOWS_PATH));
    warnings
}

/// Returns the limit of the system that the folder is not for.
///
/// Only `INSTALL_PATH`, the folder of the agent, exists on Unix and on Windows.
fn of_other_system(folder: &str) -> Option<OcsLimit> {
    const NOT_IN_WINDOWS_NAMES: [char; 7] = ['<', '>', ':', '"', '|', '?', '*'];
    if folder.starts_with('/') {
        let folder = folder.to_owned();
        return Some(OcsLimit::UnixFolder { folder });
    }
    // The colon of a drive is the second character.
    let mut names = folder.chars().enumerate().filter(|(at, _)| *at != 1);
    if let Some((_, character)) = names.find(|(_, c)| NOT_IN_WINDOWS_NAMES.contains(c)) {
        return Some(OcsLimit::CharacterInFolder { character });
    }
    let folder = folder.to_owned();
    (!folder.starts_with("INSTALL_PATH")).then_some(OcsLimit::WindowsFolder { folder })
}

/// Returns the limit if a text is too long for Windows, which counts in units of UTF-16.
fn too_long(text: &str, room: usize) -> Option<OcsLimit> {
    let characters = text.encode_utf16().count();
    (characters > room).then_some(OcsLimit::LongForWindows { characters, room })
}

fn of_windows_terms(terms: &WindowsTerms, now: UnixTime) -> Vec<OcsLimit> {
    let days = Pacing::default().timeout_days.get();
    let mut warnings = Vec::new();
    if !terms.is_none() {
        warnings.push(OcsLimit::WindowsTerms);
    }
    if let Some(schedule) = terms.schedule {
        if schedule.has_come_everywhere() < now {
            warnings.push(OcsLimit::PastSchedule { schedule });
        } else if schedule.in_utc().since(now) > u64::from(days) * 24 * 3600 {
            warnings.push(OcsLimit::FarSchedule { schedule, days });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::messages;

    /// Traps of OCS agents (protocol reference) and the tests that guard against them.
    const _: &[(&str, fn())] = &[
        (
            "§0.15, §8.11: each system has its own archives",
            limits_of_each_action_are_found,
        ),
        (
            "§8.15: Windows agents have room for short commands only",
            a_command_is_short_on_windows,
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
    fn limits_of_each_action_are_found() {
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
            of_action(&launch("setup.sh -x")),
            [OcsLimit::TarGzOnWindows]
        );
        assert_eq!(
            of_action(&launch("my-setup.sh")),
            [
                OcsLimit::HyphenInProgram {
                    program: "my-setup.sh".to_owned()
                },
                OcsLimit::TarGzOnWindows
            ]
        );
        let store = |folder: &str, archive| Action::Store {
            archive,
            folder: folder.parse().unwrap(),
        };
        assert_eq!(
            of_action(&store("INSTALL_PATH/x", (ArchiveFormat::Zip, &tiny))),
            [OcsLimit::TinyZip]
        );
        assert_eq!(
            of_action(&store("INSTALL_PATH/a b", (ArchiveFormat::Zip, &dots))),
            [
                OcsLimit::SpaceInFolder {
                    folder: "INSTALL_PATH/a b".to_owned()
                },
                OcsLimit::DotfilesAtTop,
                OcsLimit::ZipOnUnix
            ]
        );
        let execute = Action::Execute {
            archive: None,
            command: "x".repeat(255).parse().unwrap(),
        };
        assert_eq!(
            of_action(&execute),
            [OcsLimit::LongForWindows {
                characters: 255,
                room: 254
            }]
        );
    }

    fn terms(platform: Platform, windows: WindowsTerms) -> PackageTerms {
        PackageTerms {
            platform,
            success_codes: std::collections::BTreeSet::from([0]),
            reboot_codes: std::collections::BTreeSet::new(),
            timeout_s: 60,
            validity_s: None,
            rerun_after_interruption: false,
            audience: packcast_protocol::manifest::Audience::Any,
            windows,
        }
    }

    const NOW: UnixTime = UnixTime(1_795_000_000);

    #[test]
    fn a_platform_has_only_the_limits_of_its_own_agents() {
        let contents = contents(2, 4096, false);
        let action = Action::Launch {
            archive: (ArchiveFormat::TarGz, &contents),
            command: "my-setup.sh".parse().unwrap(),
        };
        let found = |platform| of_package(&action, &terms(platform, WindowsTerms::default()), NOW);
        assert_eq!(found(Platform::Windows), [OcsLimit::TarGzOnWindows]);
        assert!(matches!(
            found(Platform::Linux)[..],
            [OcsLimit::HyphenInProgram { .. }]
        ));
        assert_eq!(found(Platform::Any).len(), 2);
    }

    #[test]
    fn a_command_is_short_on_windows() {
        let found = |command: &str| {
            of_action(&Action::Execute {
                archive: None,
                command: command.parse().unwrap(),
            })
        };
        assert_eq!(found(&"ü".repeat(254)), []);
        let long = OcsLimit::LongForWindows {
            characters: 256,
            room: 254,
        };
        assert_eq!(found(&"🖥".repeat(128)), [long]);
    }

    #[test]
    fn a_program_has_two_hours_on_windows() {
        let action = Action::Execute {
            archive: None,
            command: "true".parse().unwrap(),
        };
        let found = |timeout_s| {
            let terms = PackageTerms {
                timeout_s,
                ..terms(Platform::Any, WindowsTerms::default())
            };
            of_package(&action, &terms, NOW)
        };
        assert_eq!(found(7200), []);
        assert_eq!(found(8000), [OcsLimit::SlowOnWindows { minutes: 134 }]);
    }

    #[test]
    fn a_folder_is_of_one_system() {
        let found = |folder: &str| of_other_system(folder);
        let (unix, windows) = ("/opt/x".to_owned(), "C:\\Data".to_owned());
        assert_eq!(found(&unix), Some(OcsLimit::UnixFolder { folder: unix }));
        assert_eq!(
            found(&windows),
            Some(OcsLimit::WindowsFolder { folder: windows })
        );
        for character in ['*', ':', '?'] {
            let folder = format!("C:\\a{character}b");
            assert_eq!(
                found(&folder),
                Some(OcsLimit::CharacterInFolder { character })
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
            assert_eq!(found(Platform::Linux, at(good)), [OcsLimit::WindowsTerms]);
            assert_eq!(found(Platform::Any, at(good)), [], "{good}");
        }
        let schedule = at("2026/11/17 20:00");
        assert_eq!(
            found(Platform::Any, schedule),
            [OcsLimit::PastSchedule { schedule }]
        );
        let schedule = at("2026/12/18 12:00");
        assert_eq!(
            found(Platform::Windows, schedule),
            [OcsLimit::FarSchedule { schedule, days: 30 }]
        );
    }

    #[test]
    fn messages_of_ocs_limits() {
        let (program, folder) = ("my-setup.sh".to_owned(), || "/opt/a b".to_owned());
        let schedule: Schedule = "2026/12/01 22:00".parse().unwrap();
        let limits = [
            OcsLimit::HyphenInProgram { program },
            OcsLimit::SpaceInFolder { folder: folder() },
            OcsLimit::WindowsFolder {
                folder: "C:\\Data".to_owned(),
            },
            OcsLimit::DotfilesAtTop,
            OcsLimit::TinyZip,
            OcsLimit::ZipOnUnix,
            OcsLimit::UnfitName {
                system: System::Windows,
                entry: "aux.txt".to_owned(),
            },
            OcsLimit::WindowsTerms,
            OcsLimit::TarGzOnWindows,
            OcsLimit::LongForWindows {
                characters: 300,
                room: 254,
            },
            OcsLimit::UnixFolder { folder: folder() },
            OcsLimit::CharacterInFolder { character: '?' },
            OcsLimit::SlowOnWindows { minutes: 180 },
            OcsLimit::PastSchedule { schedule },
            OcsLimit::FarSchedule { schedule, days: 30 },
        ];
        insta::assert_snapshot!(messages(limits), @r#"
        OCS Unix agents cut the program name "my-setup.sh" at the hyphen and fail: rename the program, or use --action execute with --command 'sh ./my-setup.sh'
        OCS Unix agents fail on the space in the folder "/opt/a b": choose another --path
        OCS Unix agents do not know the folder "C:\\Data": do not assign the package to them
        OCS Unix agents skip files at the top of the archive whose names start with a dot
        OCS Unix agents extract nothing from a zip archive with a single file under 512 bytes: use .tar.gz
        OCS Unix agents need unzip for a zip archive: use .tar.gz for these agents
        Windows cannot hold entry "aux.txt" of the archive: rename the entry, or choose another --platform
        only OCS Windows agents show texts, wait for a date or restart: other agents act at once and show nothing
        OCS Windows agents read zip archives only: use .zip for these agents
        OCS Windows agents have room for 254 characters after %VARIABLES% are expanded, found 300: put the logic in a script inside the archive
        OCS Windows agents look for the folder "/opt/a b" on the drive that they run from: name a drive, such as C:\
        Windows does not allow '?' in the name of a folder: choose another --path for OCS Windows agents
        OCS Windows agents report a program as failed after 120 minutes, not 180, and let the program run
        2026/12/01 22:00 has passed in every time zone: OCS Windows agents act as soon as they have the package
        OCS Windows agents drop a package that waits for more than 30 days: do not assign the package earlier than 30 days before 2026/12/01 22:00
        "#);
    }
}
