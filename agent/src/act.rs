//! The actions of packages: LAUNCH, EXECUTE, STORE and UPDATE.

mod process;
mod store_size;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packcast_archive::{Entry, Limits, Summary};
use packcast_protocol::api::{BoundedText, TAIL_BYTES};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Action, Folder, LaunchCommand, Manifest, ResultCode};

pub(crate) use self::process::GRACE;
use self::process::{ExitReason, HeldProcess, ProcessEnd};
use self::store_size::StoreSize;
use crate::failure::DeploymentFailure;
use crate::fetch::space;
use crate::manifest::Accepted;
use crate::platform::{self, Containment, ProgramRecord};
use crate::stage::{ExaminedArchive, UnpackedArchive, VerifiedArchive};
use crate::unpack::{StoreFolders, Unfinished};
use crate::update::{StagedProgram, VersionFiles};

/// A prepared action. Only the steps that change the device remain.
#[derive(Debug)]
pub(crate) enum Prepared {
    Run(Program),
    Store {
        archive: ExaminedArchive,
        folders: StoreFolders,
    },
    Update {
        program: StagedProgram,
        unpacked: Summary,
    },
}

/// A program that is ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    folder: PathBuf,
    /// The meaning of exit codes.
    rules: ExitRules,
    timeout: Duration,
    /// The size of the archive that was unpacked for the program.
    pub(crate) unpacked: Option<Summary>,
}

#[derive(Debug)]
struct ExitRules {
    launch: bool,
    success: BTreeSet<i32>,
    reboot: BTreeSet<i32>,
}

/// The result of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActResult {
    pub(crate) code: ResultCode,
    pub(crate) detail: Option<BoundedText<1024>>,
    pub(crate) output_tail: Option<BoundedText<TAIL_BYTES>>,
    /// The files that STORE wrote to its folder.
    pub(crate) stored: Option<Summary>,
    /// Id of the boot in which the program ran; `None` without a program, and if the system has no
    /// such id.
    pub(crate) boot: Option<BoundedText<64>>,
}

/// Prepares an action. Blocks the thread.
///
/// Unpacks the files of a program into the empty folder `work`, or examines the files to store.
/// Nothing outside `work` changes.
pub(crate) fn prepare(
    manifest: &Accepted,
    action: Action<VerifiedArchive>,
    work: PathBuf,
    install_path: &Path,
    updates: &VersionFiles,
    limits: &Limits,
) -> Result<Prepared, DeploymentFailure> {
    let unpack = |archive: &VerifiedArchive| {
        archive.unpack(work.clone(), limits).map_err(|unfinished| {
            DeploymentFailure::of_unpacking(&unfinished.cause, NamedCode::Build)
        })
    };
    match action {
        Action::Launch { archive, command } => {
            let unpacked = unpack(&archive)?;
            check_program(&unpacked, &command)?;
            let program = platform::launch(&command);
            Ok(Prepared::Run(Program::new(
                manifest,
                program,
                work,
                Some(&unpacked),
            )))
        }
        Action::Execute { archive, command } => {
            let unpacked = archive.as_ref().map(unpack).transpose()?;
            let program = platform::shell(command.as_str());
            Ok(Prepared::Run(Program::new(
                manifest,
                program,
                work,
                unpacked.as_ref(),
            )))
        }
        Action::Store { archive, folder } => {
            let folder = store_folder(&folder, install_path)?;
            let mut size = StoreSize::of(&folder);
            let mut folders = StoreFolders::of(folder.clone());
            let see = |entry: &Entry| {
                size.add(entry);
                folders.add(entry);
            };
            let archive = archive
                .examine(limits, see)
                .map_err(|error| DeploymentFailure::from(&error))?;
            space::check_folder(&folder, size.most())
                .map_err(|error| DeploymentFailure::of(NamedCode::OutOfSpace, &error))?;
            Ok(Prepared::Store { archive, folders })
        }
        Action::Update { archive } => {
            // Without another version there is nothing to unpack.
            let version = updates.newer_version(&manifest.version)?;
            let unpacked = unpack(&archive)?;
            Ok(Prepared::Update {
                program: StagedProgram::find(unpacked.folder(), version)?,
                unpacked: unpacked.summary(),
            })
        }
    }
}

/// Returns the folder of STORE on this device.
pub(crate) fn store_folder(
    folder: &Folder,
    install_path: &Path,
) -> Result<PathBuf, DeploymentFailure> {
    platform::store_folder(folder, install_path)
        .map_err(|reason| DeploymentFailure::new(NamedCode::Store, &reason))
}

fn check_program(
    unpacked: &UnpackedArchive,
    command: &LaunchCommand,
) -> Result<(), DeploymentFailure> {
    let program = command.program().as_str();
    let failure = |reason: &str| DeploymentFailure::new(NamedCode::Execute, reason);
    let path = unpacked.folder().join(program);
    if !path.is_file() {
        let reason = format!("the archive has no file {program:?} at the top level");
        return Err(failure(&reason));
    }
    platform::make_executable(&path)
        .map_err(|error| error.to_string())
        .and_then(|()| platform::check_startable(&path))
        .map_err(|reason| failure(&format!("cannot start {program:?}: {reason}")))
}

impl Program {
    /// Prepares a program to run with its own environment.
    ///
    /// The program does not inherit the agent's environment. The variables are `PATH`, `HOME`,
    /// `LC_ALL=C` and `LANG=C` on Unix, the system's variables on Windows, and on both
    /// `PACKCAST_PACKAGE_ID`, `PACKCAST_PACKAGE_NAME` and `PACKCAST_PACKAGE_VERSION`.
    fn new(
        manifest: &Manifest,
        mut command: Command,
        folder: PathBuf,
        unpacked: Option<&UnpackedArchive>,
    ) -> Self {
        command
            // Secrets in the agent's environment must not reach the programs of packages.
            .env_clear()
            .envs(platform::environment())
            .env("PACKCAST_PACKAGE_ID", manifest.id.to_string())
            .env("PACKCAST_PACKAGE_NAME", manifest.name.to_string())
            .env("PACKCAST_PACKAGE_VERSION", manifest.version.to_string());
        Self {
            command,
            folder,
            rules: ExitRules {
                launch: matches!(manifest.action, Action::Launch { .. }),
                success: manifest.success_codes.clone(),
                reboot: manifest.reboot_codes.clone(),
            },
            timeout: Duration::from_secs(manifest.timeout_s.into()),
            unpacked: unpacked.map(UnpackedArchive::summary),
        }
    }

    /// Starts the program, which waits for [`HeldProgram::run`]. `name` identifies its processes.
    pub(crate) fn hold(
        self,
        containment: &Containment,
        name: &str,
    ) -> Result<HeldProgram, DeploymentFailure> {
        let held = process::hold(self.command, &self.folder, containment, name).map_err(failure)?;
        Ok(HeldProgram {
            held,
            rules: self.rules,
            timeout: self.timeout,
        })
    }
}

/// A program that was started, and waits until its record is on disk.
#[derive(Debug)]
pub(crate) struct HeldProgram {
    held: HeldProcess,
    rules: ExitRules,
    pub(crate) timeout: Duration,
}

impl HeldProgram {
    /// Describes the program for another agent process; `None` if the system has no such means.
    pub(crate) fn record(&self) -> Result<Option<ProgramRecord>, DeploymentFailure> {
        self.held.record().map_err(failure)
    }

    /// Runs the program until it ends, or until its time limit.
    pub(crate) async fn run(self) -> Result<ActResult, DeploymentFailure> {
        let ended = self.held.run(self.timeout).await.map_err(failure)?;
        Ok(ActResult {
            boot: platform::boot_id().as_deref().map(BoundedText::tail),
            ..self.rules.judge(ended, self.timeout)
        })
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that map_err expects"
)]
fn failure(error: io::Error) -> DeploymentFailure {
    DeploymentFailure::of(NamedCode::Execute, &error)
}

impl ExitRules {
    fn judge(&self, ended: ProcessEnd, timeout: Duration) -> ActResult {
        let (code, detail) = match ended.ending {
            ExitReason::Exited(code) if self.reboot.contains(&code) => (
                NamedCode::RebootRequired.into(),
                Some(format!("exit code {code}")),
            ),
            ExitReason::Exited(code) if self.launch => (ResultCode::Exited(code), None),
            ExitReason::Exited(0) if self.success.contains(&0) => (ResultCode::Success, None),
            ExitReason::Exited(code) => (ResultCode::ExitCode(code), None),
            ExitReason::Signal(signal) => (
                NamedCode::Signal.into(),
                Some(format!("killed by signal {signal}")),
            ),
            ExitReason::TimedOut => {
                let reason = format!("ran for more than {} s", timeout.as_secs());
                (NamedCode::ExecuteTimeout.into(), Some(reason))
            }
        };
        ActResult {
            code,
            detail: detail.as_deref().map(BoundedText::tail),
            output_tail: (!ended.output.as_str().is_empty()).then_some(ended.output),
            stored: None,
            boot: None,
        }
    }
}

/// Stores the files of an archive in their folder. Blocks the thread.
///
/// The detail of a failure also names the files that were stored before the failure.
pub(crate) fn store(
    archive: &ExaminedArchive,
    folder: &Path,
    limits: &Limits,
) -> Result<ActResult, DeploymentFailure> {
    let summary = archive
        .store(folder, limits)
        .map_err(|Unfinished { cause, written }| {
            let failure = DeploymentFailure::of_unpacking(&cause, NamedCode::Store);
            let detail = format!("{}; before the error, {written}", failure.detail);
            DeploymentFailure::new(failure.code, &detail)
        })?;
    Ok(ActResult {
        code: ResultCode::Success,
        detail: None,
        output_tail: None,
        stored: Some(summary),
        boot: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_judged_by_the_rules_of_the_package() {
        let check = |launch: bool, ending: ExitReason, expected: &str| {
            let rules = ExitRules {
                launch,
                success: BTreeSet::from([0, 5]),
                reboot: BTreeSet::from([3010]),
            };
            let output = BoundedText::tail("");
            let result = rules.judge(ProcessEnd { ending, output }, Duration::from_secs(1));
            assert_eq!(result.code.to_string(), expected);
        };
        check(true, ExitReason::Exited(0), "SUCCESS_0");
        check(true, ExitReason::Exited(7), "SUCCESS_7");
        check(false, ExitReason::Exited(0), "SUCCESS");
        check(false, ExitReason::Exited(7), "EXIT_CODE_7");
        check(true, ExitReason::Exited(3010), "SUCCESS_REBOOT_REQUIRED");
        check(false, ExitReason::Exited(3010), "SUCCESS_REBOOT_REQUIRED");
        check(true, ExitReason::Signal(9), "ERR_SIGNAL");
        check(false, ExitReason::TimedOut, "ERR_EXECUTE_TIMEOUT");
    }
}
