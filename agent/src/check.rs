//! The checks of `packcast-agent check`: the configuration, this machine, and the way to the server.

mod connection;

use std::path::Path;

use packcast_protocol::with_causes;
use serde::Serialize;

use self::connection::Reached;
use crate::clock::now;
use crate::config::{Config, ConfigError};
use crate::platform::{self, MachineIds};
use crate::run::RunError;
use crate::state::history::History;
use crate::state::{StateDir, identity};

/// The free space in the state folder below which packages are likely to fail, in bytes.
const LITTLE_SPACE: u64 = 256 << 20;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CheckResult {
    check: &'static str,
    ok: bool,
    /// The finding; of a problem, with the next step.
    detail: String,
}

impl CheckResult {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            check,
            ok: true,
            detail,
        }
    }

    fn problem(check: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            check,
            ok: false,
            detail,
        }
    }

    pub(crate) const fn is_ok(&self) -> bool {
        self.ok
    }

    /// Formats the result for people.
    pub(crate) fn to_line(&self) -> String {
        let verdict = if self.ok { "ok" } else { "problem" };
        format!("{verdict:<8} {}: {}\n", self.check, self.detail)
    }
}

/// Checks the configuration file, and everything that it describes. Calls `found` after each check.
pub(crate) async fn check(file: &Path, mut found: impl FnMut(CheckResult)) {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(error) => {
            return found(CheckResult::problem("configuration", with_causes(&error)));
        }
    };
    let target = config.trust.target();
    let detail = format!("{} for target {target}", file.display());
    found(CheckResult::ok("configuration", detail));
    found(configuration_rights(file));
    check_machine(&config, &mut found);
    check_connection(&config, &mut found).await;
}

fn configuration_rights(file: &Path) -> CheckResult {
    const CHECK: &str = "rights of the configuration";
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    if let Err(found) = platform::expect_unchangeable(folder) {
        let detail = format!(
            "other users can change {}: {}: make it a folder of root that only root can change",
            found.path.display(),
            found.error
        );
        return CheckResult::problem(CHECK, detail);
    }
    match platform::others_can_change(file) {
        Ok(false) => CheckResult::ok(CHECK, "only root can change the file"),
        Ok(true) => CheckResult::problem(
            CHECK,
            format!(
                "other users can change {}: protect it with `{}`",
                file.display(),
                platform::KEEP_PRIVATE
            ),
        ),
        Err(error) => CheckResult::problem(CHECK, error.to_string()),
    }
}

/// Checks the state folder, the identity, the enrolment and the disk.
fn check_machine(config: &Config, found: &mut impl FnMut(CheckResult)) {
    let state = match StateDir::open(&config.state_dir) {
        Ok(state) => state,
        Err(error) => {
            return found(CheckResult::problem("state folder", with_causes(&error)));
        }
    };
    let detail = format!(
        "{}, which other users cannot enter",
        config.state_dir.display()
    );
    found(CheckResult::ok("state folder", detail));
    found(free_space(&config.state_dir));
    found(stored_state(&state));
    found(enrolment(config, &state));
}

fn free_space(state_dir: &Path) -> CheckResult {
    const CHECK: &str = "disk space";
    match fs4::available_space(state_dir) {
        Ok(free) if free < LITTLE_SPACE => CheckResult::problem(
            CHECK,
            format!(
                "{} free in {}: free some space",
                mebibytes(free),
                state_dir.display()
            ),
        ),
        Ok(free) => CheckResult::ok(CHECK, format!("{} free", mebibytes(free))),
        Err(error) => CheckResult::problem(CHECK, error.to_string()),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn stored_state(state: &StateDir) -> CheckResult {
    const CHECK: &str = "state";
    let read = || -> Result<String, RunError> {
        let history = History::load(state, now())?;
        let results = history.iter().count();
        // Without an identity, the image of a machine stays without one.
        if !state.identity().exists() {
            return Ok("no identity yet: the first check-in creates it".to_owned());
        }
        let here = MachineIds::here();
        let identity = identity::load_or_create(state, &here)?;
        let device = packcast_protocol::DeviceId::Agent(identity.key(state)?.id());
        if identity.is_of_another_machine(&here) {
            return Err(RunError::OtherMachine { device });
        }
        Ok(format!(
            "device {device}, results in the history: {results}"
        ))
    };
    match read() {
        Ok(detail) => CheckResult::ok(CHECK, detail),
        Err(error) => CheckResult::problem(CHECK, with_causes(&error)),
    }
}

/// Checks the pass of an earlier enrolment, and the enrolment token.
fn enrolment(config: &Config, state: &StateDir) -> CheckResult {
    const CHECK: &str = "enrolment";
    let has_pass = match identity::load_pass(state) {
        Ok(pass) => pass.is_some(),
        Err(error) => return CheckResult::problem(CHECK, with_causes(&error)),
    };
    match (config.enrolment_token(), has_pass) {
        (Ok(_), true) => CheckResult::ok(CHECK, "the device has enrolled"),
        // A token file may be removed after the enrolment.
        (Err(ConfigError::TokenRead { source, .. }), true)
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            CheckResult::ok(CHECK, "the device has enrolled")
        }
        (Ok(Some(_)), false) => {
            CheckResult::ok(CHECK, "the first check-in sends the enrolment token")
        }
        (Ok(None), false) => CheckResult::problem(CHECK, RunError::NotEnrolled.to_string()),
        (Err(error), _) => CheckResult::problem(CHECK, with_causes(&error)),
    }
}

async fn check_connection(config: &Config, found: &mut impl FnMut(CheckResult)) {
    let proxy = connection::proxy(config);
    found(CheckResult::ok("proxy", proxy.as_deref().unwrap_or("none")));
    // A proxy resolves the names by itself.
    if proxy.is_none() {
        let resolved = connection::resolve(config).await;
        let is_resolved = resolved.is_ok();
        found(of("name resolution", resolved));
        if !is_resolved {
            return;
        }
    }
    match connection::reach(config).await {
        Err(detail) => found(CheckResult::problem("connection", detail)),
        Ok(Reached { server, time }) => {
            found(CheckResult::ok("connection", "TCP and TLS"));
            found(of("server", server));
            if let Some(time) = time {
                found(of("clock", connection::compare_clocks(time, now())));
            }
        }
    }
}

fn of(check: &'static str, result: Result<String, String>) -> CheckResult {
    match result {
        Ok(detail) => CheckResult::ok(check, detail),
        Err(detail) => CheckResult::problem(check, detail),
    }
}
