//! Plans of publications: checks a request before the first write. This module does no I/O.

use std::collections::BTreeSet;

use packcast_archive::{NameError, System};
use packcast_protocol::action::ActionTextError;
use packcast_protocol::agent_build::AGENT_PACKAGE;
use packcast_protocol::info::{Info, InfoError};
use packcast_protocol::manifest::{Audience, Platform};
use packcast_protocol::windows::Dialogue;
use packcast_protocol::{
    Action, LaunchCommand, Location, PackageId, PackageName, PackageVersion, Priority,
    Sha256Digest, UnixTime, WindowsTerms,
};
use packcast_rollout::record::ArchiveRecord;
use serde::Serialize;

use super::command_line::{CommandError, check_execute, check_launch};
use super::inspect::{Contents, Inspection, PlannedArchive, Unfit};

/// The name of an action (LAUNCH, EXECUTE, STORE or UPDATE) without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionName {
    /// Unpack, and run a program of the archive; its exit code is the result.
    Launch,
    /// Run any command, with the archive's files if there is one.
    Execute,
    /// Unpack into a folder, and run nothing.
    Store,
    /// Update the Packcast agent.
    Update,
}

/// The parameters of a publication, except its source.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: ActionName,
    /// The command of LAUNCH or EXECUTE.
    pub command: Option<String>,
    /// The folder of STORE on the device.
    pub folder: Option<String>,
    pub terms: PackageTerms,
}

/// The terms on which agents deploy a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageTerms {
    pub platform: Platform,
    /// Exit codes that count as success.
    pub success_codes: BTreeSet<i32>,
    /// Exit codes that count as success, with a restart of the device to follow.
    pub reboot_codes: BTreeSet<i32>,
    /// The time limit of the command, in seconds.
    pub timeout_s: u32,
    /// The time from the reservation of the id until the package expires, in seconds. `None` if
    /// the package does not expire.
    pub validity_s: Option<u64>,
    /// `true` if an agent may run the command again after an interruption.
    pub rerun_after_interruption: bool,
    pub audience: Audience,
    // The field is omitted if there are no terms for Windows, so that the content digests of
    // earlier packages stay the same.
    #[serde(skip_serializing_if = "WindowsTerms::is_none")]
    pub windows: WindowsTerms,
}

/// A checked package, ready to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub name: PackageName,
    pub version: PackageVersion,
    pub priority: Priority,
    pub action: Action<PlannedArchive>,
    pub terms: PackageTerms,
    /// The digest of the content. Two publications are the same if and only if the digests match.
    pub content: Sha256Digest,
    /// The id of a package that another server has published under this id. `None` if the id follows
    /// from the time of the reservation.
    pub id: Option<PackageId>,
}

/// Errors from planning a publication.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("{action} needs an archive, a directory or another file as its source")]
    NoArchive { action: &'static str },
    #[error("{action} needs --command: {}", if *action == "launch" { "the name of a file at the top of the archive, and its arguments" } else { "a command for the shell of the device" })]
    NoCommand { action: &'static str },
    #[error(
        "cannot publish a package with the name {AGENT_PACKAGE}: the name is for updates of the Packcast agent"
    )]
    AgentName,
    #[error("store needs --path: the folder on the device")]
    NoFolder,
    #[error("store runs nothing and takes no --command: use launch or execute")]
    CommandOfStore,
    #[error("{action} takes no --path: the archive is unpacked into a temporary folder")]
    FolderOfOther { action: &'static str },
    #[error("launch cannot find {program:?} at the top of the archive: found {found}")]
    NoSuchProgram { program: String, found: String },
    #[error(
        "launch cannot run {program:?}: it is a link to {target:?}, which is not a file of the archive"
    )]
    LinkToNoFile { program: String, target: String },
    #[error("cannot store entry {entry:?} of the archive on {system}")]
    Unfit {
        entry: String,
        system: System,
        #[source]
        reason: NameError,
    },
    #[error(transparent)]
    Text(#[from] ActionTextError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("cannot fit the package into info for OCS agents")]
    Info(#[from] InfoError),
}

impl PublishRequest {
    /// Checks the request together with the inspection of its archive.
    pub fn plan(self, archive: Option<&Inspection>) -> Result<Plan, PlanError> {
        let action = self.action(archive)?;
        // Devices refuse a downgrade within a name. So another package with the name of the updates
        // would stand in the way of each update that was published before.
        if self.name.to_string() == AGENT_PACKAGE && !matches!(action, Action::Update { .. }) {
            return Err(PlanError::AgentName);
        }
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
            id: None,
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
                let line = command("launch")?;
                Ok(Action::Launch {
                    archive: inspection.archive.clone(),
                    command: launch_command(line, self.terms.platform, &inspection.contents)?,
                })
            }
            ActionName::Execute => {
                self.without_folder("execute")?;
                let line = command("execute")?;
                let command = line.parse()?;
                check_execute(line, self.terms.platform)?;
                Ok(Action::Execute {
                    archive: inspection.map(|inspection| inspection.archive.clone()),
                    command,
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
            ActionName::Update => Ok(Action::Update {
                archive: archive("update")?.archive.clone(),
            }),
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

/// Checks, before the first upload, that the package fits into `info` at the location with the
/// longest address.
fn fits_info(
    priority: Priority,
    action: &Action<PlannedArchive>,
    dialogue: &Dialogue,
) -> Result<(), PlanError> {
    let widest = Info {
        id: PackageId::at(UnixTime(1 << 30)).expect("a time in 2004 has a package id"),
        priority,
        action: action.clone().map_archive(|planned| planned.for_info()),
        pack_loc: Location::longest(),
        dialogue: dialogue.clone(),
        manifest: Sha256Digest::from_bytes([0; 32]),
    };
    widest.to_xml()?;
    Ok(())
}

/// Checks that the platform of the package can store all entries of the archive.
///
/// A package for any platform is not refused, because many devices may be able to store its
/// entries; see [`OcsLimit::UnfitName`](super::ocs_limits::OcsLimit::UnfitName).
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

/// Reads the command of the action LAUNCH, whose program must be at the top of the archive.
pub fn launch_command(
    line: &str,
    platform: Platform,
    contents: &Contents,
) -> Result<LaunchCommand, PlanError> {
    let command = line.parse()?;
    check_launch(line, platform)?;
    has_program(&command, contents)?;
    Ok(command)
}

fn has_program(command: &LaunchCommand, contents: &Contents) -> Result<(), PlanError> {
    const SHOWN: usize = 8;
    let files = &contents.top_files;
    let program = command.program().as_str();
    if files.iter().any(|file| file == program) {
        return Ok(());
    }
    let mut links = contents.top_links.iter();
    if let Some((_, target)) = links.find(|(link, _)| link == program) {
        return Err(PlanError::LinkToNoFile {
            program: program.to_owned(),
            target: target.clone(),
        });
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

/// Computes the digest of all parameters that must match in publications of one name and version.
fn content(request: &PublishRequest, action: &Action<PlannedArchive>) -> Sha256Digest {
    #[derive(Serialize)]
    struct DigestedContent<'a> {
        priority: Priority,
        action: Action<ArchiveRecord>,
        terms: &'a PackageTerms,
    }
    let content = DigestedContent {
        priority: request.priority,
        action: action.clone().map_archive(|planned| planned.record()),
        terms: &request.terms,
    };
    Sha256Digest::of(&serde_json::to_vec(&content).expect("a plan has string keys only"))
}

#[cfg(test)]
mod tests {
    use packcast_protocol::windows::Afterwards;

    use super::*;

    #[test]
    fn an_entry_that_the_platform_cannot_store_is_refused() {
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

    fn execute(command: &str) -> PublishRequest {
        PublishRequest {
            name: "tidy".parse().unwrap(),
            version: "1".parse().unwrap(),
            priority: Priority::DEFAULT,
            action: ActionName::Execute,
            command: Some(command.to_owned()),
            folder: None,
            terms: PackageTerms {
                platform: Platform::Any,
                success_codes: BTreeSet::from([0]),
                reboot_codes: BTreeSet::new(),
                timeout_s: 60,
                validity_s: None,
                rerun_after_interruption: false,
                audience: Audience::Any,
                windows: WindowsTerms::default(),
            },
        }
    }

    #[test]
    fn a_package_that_does_not_fit_into_info_is_refused() {
        assert!(execute(&"x".repeat(4096)).plan(None).is_ok());
        let escaped = execute(&"&".repeat(4096)).plan(None);
        assert!(matches!(escaped, Err(PlanError::Info(_))));
    }

    #[test]
    fn a_command_that_agents_would_run_differently_is_refused() {
        let refused = |command: &str, platform| {
            let mut request = execute(command);
            request.terms.platform = platform;
            matches!(request.plan(None), Err(PlanError::Command(_)))
        };
        assert!(!refused("one && two", Platform::Any));
        assert!(refused("one\ntwo", Platform::Any));
        assert!(!refused("one\ntwo", Platform::Linux));
        assert!(refused("one\r\ntwo", Platform::Linux));
        assert!(refused("echo 'a", Platform::Any));
    }

    #[test]
    fn each_term_changes_the_content_digest() {
        let content = |request: PublishRequest| request.plan(None).unwrap().content;
        let same = content(execute("true"));
        assert_eq!(same, content(execute("true")));
        let mut urgent = execute("true");
        urgent.priority = Priority::HIGHEST;
        let mut patient = execute("true");
        patient.terms.timeout_s += 1;
        let mut brief = execute("true");
        brief.terms.validity_s = Some(3600);
        let mut abrupt = execute("true");
        abrupt.terms.windows.afterwards = Some(Afterwards::Reboot);
        for other in [urgent, patient, brief, abrupt, execute("false")] {
            assert_ne!(content(other), same);
        }
    }

    #[test]
    fn default_windows_terms_are_not_serialized() {
        let terms = serde_json::to_string(&execute("true").terms).unwrap();
        assert!(!terms.contains("windows"), "{terms}");
    }

    #[test]
    fn an_action_with_missing_or_extra_parameters_is_refused() {
        let refused = |change: &dyn Fn(&mut PublishRequest)| {
            let mut request = execute("true");
            change(&mut request);
            request.plan(None).unwrap_err()
        };
        assert!(matches!(
            refused(&|request| request.command = None),
            PlanError::NoCommand { .. }
        ));
        assert!(matches!(
            refused(&|request| request.folder = Some("/x".into())),
            PlanError::FolderOfOther { .. }
        ));
        assert!(matches!(
            refused(&|request| request.action = ActionName::Launch),
            PlanError::NoArchive { .. }
        ));
        assert!(matches!(
            refused(&|request| request.action = ActionName::Store),
            PlanError::CommandOfStore
        ));
    }
}
