//! Doing what a package is for: LAUNCH, EXECUTE or STORE.

mod growth;
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use packcast_archive::{Limits, Summary};
use packcast_protocol::api::{TAIL_BYTES, Text};
use packcast_protocol::result::NamedCode;
use packcast_protocol::{Action, Folder, LaunchCommand, Manifest, ResultCode};

use self::growth::Growth;
use self::process::{Ended, Ending};
use crate::failure::Failure;
use crate::fetch::space;
use crate::manifest::Accepted;
use crate::platform;
use crate::stage::{Examined, Unpacked, Verified};
use crate::unpack::Unfinished;

/// Everything that could be done without touching the device is done.
#[derive(Debug)]
pub(crate) enum Prepared {
    Run(Program),
    Store { archive: Examined, folder: PathBuf },
}

/// A program that is about to run.
#[derive(Debug)]
pub(crate) struct Program {
    command: Command,
    folder: PathBuf,
    /// Tells what an exit code means.
    rules: ExitRules,
    timeout: Duration,
    /// What was unpacked for it.
    pub(crate) unpacked: Option<Summary>,
}

#[derive(Debug)]
struct ExitRules {
    launch: bool,
    success: BTreeSet<i32>,
    reboot: BTreeSet<i32>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) code: ResultCode,
    pub(crate) detail: Option<Text<1024>>,
    pub(crate) output_tail: Option<Text<TAIL_BYTES>>,
    /// What STORE put into its folder.
    pub(crate) stored: Option<Summary>,
}

/// Unpacks what a program needs into `work`, an empty folder, or looks through what is to be
/// stored. Blocks.
pub(crate) fn prepare(
    manifest: &Accepted,
    action: Action<Verified>,
    work: PathBuf,
    install_path: &Path,
    limits: &Limits,
) -> Result<Prepared, Failure> {
    let unpack = |archive: &Verified| {
        archive
            .unpack(work.clone(), limits)
            .map_err(|unfinished| Failure::of_unpacking(&unfinished.cause, NamedCode::Build))
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
            let mut growth = Growth::of(&folder);
            let archive = archive
                .examine(limits, |entry| growth.add(entry))
                .map_err(|error| Failure::from(&error))?;
            space::check_folder(&folder, growth.most())
                .map_err(|error| Failure::of(NamedCode::OutOfSpace, &error))?;
            Ok(Prepared::Store { archive, folder })
        }
    }
}

/// Returns the folder that STORE means on this device.
pub(crate) fn store_folder(folder: &Folder, install_path: &Path) -> Result<PathBuf, Failure> {
    platform::store_folder(folder, install_path)
        .map_err(|reason| Failure::new(NamedCode::Store, &reason))
}

fn check_program(unpacked: &Unpacked, command: &LaunchCommand) -> Result<(), Failure> {
    let program = command.program().as_str();
    let failure = |reason: &str| Failure::new(NamedCode::Execute, reason);
    let path = unpacked.folder().join(program);
    if !path.is_file() {
        let reason = format!("the archive has no file {program:?} at its top");
        return Err(failure(&reason));
    }
    platform::make_executable(&path)
        .map_err(|error| error.to_string())
        .and_then(|()| platform::check_startable(&path))
        .map_err(|reason| failure(&format!("{program:?} cannot be started: {reason}")))
}

impl Program {
    /// The program sees its own environment, not the agent's: on Unix `PATH`, `HOME`,
    /// `LC_ALL=C` and `LANG=C`, on Windows the system's variables, and on both
    /// `PACKCAST_PACKAGE_ID`, `PACKCAST_PACKAGE_NAME` and `PACKCAST_PACKAGE_VERSION`.
    fn new(
        manifest: &Manifest,
        mut command: Command,
        folder: PathBuf,
        unpacked: Option<&Unpacked>,
    ) -> Self {
        command
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
            unpacked: unpacked.map(Unpacked::summary),
        }
    }

    /// Runs the program to its end, or to its time limit.
    pub(crate) async fn run(self) -> Result<Done, Failure> {
        let Self {
            command,
            folder,
            rules,
            timeout,
            ..
        } = self;
        let ended = process::run(command, &folder, timeout)
            .await
            .map_err(|error| Failure::of(NamedCode::Execute, &error))?;
        Ok(rules.judge(ended, timeout))
    }
}

impl ExitRules {
    fn judge(&self, ended: Ended, timeout: Duration) -> Done {
        let (code, detail) = match ended.ending {
            Ending::Exited(code) if self.reboot.contains(&code) => (
                NamedCode::RebootRequired.into(),
                Some(format!("exit code {code}")),
            ),
            Ending::Exited(code) if self.launch => (ResultCode::Exited(code), None),
            Ending::Exited(0) if self.success.contains(&0) => (ResultCode::Success, None),
            Ending::Exited(code) => (ResultCode::ExitCode(code), None),
            Ending::Signal(signal) => (
                NamedCode::Signal.into(),
                Some(format!("ended by signal {signal}")),
            ),
            Ending::TimedOut => {
                let reason = format!("it ran for more than {} s", timeout.as_secs());
                (NamedCode::ExecuteTimeout.into(), Some(reason))
            }
        };
        Done {
            code,
            detail: detail.as_deref().map(Text::tail),
            output_tail: (!ended.output.as_str().is_empty()).then_some(ended.output),
            stored: None,
        }
    }
}

/// Puts an archive's files into their folder. Blocks.
///
/// A failure tells what was stored before it.
pub(crate) fn store(archive: &Examined, folder: &Path, limits: &Limits) -> Result<Done, Failure> {
    let summary = archive
        .store(folder, limits)
        .map_err(|Unfinished { cause, written }| {
            let failure = Failure::of_unpacking(&cause, NamedCode::Store);
            let detail = format!("{}; before that, {written}", failure.detail);
            Failure::new(failure.code, &detail)
        })?;
    Ok(Done {
        code: ResultCode::Success,
        detail: None,
        output_tail: None,
        stored: Some(summary),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_mean_what_the_package_says() {
        let check = |launch: bool, ending: Ending, expected: &str| {
            let rules = ExitRules {
                launch,
                success: BTreeSet::from([0, 5]),
                reboot: BTreeSet::from([3010]),
            };
            let output = Text::tail("");
            let done = rules.judge(Ended { ending, output }, Duration::from_secs(1));
            assert_eq!(done.code.to_string(), expected);
        };
        check(true, Ending::Exited(0), "SUCCESS_0");
        check(true, Ending::Exited(7), "SUCCESS_7");
        check(false, Ending::Exited(0), "SUCCESS");
        check(false, Ending::Exited(7), "EXIT_CODE_7");
        check(true, Ending::Exited(3010), "SUCCESS_REBOOT_REQUIRED");
        check(false, Ending::Exited(3010), "SUCCESS_REBOOT_REQUIRED");
        check(true, Ending::Signal(9), "ERR_SIGNAL");
        check(false, Ending::TimedOut, "ERR_EXECUTE_TIMEOUT");
    }
}
