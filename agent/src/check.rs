//! The checks of `packcast-agent check`: the configuration, this machine, and the way to the server.

mod connection;

use std::path::Path;

use packcast_protocol::with_causes;
use serde::Serialize;

use self::connection::Reached;
use crate::clock::now;
use crate::config::{Config, ConfigError, expect_unchangeable};
use crate::platform::MachineIds;
use crate::run::RunError;
use crate::service_environment;
use crate::state::history::History;
use crate::state::{StateDir, identity};

/// The free space in the state folder below which packages are likely to fail, in bytes.
const LITTLE_SPACE: u64 = 256 << 20;

const RIGHTS: &str = "rights of the configuration";
const NAMES: &str = "name resolution";
const CONNECTION: &str = "connection";
const SERVER: &str = "server";

/// The checks without which `enrol` writes no configuration.
const BEFORE_WRITING: [&str; 4] = [RIGHTS, NAMES, CONNECTION, SERVER];

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

    /// Returns `true` for a problem with a configuration that must not replace another one.
    pub(crate) fn forbids_writing(&self) -> bool {
        !self.ok && BEFORE_WRITING.contains(&self.check)
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
    check_config(file, &config, found).await;
}

/// Checks everything that a configuration describes. Its file may not exist yet.
pub(crate) async fn check_config(file: &Path, config: &Config, mut found: impl FnMut(CheckResult)) {
    let target = config.trust.target();
    let ignored = config.ignored_options();
    let ignored = ignored.map_or_else(String::new, |ignored| format!("; {ignored}"));
    let detail = format!("{} for target {target}{ignored}", file.display());
    found(CheckResult::ok("configuration", detail));
    found(configuration_rights(file));
    check_machine(config, &mut found);
    check_connection(file, config, &mut found).await;
}

fn configuration_rights(file: &Path) -> CheckResult {
    match expect_unchangeable(file) {
        Ok(()) if cfg!(windows) => CheckResult::ok(
            RIGHTS,
            "not checked: the agent does not read the rights to write on Windows yet",
        ),
        Ok(()) => CheckResult::ok(RIGHTS, "only root can change the file"),
        Err(error) => CheckResult::problem(RIGHTS, with_causes(&error)),
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
        // The check creates no identity: the image of a machine must not have one.
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

async fn check_connection(file: &Path, config: &Config, found: &mut impl FnMut(CheckResult)) {
    let proxy = connection::proxy(config);
    let detail = match &proxy {
        Some(proxy) if service_environment::uses(&service_environment::proxies(file)) => {
            let file = service_environment::path(file);
            format!("{proxy}, as for the service, from {}", file.display())
        }
        proxy => proxy_detail(proxy.as_deref()),
    };
    found(CheckResult::ok("proxy", detail));
    // A proxy resolves the names by itself.
    if proxy.is_none() {
        let resolved = connection::resolve(config).await;
        let is_resolved = resolved.is_ok();
        found(of(NAMES, resolved));
        if !is_resolved {
            return;
        }
    }
    match connection::reach(config).await {
        Err(detail) => found(CheckResult::problem(CONNECTION, detail)),
        Ok(Reached { server, time }) => {
            found(CheckResult::ok(CONNECTION, "TCP and TLS"));
            found(of(SERVER, server));
            if let Some(time) = time {
                found(of("clock", connection::compare_clocks(time, now())));
            }
        }
    }
}

/// Describes the proxy of the checks. The service does not have the environment of this command.
fn proxy_detail(proxy: Option<&str>) -> String {
    match proxy {
        None => {
            "none in the environment of this command, which the service does not have".to_owned()
        }
        Some(proxy) => format!(
            "{proxy}, from the environment of this command, which the service does not have: set HTTPS_PROXY for the service, too, with systemd in /etc/packcast/agent.env"
        ),
    }
}

fn of(check: &'static str, result: Result<String, String>) -> CheckResult {
    match result {
        Ok(detail) => CheckResult::ok(check, detail),
        Err(detail) => CheckResult::problem(check, detail),
    }
}
