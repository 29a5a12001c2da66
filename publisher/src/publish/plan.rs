//! What is to be published, checked before anything is written. Pure.

use std::collections::BTreeSet;

use packcast_archive::{NameError, System};
use packcast_protocol::action::ActionTextError;
use packcast_protocol::info::{Info, InfoError};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::windows::Dialogue;
use packcast_protocol::{
    Action, Location, PackageId, PackageName, PackageVersion, Priority, Sha256Digest, UnixTime,
    WindowsTerms,
};
use packcast_rollout::record::ArchiveRecord;
use serde::Serialize;

use super::inspect::{Contents, Inspection, PlannedArchive, Unfit};

/// LAUNCH, EXECUTE or STORE, before its parameters are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionName {
    /// Unpack, and run a program of the archive; its exit code is the result.
    Launch,
    /// Run any command, with the archive's files if there is one.
    Execute,
    /// Unpack into a folder, and run nothing.
    Store,
}

/// Everything about a package that its publisher decides, except where it comes from.
#[derive(Clone, Debug)]
pub struct Wish {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: ActionName,
    pub command: Option<String>,
    pub folder: Option<String>,
    pub terms: Terms,
}

/// On what terms agents act on the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    pub platform: Platform,
    pub success_codes: BTreeSet<i32>,
    pub reboot_codes: BTreeSet<i32>,
    pub timeout_s: u32,
    pub validity_s: u64,
    pub rerun_after_interruption: bool,
    pub going_back: bool,
    pub audience: Audience,
    // Left out where there are none, so that the content of earlier packages is the same.
    #[serde(skip_serializing_if = "WindowsTerms::is_none")]
    pub windows: WindowsTerms,
}

/// A package that can be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<PlannedArchive>,
    pub terms: Terms,
    /// Two publications are the same if and only if this is.
    pub content: Sha256Digest,
}

/// Why a wish cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{action} needs an archive or a directory as its source")]
    NoArchive { action: &'static str },
    #[error("{action} needs --command: {}", if *action == "launch" { "the name of a file at the archive's top, and its arguments" } else { "what the device's shell is to run" })]
    NoCommand { action: &'static str },
    #[error("store needs --path: the folder on the device")]
    NoFolder,
    #[error("store runs nothing, so it takes no --command; use launch or execute")]
    CommandOfStore,
    #[error("{action} takes no --path; its archive is unpacked into a temporary folder")]
    FolderOfOther { action: &'static str },
    #[error("launch cannot find {program:?} at the archive's top, which has {found}")]
    NoSuchProgram { program: String, found: String },
    #[error(
        "entry {entry:?} of the archive cannot be stored on {system}: name it otherwise, or choose another --platform"
    )]
    Unfit {
        entry: String,
        system: System,
        #[source]
        reason: NameError,
    },
    #[error(transparent)]
    Text(#[from] ActionTextError),
    #[error(
        "what stock agents have to be told does not fit: use a shorter command, folder or text"
    )]
    Info(#[from] InfoError),
}

impl Wish {
    /// Checks the wish against the archive it is for.
    pub fn plan(self, archive: Option<&Inspection>) -> Result<Plan, PlanError> {
        let action = self.action(archive)?;
        if let Some(inspection) = archive {
            fits_platform(self.terms.platform, &inspection.contents)?;
        }
        fits_info(self.priority, &action, &self.terms.windows.dialogue)?;
        let content = content(&self, &action);
        Ok(Plan {
            name: self.name,
            version: self.version,
            priority: self.priority,
            action,
            terms: self.terms,
            content,
        })
    }

    fn action(&self, inspection: Option<&Inspection>) -> Result<Action<PlannedArchive>, PlanError> {
        let command = |action| {
            self.command
                .as_deref()
                .ok_or(PlanError::NoCommand { action })
        };
        let archive = |action| inspection.ok_or(PlanError::NoArchive { action });
        match self.action {
            ActionName::Launch => {
                self.without_folder("launch")?;
                let inspection = archive("launch")?;
                let command = command("launch")?.parse()?;
                has_program(&command, &inspection.contents)?;
                Ok(Action::Launch {
                    archive: inspection.archive.clone(),
                    command,
                })
            }
            ActionName::Execute => {
                self.without_folder("execute")?;
                Ok(Action::Execute {
                    archive: inspection.map(|inspection| inspection.archive.clone()),
                    command: command("execute")?.parse()?,
                })
            }
            ActionName::Store => {
                if self.command.is_some() {
                    return Err(PlanError::CommandOfStore);
                }
                let inspection = archive("store")?;
                let folder = self.folder.as_deref().ok_or(PlanError::NoFolder)?.parse()?;
                Ok(Action::Store {
                    archive: inspection.archive.clone(),
                    folder,
                })
            }
        }
    }

    fn without_folder(&self, action: &'static str) -> Result<(), PlanError> {
        if self.folder.is_some() {
            Err(PlanError::FolderOfOther { action })
        } else {
            Ok(())
        }
    }
}

/// Refuses what `info` cannot hold at the location with the longest name, before anything is
/// uploaded.
fn fits_info(
    priority: Priority,
    action: &Action<PlannedArchive>,
    dialogue: &Dialogue,
) -> Result<(), PlanError> {
    let widest = Info {
        id: PackageId::at(UnixTime(1 << 30)).expect("2004 has package ids"),
        priority,
        action: action.clone().map_archive(|planned| planned.for_info()),
        pack_loc: Location::longest(),
        dialogue: dialogue.clone(),
        manifest: Sha256Digest::from_bytes([0; 32]),
    };
    widest.to_xml()?;
    Ok(())
}

/// Refuses what the package's one system cannot hold. Of a package for any system, devices that
/// can hold it may be many.
fn fits_platform(platform: Platform, contents: &Contents) -> Result<(), PlanError> {
    if platform == Platform::Any {
        return Ok(());
    }
    let systems = System::of(platform);
    let found = contents
        .unfit
        .iter()
        .find(|it| systems.contains(&it.system));
    match found.cloned() {
        None => Ok(()),
        Some(Unfit {
            system,
            entry,
            reason,
        }) => Err(PlanError::Unfit {
            entry,
            system,
            reason,
        }),
    }
}

fn has_program(
    command: &packcast_protocol::LaunchCommand,
    contents: &Contents,
) -> Result<(), PlanError> {
    const SHOWN: usize = 8;
    let files = &contents.top_files;
    let program = command.program().as_str();
    if files.iter().any(|file| file == program) {
        return Ok(());
    }
    let mut found = files
        .iter()
        .take(SHOWN)
        .map(|file| format!("{file:?}"))
        .collect::<Vec<_>>()
        .join(", ");
    match files.len() {
        0 => "no files, only folders".clone_into(&mut found),
        count if count > SHOWN => found.push_str(", …"),
        _ => {}
    }
    Err(PlanError::NoSuchProgram {
        program: program.to_owned(),
        found,
    })
}

/// Digests everything that makes two publications of one name and version the same.
fn content(wish: &Wish, action: &Action<PlannedArchive>) -> Sha256Digest {
    #[derive(Serialize)]
    struct Content<'a> {
        priority: Priority,
        action: Action<ArchiveRecord>,
        terms: &'a Terms,
    }
    let content = Content {
        priority: wish.priority,
        action: action.clone().map_archive(|planned| planned.record()),
        terms: &wish.terms,
    };
    Sha256Digest::of(&serde_json::to_vec(&content).expect("a plan has string keys only"))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::windows::Afterwards;

    use super::*;

    #[test]
    fn what_the_packages_system_cannot_hold_is_refused() {
        let name = || "aux".to_owned();
        let contents = Contents {
            unfit: vec![Unfit {
                system: System::Windows,
                entry: name(),
                reason: NameError::Reserved { name: name() },
            }],
            ..Contents::default()
        };
        let check = |platform, fits: bool| {
            assert_eq!(
                fits_platform(platform, &contents).is_ok(),
                fits,
                "{platform:?}"
            );
        };
        check(Platform::Windows, false);
        check(Platform::Any, true);
        check(Platform::Linux, true);
        check(Platform::Macos, true);
    }

    fn execute(command: &str) -> Wish {
        Wish {
            name: "tidy".parse().unwrap(),
            version: "1".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: ActionName::Execute,
            command: Some(command.to_owned()),
            folder: None,
            terms: Terms {
                platform: Platform::Any,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: 60,
                validity_s: 60,
                rerun_after_interruption: false,
                going_back: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        }
    }

    #[test]
    fn what_info_cannot_hold_is_refused_before_anything_is_written() {
        assert!(execute(&"x".repeat(4096)).plan(None).is_ok());
        let escaped = execute(&"&".repeat(4096)).plan(None);
        assert!(matches!(escaped, Err(PlanError::Info(_))));
    }

    #[test]
    fn any_term_makes_another_content() {
        let content = |wish: Wish| wish.plan(None).unwrap().content;
        let same = content(execute("true"));
        assert_eq!(same, content(execute("true")));
        let mut urgent = execute("true");
        urgent.priority = Priority::HIGHEST;
        let mut patient = execute("true");
        patient.terms.timeout_s += 1;
        let mut abrupt = execute("true");
        abrupt.terms.windows.afterwards = Some(Afterwards::Reboot);
        for other in [urgent, patient, abrupt, execute("false")] {
            assert_ne!(content(other), same);
        }
    }

    #[test]
    fn terms_that_ask_nothing_of_windows_agents_leave_no_trace() {
        let terms = serde_json::to_string(&execute("true").terms).unwrap();
        assert!(!terms.contains("windows"), "{terms}");
    }

    #[test]
    fn each_action_takes_exactly_what_it_needs() {
        let refused = |change: &dyn Fn(&mut Wish)| {
            let mut wish = execute("true");
            change(&mut wish);
            wish.plan(None).unwrap_err()
        };
        assert!(matches!(
            refused(&|wish| wish.command = None),
            PlanError::NoCommand { .. }
        ));
        assert!(matches!(
            refused(&|wish| wish.folder = Some("/x".into())),
            PlanError::FolderOfOther { .. }
        ));
        assert!(matches!(
            refused(&|wish| wish.action = ActionName::Launch),
            PlanError::NoArchive { .. }
        ));
        assert!(matches!(
            refused(&|wish| wish.action = ActionName::Store),
            PlanError::CommandOfStore
        ));
    }
}
