//! The steps of the Windows agent's story. Each step returns a short summary.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use packcast_agent::event::Event;
use packcast_protocol::{Outcome, PackageId};
use packcast_rollout::FinishedTask;
use packcast_tests::archives::{noise, zip};
use packcast_tests::process::eventually;
use packcast_tests::world::{PublishOutput, World};

use crate::PROGRAM;
use crate::installed::Installed;
use crate::machine::{Machine, Wine};
use crate::processes::Endless;
use crate::update::{self, Build, Builds, PACKAGE};

const MIB: usize = 1 << 20;

pub(crate) type StoryStep = fn(&Story) -> String;

/// A machine with an agent, and the system that deploys to it.
pub(crate) struct Story {
    pub(crate) world: World,
    pub(crate) machine: Machine,
    pub(crate) installed: Installed,
    builds: Builds,
}

impl Story {
    pub(crate) fn new(agent: &Path, wine: Wine, packages: [PathBuf; 2], builds: Builds) -> Self {
        let world = World::start(PROGRAM);
        Self {
            machine: Machine::new(&world, agent, wine.clone()),
            installed: Installed::new(wine, packages),
            world,
            builds,
        }
    }

    pub(crate) fn check_in(&self) -> String {
        let events = self.machine.run();
        assert!(
            matches!(events[..], [.., Event::CheckedIn { tasks: 0, .. }]),
            "{events:?}"
        );
        let device = self.world.device_state_of(self.machine.id()).device;
        // Wine says which version of Windows it imitates.
        assert!(
            device.os.starts_with("Microsoft Windows ") && device.os.ends_with(" x86_64"),
            "{}",
            device.os
        );
        assert_ne!(device.host_name, "");
        format!("{} on {}, {}", device.agent, device.os, device.host_name)
    }

    pub(crate) fn private_state(&self) -> String {
        // Wine does not show an access list without inheritance, and its folders always have a group.
        let mode = fs::metadata(self.machine.path("state"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o707, 0o700);

        let token = self.machine.path("token");
        fs::write(&token, "0123456789abcdef").unwrap();
        fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
        let configuration = self.machine.configuration(&self.world, &token);
        let fresh = configuration.replace(r"\state'", r"\another state'");
        let refused = self.machine.run_with(&fresh).expect_code(2);
        assert!(refused.stderr.contains("icacls FILE"), "{refused:?}");
        "no access for others; a token that they can read is refused".to_owned()
    }

    pub(crate) fn fragments(&self) -> String {
        let content = noise(1, 8 * MIB);
        let folder = self.machine.name("fetched");
        let action = ["--action", "store", "--path", &folder];
        let package = self.publish("fetched", &[("noise.bin", &content)], &action);
        let before = self.world.requests().len();
        let events = self.deploy("fetched");

        let count = package.package.published().unwrap().fragments;
        assert!(count >= 8, "{count} fragments");
        assert_eq!(verified(&events, false).len(), count as usize);
        assert_eq!(
            self.gets(package.package.id, before),
            (1..=count).map(|n| (n, 1)).collect()
        );
        self.expect("fetched", "SUCCESS", Outcome::Succeeded);
        assert!(fs::read(self.machine.path("fetched/noise.bin")).unwrap() == content);
        format!("{count} verified, each fetched once")
    }

    pub(crate) fn launch(&self) -> String {
        let script = "@echo off\r\n\
            echo [%1][%~2][%3][%PACKCAST_PACKAGE_NAME%]\r\n\
            if not exist \"data\\beside it.txt\" exit /b 1\r\n\
            exit /b 7\r\n";
        let files: [(&str, &[u8]); 2] = [
            ("setup.cmd", script.as_bytes()),
            ("data/beside it.txt", b""),
        ];
        let launch = ["--action", "launch", "--success-code", "7"];
        let command = "--command=setup.cmd one \"two words\" /three";
        self.publish("launched", &files, &[&launch[..], &[command]].concat());
        self.deploy("launched");
        let result = self.expect("launched", "SUCCESS_7", Outcome::Succeeded);
        let output = result.output_tail.unwrap();
        assert_eq!(output.trim_end(), "[one][two words][/three][launched]");
        format!("SUCCESS_7, {}", output.trim_end())
    }

    pub(crate) fn execute(&self) -> String {
        let made = self.machine.name("made by execute.txt");
        let command = format!("echo %PACKCAST_PACKAGE_VERSION%>\"{made}\"& exit 5");
        self.world.json::<PublishOutput>(&[
            "publish",
            "--name=executed",
            "--version=1",
            "--action=execute",
            "--platform=windows",
            "--activate",
            "--command",
            &command,
        ]);
        self.deploy("executed");
        let result = self.expect("executed", "EXIT_CODE_5", Outcome::Failed);
        let made = fs::read_to_string(self.machine.path("made by execute.txt")).unwrap();
        assert_eq!(made.trim_end(), "1");
        result.code.to_string()
    }

    pub(crate) fn execute_of_archive(&self) -> String {
        let files: [(&str, &[u8]); 1] = [("tools/greet.cmd", b"@echo hello %1\r\n")];
        let action = ["--action", "execute", "--command", r"tools\greet.cmd there"];
        self.publish("greeted", &files, &action);
        self.deploy("greeted");
        let result = self.expect("greeted", "SUCCESS", Outcome::Succeeded);
        let output = result.output_tail.unwrap();
        assert_eq!(output.trim_end(), "hello there");
        format!("SUCCESS, {}", output.trim_end())
    }

    /// Stores files twice: existing files, one of them read-only, are replaced.
    pub(crate) fn store(&self) -> String {
        let folder = self.machine.path("Stored here");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("kept.txt"), "of another").unwrap();
        let files = ["read me.txt", ".dotfile", "sub folder/sheet 1.txt"];
        for name in ["stored", "stored-again"] {
            let content: Vec<_> = files.iter().map(|file| (*file, name.as_bytes())).collect();
            let into = self.machine.name("Stored here");
            self.publish(name, &content, &["--action", "store", "--path", &into]);
            self.deploy(name);
            self.expect(name, "SUCCESS", Outcome::Succeeded);
            for file in files {
                assert_eq!(
                    fs::read_to_string(folder.join(file)).unwrap(),
                    name,
                    "{file}"
                );
            }
            let read_only = fs::Permissions::from_mode(0o444);
            fs::set_permissions(folder.join(files[0]), read_only).unwrap();
        }
        assert_eq!(
            fs::read_to_string(folder.join("kept.txt")).unwrap(),
            "of another"
        );
        format!("{} files, twice, over a read-only one", files.len())
    }

    pub(crate) fn time_limit(&self) -> String {
        let endless = Endless::new();
        let ping = endless.command();
        // A child, a grandchild whose parent has ended, and the program itself.
        let script = format!(
            "@echo off\r\nstart /b {ping} >nul\r\n\
             cmd /c start /b cmd /c {ping} ^>nul\r\n{ping} >nul\r\n"
        );
        let files: [(&str, &[u8]); 1] = [("tree.cmd", script.as_bytes())];
        let action = [
            "--action",
            "launch",
            "--command",
            "tree.cmd",
            "--timeout",
            "10s",
        ];
        self.publish("endless", &files, &action);
        self.assign("endless");
        let mut agent = self.machine.start();
        while !matches!(agent.next_event(), Event::Started { .. }) {}
        endless.expect(4);
        agent.rest();
        endless.expect(0);
        self.expect("endless", "ERR_EXECUTE_TIMEOUT", Outcome::Failed);
        "ERR_EXECUTE_TIMEOUT; none of 4 programs is left".to_owned()
    }

    pub(crate) fn background(&self) -> String {
        let endless = Endless::new();
        let script = format!("@start /b {} >nul\r\n", endless.command());
        let files: [(&str, &[u8]); 1] = [("leave.cmd", script.as_bytes())];
        let action = ["--action", "launch", "--command", "leave.cmd"];
        let package = self.publish("left", &files, &action).package.id;
        self.deploy("left");
        self.expect("left", "SUCCESS_0", Outcome::Succeeded);
        endless.expect(1);
        // Deploys the package again while a program runs in the folder of the first run.
        let again = ["assign", "left@1", "--force", "--device"];
        self.world.ok(&[&again[..], &[self.machine.id()]].concat());
        self.machine.run();
        self.expect("left", "SUCCESS_0", Outcome::Succeeded);
        endless.expect(2);
        drop(endless);
        self.machine.run();
        let folder = self.machine.path(&format!("state/packages/{package}"));
        assert!(!folder.exists(), "no file of the package is left");
        "SUCCESS_0 at once, twice, and both programs run on".to_owned()
    }

    pub(crate) fn killed(&self) -> String {
        let content = noise(2, 40 * MIB);
        let folder = self.machine.name("resumed");
        let action = ["--action", "store", "--path", &folder];
        let package = self
            .publish("resumed", &[("noise.bin", &content)], &action)
            .package;
        self.assign("resumed");
        let published = self.world.requests().len();
        let mut agent = self.machine.start();
        for _ in 0..10 {
            while !matches!(agent.next_event(), Event::FragmentVerified { .. }) {}
        }
        agent.kill();
        let before = self.machine.fragments(package.id);
        let count = package.published().unwrap().fragments;
        assert!(before.len() < count as usize, "killed in the middle");
        let events = self.machine.run();

        assert_eq!(verified(&events, true), before);
        let gets = self.gets(package.id, published);
        assert_eq!(gets.len(), count as usize);
        let again: Vec<_> = gets
            .iter()
            .filter(|(n, times)| before.contains(n) && **times > 1)
            .collect();
        assert!(again.is_empty(), "fetched again: {again:?}");
        self.expect("resumed", "SUCCESS", Outcome::Succeeded);
        assert!(fs::read(self.machine.path("resumed/noise.bin")).unwrap() == content);
        format!(
            "{} of {count} were on disk, none of them downloaded again",
            before.len()
        )
    }

    pub(crate) fn installation(&self) -> String {
        let installed = &self.installed;
        installed.install(&self.world);
        assert!(installed.program().exists());
        let command = installed.registered().expect("the service is registered");
        assert_eq!(
            command,
            r#""C:\Program Files\Packcast\packcast-agent.exe" service run"#,
            "{}",
            installed.log()
        );
        let config = fs::read_to_string(installed.path("agent.toml")).unwrap();
        for expected in [
            "server = ",
            "trust = ",
            "enrolment-token",
            "site = \"Bern\"",
        ] {
            assert!(config.contains(expected), "{expected}: {config}");
        }
        // Wine maps the access list to the file mode.
        for name in ["", "enrolment-token", "state"] {
            let metadata = fs::metadata(installed.path(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o007, 0, "{name}");
        }
        "configured and registered, other users kept out".to_owned()
    }

    pub(crate) fn service(&self) -> String {
        let installed = &self.installed;
        installed.await_check_in();
        let id = installed.id();
        let device = self.world.device_state_of(&id).device;
        let text = installed.agent(&["check-in"]).stdout;
        assert!(text.contains("done: "), "{text}");
        let log = installed.agent(&["logs", "--lines", "1000"]).stdout;
        let started = format!("packcast-agent {} has started", env!("CARGO_PKG_VERSION"));
        assert!(log.contains(&started), "{log}");
        let server = format!("https://{}", self.world.state().edge);
        // The configuration stays the same, so that the running service only reads it again.
        let trust = packcast_publisher::local::trust(&self.world.local_dir()).unwrap();
        let enrol = ["enrol", "--server", &server, "--trust", &trust.to_string()];
        let text = installed.agent(&enrol).stdout;
        assert!(text.contains("the service is running"), "{text}");
        assert!(installed.log().contains("read the configuration again"));
        format!("{}, over the named pipe, too", device.host_name)
    }

    pub(crate) fn launch_by_service(&self) -> String {
        let files: [(&str, &[u8]); 1] = [("setup.cmd", b"@echo %1&exit /b 0\r\n")];
        let action = ["--action", "launch", "--command", "setup.cmd installed"];
        let package = self.publish("by-service", &files, &action).package.id;
        let id = self.installed.id();
        self.world.ok(&["assign", "by-service@1", "--device", &id]);
        self.installed.agent(&["check-in"]);
        let result = self.result_of(&id, package);
        let output = result.output_tail.unwrap();
        assert_eq!(output.trim_end(), "installed");
        result.code.to_string()
    }

    /// Stops the service while a program runs. The program goes on, and the next start of the
    /// service begins nothing before it has ended.
    pub(crate) fn stop_beside_program(&self) -> String {
        let endless = Endless::new();
        let script = format!("@{} >nul\r\n", endless.command());
        let files: [(&str, &[u8]); 1] = [("wait.cmd", script.as_bytes())];
        let action = ["--action", "launch", "--command", "wait.cmd"];
        let package = self.publish("long", &files, &action).package.id;
        let id = self.installed.id();
        self.world.ok(&["assign", "long@1", "--device", &id]);
        let asking = self.installed.start_agent(&["check-in"]);
        endless.expect(1);
        self.installed.net("stop");
        drop(asking);
        eventually("the service has stopped", || {
            self.installed.activity().is_null().then_some(())
        });
        endless.expect(1);
        self.installed.net("start");
        eventually("the service has found the program", || {
            (self.installed.activity()["package"]["step"] == "awaiting").then_some(())
        });
        endless.expect(1);
        drop(endless);
        let result = eventually("the end of the program is on record", || {
            self.finished_task(&id, package)
        });
        result.code.to_string()
    }

    pub(crate) fn upgrade(&self) -> String {
        let installed = &self.installed;
        let kept =
            || ["agent.toml", "state/identity"].map(|name| fs::read(installed.path(name)).unwrap());
        let before = kept();
        installed.upgrade();
        assert_eq!(kept(), before);
        installed.await_check_in();
        "the configuration and the identity stay, and the service runs".to_owned()
    }

    /// Upgrades an agent whose configuration the new version cannot read.
    pub(crate) fn upgrade_with_invalid_configuration(&self) -> String {
        let installed = &self.installed;
        let file = installed.path("agent.toml");
        let valid = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("unknown_option = 1\n{valid}")).unwrap();
        installed.replace();
        assert!(installed.log().contains("unknown_option"));
        fs::write(&file, valid).unwrap();
        // The service has ended with the error, is about to, or has only read the valid file.
        eventually("the service runs", || {
            let runs = installed.try_net("start") || !installed.activity().is_null();
            runs.then_some(())
        });
        installed.await_check_in();
        "the upgrade is complete, and the log names the option".to_owned()
    }

    pub(crate) fn self_update(&self) -> String {
        let result = self.update(&self.builds.newer);
        assert_eq!(result.code.to_string(), "SUCCESS", "{result:?}");
        let agent = self.expect_newer_agent();
        format!("{agent}, in the service")
    }

    pub(crate) fn update_that_goes_back(&self) -> String {
        let result = self.update(&self.builds.broken);
        assert_eq!(result.code.to_string(), "ERR_EXECUTE", "{result:?}");
        let agent = self.expect_newer_agent();
        format!("ERR_EXECUTE, and {agent} runs on")
    }

    /// Stops and starts the service twice: the service control manager stops an updated version, too.
    pub(crate) fn restarts(&self) -> String {
        for _ in 0..2 {
            self.installed.net("stop");
            eventually("the service has stopped", || {
                self.installed.activity().is_null().then_some(())
            });
            self.installed.net("start");
            self.installed.await_check_in();
        }
        let agent = self.expect_newer_agent();
        format!("{agent} was stopped and started")
    }

    /// Compares the agent on record with the newer build, and returns its name and version.
    fn expect_newer_agent(&self) -> String {
        let state = self.world.device_state_of(&self.installed.id());
        let expected = format!("packcast-agent {}", self.builds.newer.version);
        assert_eq!(state.device.agent, expected);
        expected
    }

    /// Deploys a build of the agent to the service, and returns the result.
    fn update(&self, build: &Build) -> FinishedTask {
        update::publish(&self.world, build);
        let id = self.installed.id();
        let package = format!("{PACKAGE}@{}", build.version);
        self.world.ok(&["assign", &package, "--device", &id]);
        let listed: Vec<packcast_rollout::PackageRecord> = self.world.json(&["list"]);
        let package = listed
            .iter()
            .find(|it| it.version.to_string() == build.version);
        let package = package.expect("the update is published").id;
        eventually("the service has updated itself", || {
            // The service answers nobody while it starts another version.
            let _ = self.installed.attempt(&["check-in"]);
            self.finished_task(&id, package)
        })
    }

    pub(crate) fn uninstallation(&self) -> String {
        let installed = &self.installed;
        installed.uninstall();
        assert!(!installed.program().exists());
        assert_eq!(installed.registered(), None);
        assert!(installed.path("agent.toml").exists() && installed.path("state/identity").exists());
        assert!(installed.log().contains("packcast-agent has stopped"));
        "no program and no service; the configuration and the identity stay".to_owned()
    }

    fn finished_task(&self, device: &str, package: PackageId) -> Option<FinishedTask> {
        let finished = self.world.device_state_of(device).finished;
        finished.into_iter().find(|task| task.package == package)
    }

    fn result_of(&self, device: &str, package: PackageId) -> FinishedTask {
        self.finished_task(device, package)
            .expect("the package has a result")
    }

    /// Publishes and activates a package `name@1` for Windows, in fragments of 1 MiB.
    fn publish(&self, name: &str, files: &[(&str, &[u8])], action: &[&str]) -> PublishOutput {
        let source = self.world.file(&format!("{name}.zip"), &zip(files));
        let rest = [
            "--platform=windows",
            "--fragment-size=1MiB",
            "--activate",
            &source,
        ];
        self.world.publish(name, &[action, &rest].concat())
    }

    fn assign(&self, name: &str) {
        let package = format!("{name}@1");
        self.world
            .ok(&["assign", &package, "--device", self.machine.id()]);
    }

    fn deploy(&self, name: &str) -> Vec<Event> {
        self.assign(name);
        self.machine.run()
    }

    /// Returns the result of a package on record, after comparing it with the expected one.
    fn expect(&self, name: &str, code: &str, outcome: Outcome) -> FinishedTask {
        let id = self
            .world
            .json::<Vec<packcast_rollout::PackageRecord>>(&["list"]);
        let id = id
            .iter()
            .find(|package| package.name.to_string() == name)
            .unwrap()
            .id;
        let device_state = self.world.device_state_of(self.machine.id());
        assert!(device_state.open.is_empty(), "{device_state:?}");
        let result = device_state
            .finished
            .into_iter()
            .find(|task| task.package == id)
            .unwrap();
        assert_eq!(
            (result.code.to_string().as_str(), result.outcome),
            (code, outcome),
            "{result:?}"
        );
        let progress = self.world.progress(&format!("{name}@1"));
        let succeeded = u64::from(outcome == Outcome::Succeeded);
        assert_eq!(
            (progress.succeeded, progress.failed),
            (succeeded, 1 - succeeded)
        );
        result
    }

    /// Returns how often each fragment of a package was requested after the first `before` requests.
    fn gets(&self, package: PackageId, before: usize) -> BTreeMap<u32, usize> {
        let mut gets = BTreeMap::new();
        let start = format!("{package}-");
        for request in &self.world.requests()[before..] {
            let name = request.path.rsplit('/').next().unwrap_or_default();
            let number = name.strip_prefix(&start).and_then(|n| n.parse().ok());
            if let Some(number) = number.filter(|_| request.method == "GET") {
                *gets.entry(number).or_default() += 1;
            }
        }
        gets
    }
}

/// Returns the verified fragments that were already on disk, or those that were not.
fn verified(events: &[Event], wanted: bool) -> BTreeSet<u32> {
    let number = |event: &Event| match event {
        Event::FragmentVerified { n, already, .. } if *already == wanted => Some(*n),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}
