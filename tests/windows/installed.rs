//! The agent as Windows Installer installs it, with its service.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use packcast_publisher::local::trust;
use packcast_tests::process::{Process, Ran, eventually};
use packcast_tests::world::World;
use serde_json::Value;

use crate::machine::{Wine, on_drive_z};

const PROGRAM: &str = r"C:\Program Files\Packcast\packcast-agent.exe";
const FOLDER: &str = "drive_c/ProgramData/Packcast";
const SERVICE: &str = "packcast-agent";

/// The packages of Windows Installer, and the drive of the machine.
#[derive(Debug)]
pub(crate) struct Installed {
    wine: Wine,
    packages: [PathBuf; 2],
    /// Wine ends its services with the last other program, so that one has to run.
    session: Child,
}

impl Installed {
    /// Prepares a machine without the agent. The second package is an upgrade of the first.
    pub(crate) fn new(wine: Wine, packages: [PathBuf; 2]) -> Self {
        let mut command = wine.command(Path::new("cmd.exe"));
        let session = command.stdin(Stdio::piped()).stdout(Stdio::null());
        let session = session.spawn().expect("Wine can be started");
        let machine = Self {
            wine,
            packages,
            session,
        };
        // An earlier story may have ended before the removal.
        machine.remove();
        let _ = fs::remove_dir_all(machine.path(""));
        // Wine always inherits access from the folder above, so that the agent could not take away the
        // access of other users.
        let above = machine.wine.path("drive_c/ProgramData");
        fs::set_permissions(above, fs::Permissions::from_mode(0o700))
            .expect("Wine's prefix is complete and writable");
        machine
    }

    /// Returns the path of a file in the agent's folder on this system.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.wine.path(FOLDER).join(name)
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.wine
            .path("drive_c/Program Files/Packcast/packcast-agent.exe")
    }

    /// Installs the first package for the target of a world, as an administrator does for a fleet.
    pub(crate) fn install(&self, world: &World) {
        let state = world.state();
        let trust = trust(&world.local_dir()).expect("packcast local creates a target id");
        let parameters = [
            format!("SERVER=https://{}", state.edge),
            format!("TRUST={trust}"),
            format!("TOKENFILE={}", on_drive_z(&state.enrolment_token_file)),
            format!("CAFILE={}", on_drive_z(&state.ca_file)),
            "SITE=Bern".to_owned(),
        ];
        self.msiexec("/i", 0, &parameters);
    }

    /// Installs the second package without parameters.
    pub(crate) fn upgrade(&self) {
        self.msiexec("/i", 1, &[]);
    }

    /// Installs the first package over the second one, which has the same version.
    pub(crate) fn replace(&self) {
        self.msiexec("/i", 0, &[]);
    }

    pub(crate) fn uninstall(&self) {
        self.msiexec("/x", 0, &[]);
    }

    fn msiexec(&self, option: &str, package: usize, parameters: &[String]) {
        let package = on_drive_z(&self.packages[package]);
        let mut command = self.wine.command(Path::new("msiexec"));
        command.args([option, &package, "/qn"]).args(parameters);
        let ran = Ran::of(&mut command);
        assert!(ran.code == Some(0), "{ran:#?}\n{}", self.log());
    }

    /// Removes whichever package is installed.
    fn remove(&self) {
        for package in &self.packages {
            let mut command = self.wine.command(Path::new("msiexec"));
            let command = command.args(["/x", &on_drive_z(package), "/qn"]);
            // Fails if the package is not installed.
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// Runs a command of the agent to its end. Like that of [`crate::machine::Machine`], its exit code
    /// may be missing.
    pub(crate) fn agent(&self, arguments: &[&str]) -> Ran {
        let ran = Ran::of(&mut self.agent_command(arguments));
        assert!(
            matches!(ran.code, Some(0) | None),
            "{ran:#?}\n{}",
            self.log()
        );
        ran
    }

    /// Runs a command of the agent that may fail.
    pub(crate) fn attempt(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.agent_command(arguments))
    }

    /// Starts a command of the agent, which is killed on drop.
    pub(crate) fn start_agent(&self, arguments: &[&str]) -> Process {
        Process::start(self.agent_command(arguments).stdout(Stdio::null()))
    }

    fn agent_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.wine.command(Path::new(PROGRAM));
        command.args(arguments);
        command
    }

    /// Returns the work of the service as `status` shows it; null if no service runs.
    pub(crate) fn activity(&self) -> Value {
        let status = self.agent(&["--format", "json", "status"]);
        let status: Value = serde_json::from_str(&status.stdout).expect("the status is JSON");
        status["service"].clone()
    }

    /// Waits until the service has checked in since its start.
    pub(crate) fn await_check_in(&self) {
        eventually("the service has checked in", || {
            self.activity()["last_check_in"].is_u64().then_some(())
        });
    }

    /// Returns the device id in the form that commands accept.
    pub(crate) fn id(&self) -> String {
        self.agent(&["id"]).stdout.trim().to_owned()
    }

    /// Asks the service control manager, with `net start` or `net stop`.
    pub(crate) fn net(&self, request: &str) {
        let ran = self.ask_manager(request);
        assert!(ran.code == Some(0), "{ran:#?}\n{}", self.log());
    }

    /// Asks the service control manager, and returns `true` on success.
    pub(crate) fn try_net(&self, request: &str) -> bool {
        self.ask_manager(request).code == Some(0)
    }

    fn ask_manager(&self, request: &str) -> Ran {
        let mut command = self.wine.command(Path::new("net"));
        Ran::of(command.args([request, SERVICE]))
    }

    /// Returns the registered command line of the service; `None` if it is not registered.
    pub(crate) fn registered(&self) -> Option<String> {
        let key = format!(r"HKLM\SYSTEM\CurrentControlSet\Services\{SERVICE}");
        let mut command = self.wine.command(Path::new("reg"));
        let ran = Ran::of(command.args(["query", &key, "/v", "ImagePath"]));
        let line = ran.stdout.lines().find(|line| line.contains("ImagePath"))?;
        let (_, value) = line.split_once("SZ")?;
        Some(value.trim().to_owned())
    }

    /// Returns the log of the service.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // After a failed step, the agent is still there.
        self.remove();
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}
