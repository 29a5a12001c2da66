//! `packcast-agent check`: checks the configuration, this machine, and the way to the server.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::Format;
use crate::check::{CheckResult, check, check_config};
use crate::config::Config;
use crate::output;
use crate::run::RunError;

/// Check the configuration, this machine, and the way to the server
///
/// Each line begins with 'ok', or with 'problem' and ends with the next step. The checks are:
/// configuration, its rights, state folder, disk space, state, enrolment, proxy, name resolution,
/// connection (TCP and TLS), server and clock. The command enrols nothing, and can run beside the
/// service. Without a proxy in the environment, it uses that of the service, from the file agent.env
/// beside the configuration. The exit code is 1 if there is a problem.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(after_help = "\
Examples:
  packcast-agent check
  packcast-agent check --format json | jq -r '.checks[] | select(.ok | not) | .detail'")]
pub struct Args {}

/// The results of all checks, for JSON.
#[derive(Debug, Serialize)]
struct Checked {
    ok: bool,
    checks: Vec<CheckResult>,
}

/// Runs and prints the checks.
pub(super) fn run(config: &Path, format: Format) -> Result<ExitCode, RunError> {
    let checks = run_checks(config, None, |line| {
        // Each line at once, because a check of the network can take a while.
        if format == Format::Text {
            output::text(&line);
        }
    })?;
    let ok = checks.iter().all(CheckResult::is_ok);
    if format == Format::Json {
        output::json(&Checked { ok, checks });
    }
    Ok(if ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs all checks of a file, or of a configuration that is not in its file yet. Calls `print` with
/// a line for each.
pub(super) fn run_checks(
    file: &Path,
    config: Option<&Config>,
    print: impl Fn(String),
) -> Result<Vec<CheckResult>, RunError> {
    let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
    let mut results = Vec::new();
    let found = |result: CheckResult| {
        print(result.to_line());
        results.push(result);
    };
    runtime.block_on(async {
        match config {
            Some(config) => check_config(file, config, found).await,
            None => check(file, found).await,
        }
    });
    // A lookup of a name that hangs must not hold up the command.
    runtime.shutdown_background();
    Ok(results)
}
