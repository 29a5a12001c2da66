//! Import from Debian's OCS server, and the move of an agent that is registered there.

#[cfg(target_arch = "x86_64")]
mod connections;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_protocol::{Outcome, PackageId};
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::ocs_agent::{OcsAgent, installed};
use packcast_tests::ocs_server::{COMPUTER, ConsoleForm, OcsServer, import};
use packcast_tests::process::{Ran, eventually, text};
use packcast_tests::world::World;
use serde_json::Value;

use crate::PROGRAM;

/// The ten packages of the old server, in the order of their ids.
struct Packages {
    done: PackageId,
    failed: PackageId,
    /// Its command has an ampersand, which the console does not escape.
    open: PackageId,
    stored: PackageId,
    script: PackageId,
    damaged: PackageId,
    all: Vec<PackageId>,
}

impl Packages {
    fn publish(server: &OcsServer, world: &World) -> Self {
        let program = |line: &str| format!("#!/bin/sh\n{line}\n").into_bytes();
        let counts = |name: &str| format!("echo run >> {}", world.path(name));
        let upload = |name: &str, entries: &[(&str, &[u8])]| world.file(name, &tar_gz(entries));
        let done = upload("done.tar.gz", &[("run.sh", &program(&counts("done")))]);
        let stored = upload("files.tar.gz", &[("a.txt", b"stored")]);
        let noise = noise(1, 2_500_000);
        let large = upload(
            "large.tar.gz",
            &[("run.sh", &program("exit 0")), ("data", &noise)],
        );
        let setup = world.file("setup.exe", b"MZ");
        let windows = |kind: &str, name: &str| ConsoleForm::new(kind, name, "windows");
        let linux = |kind: &str, name: &str| ConsoleForm::new(kind, name, "linux");
        let all = server.publish(&[
            ConsoleForm::custom("Done 1.0", "LAUNCH", "run.sh").with("file", &done),
            ConsoleForm::custom("Failed 1.0", "EXECUTE", "exit 3"),
            ConsoleForm::custom(
                "Open tool 1.0",
                "EXECUTE",
                &format!("{} && true", counts("open")),
            ),
            linux("storeopt", "Files 2.0")
                .with("pathfile", &world.path("stored"))
                .with("file", &stored),
            linux("bashscriptopt", "Script 1.0").with("getcode", &counts("script")),
            ConsoleForm::custom("Large 3.1", "LAUNCH", "run.sh").with("file", &large),
            windows("batchscriptopt", "Batch 1.0").with("getcode", "exit 0\r\n"),
            windows("executableopt", "Setup 5.2")
                .with("file", &setup)
                .with("arguments", "/S")
                .with("NOTIFY_USER", "1")
                .with("NOTIFY_TEXT", "Please wait")
                .with("NOTIFY_COUNTDOWN", "10"),
            linux("installapplinuxopt", "Player 1.0")
                .with("linux_type", "apt")
                .with("application_name", "player"),
            ConsoleForm::custom("Damaged 1.0", "LAUNCH", "run.sh").with("file", &done),
        ]);
        let damaged = all[9];
        let fragment = server.file(damaged, &format!("{damaged}-1"));
        fs::write(fragment, "damaged").unwrap();
        Self {
            done: all[0],
            failed: all[1],
            open: all[2],
            stored: all[3],
            script: all[4],
            damaged,
            all,
        }
    }
}

/// A system with an agent that has moved, or is going to.
struct Moving {
    world: World,
    server: OcsServer,
    agent: OcsAgent,
    /// The configuration that the script changes.
    config: PathBuf,
}

impl Moving {
    fn begin(program: &Path, folder: &Path) -> Option<Self> {
        let world = World::start(PROGRAM);
        let server = OcsServer::start(folder.join("server"))?;
        let state = folder.join("agent");
        let (agent, _) = OcsAgent::enrol_at(
            program,
            server.address(),
            server.authority(),
            state.clone(),
            &world,
        );
        let config = agent.config();
        fs::write(&config, format!("server={}\n", server.address())).unwrap();
        Some(Self {
            world,
            server,
            agent,
            config,
        })
    }

    /// Returns the address of `packcast local` for OCS agents.
    fn here(&self) -> String {
        let state = self.world.state();
        let token = state.ocs_path_token.reveal();
        format!("https://{}/ocsinventory/{token}", state.edge)
    }

    /// Writes the script that moves agents to a server, as an archive or as it is.
    fn script(&self, server: &str, options: &[&str]) -> Ran {
        let script = [
            "import",
            "ocs",
            "--agent-script",
            "unix",
            "--server",
            server,
        ];
        self.world.ok(&[&script, options].concat())
    }

    fn archive(&self, server: &str, name: &str) -> String {
        let archive = self.world.path(name);
        let ran = self.script(server, &["--package", &archive]);
        assert!(ran.stderr.contains("'move.sh'"), "{ran:#?}");
        archive
    }

    /// Waits until the script in the background has moved the agent.
    fn moved(self, server: String, ca_file: PathBuf) -> Self {
        let line = format!("server={server}\n");
        eventually("the script moves the agent", || {
            (fs::read_to_string(&self.config).unwrap() == line).then_some(())
        });
        Self {
            agent: self.agent.with_server(server, ca_file),
            ..self
        }
    }

    fn announced(&self) -> BTreeSet<PackageId> {
        let announced: BTreeMap<PackageId, bool> = self.agent.check_in().announced();
        assert!(!announced.values().any(|forced| *forced));
        announced.into_keys().collect()
    }

    /// Returns outcome and code of a package on the device here.
    fn outcome(&self, package: PackageId) -> (Outcome, String) {
        let shown = self.world.device_state_of(self.agent.id());
        let mut finished = shown.finished.iter();
        let found = finished.find(|it| it.package == package).unwrap();
        (found.outcome, found.code.to_string())
    }

    fn runs(&self, name: &str) -> String {
        fs::read_to_string(self.world.path(name)).unwrap()
    }
}

/// Returns the reasons of rows that an import leaves out.
fn reasons(result: &Value) -> Vec<&str> {
    let left_out = result["left_out"].as_array().unwrap().iter();
    left_out.map(|it| it["reason"].as_str().unwrap()).collect()
}

#[test]
fn an_agent_moves_with_its_results_and_moves_back() {
    let Some(program) = installed() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let Some(moving) = Moving::begin(&program, folder.path()) else {
        return;
    };
    let (world, server) = (&moving.world, &moving.server);
    let packages = Packages::publish(server, world);
    for package in [packages.done, packages.failed] {
        server.assign(package, COMPUTER);
    }
    moving.agent.check_in();
    assert_eq!(server.result(packages.done), "SUCCESS_0");
    assert_eq!(server.result(packages.failed), "ERR_EXECUTE");
    server.group(900, "Lab PCs", None);
    server.group(901, "Debian 12", Some("SELECT 1"));
    server.assign(packages.open, "900");
    server.assign(packages.done, "901");
    server.assign(packages.script, "901");
    server.assign(packages.stored, COMPUTER);

    import_packages(&moving, &packages);

    let here = moving.here();
    let ca_file = world.state().ca_file.clone();
    let script = moving.script(&here, &[]).stdout;
    let file = world.file("move.sh", script.as_bytes());
    let ran = Ran::of(moving.agent.find_by(Command::new("sh").arg(file)));
    let _ = ran.expect_code(0);
    let moving = moving.moved(here, ca_file.clone());
    let open = BTreeSet::from([packages.open, packages.script, packages.stored]);
    assert_eq!(moving.announced(), open);
    let succeeded = |code: &str| (Outcome::Succeeded, code.to_owned());
    assert_eq!(moving.outcome(packages.done), succeeded("SUCCESS_0"));
    let failed = (Outcome::Failed, "ERR_EXECUTE".to_owned());
    assert_eq!(moving.outcome(packages.failed), failed);
    for package in open {
        assert_eq!(moving.outcome(package), succeeded("SUCCESS"));
    }
    assert_eq!(moving.runs("stored/a.txt"), "stored");

    let (code, compared) = moving.server.import(&moving.world, &["--compare"]);
    assert_eq!(code, 1, "the damaged package cannot be compared");
    assert_eq!(reasons(&compared).len(), 1, "{compared}");
    let compared = compared["compared"].as_array().unwrap();
    let number = |field: &str| compared.iter().filter(|it| it[field] == true).count();
    assert_eq!((number("same"), number("finished_here")), (2, 3));

    // Packcast moves the agent back with a package, and the OCS server moves it here again.
    let back = moving.archive(&moving.server.address(), "back.tar.gz");
    moving.world.publish(
        "move-back",
        &[&back, "--action=launch", "--command=move.sh", "--activate"],
    );
    let agent = moving.agent.id();
    moving
        .world
        .ok(&["assign", "move-back@1", "--device", agent]);
    assert_eq!(moving.announced().len(), 1);
    let (address, authority) = (moving.server.address(), moving.server.authority());
    let moving = moving.moved(address, authority);
    // The packages that Packcast has deployed are in the history of the agent, which ignores them.
    moving.agent.check_in();
    let archive = moving.archive(&moving.here(), "move.tar.gz");
    let later = moving.server.publish(&[
        ConsoleForm::custom("Later 1.0", "EXECUTE", "true"),
        ConsoleForm::custom("Move 1.0", "LAUNCH", "move.sh").with("file", &archive),
    ]);
    for package in &later {
        moving.server.assign(*package, COMPUTER);
    }
    let announced = moving.announced();
    assert_eq!(announced, later.iter().copied().collect());
    assert_eq!(moving.server.result(later[0]), "SUCCESS");
    let here = moving.here();
    let moving = moving.moved(here, ca_file);

    let (_, repeated) = moving.server.import(&moving.world, &[]);
    assert_eq!(repeated["packages"].as_array().unwrap().len(), 1);
    let moves = format!("cannot import package {}: it is a script of", later[1]);
    let left_out = reasons(&repeated);
    let is_named = left_out.iter().any(|reason| reason.starts_with(&moves));
    assert!(is_named, "{left_out:?}");
    let id = moving.agent.id().to_owned();
    assert_eq!(moving.announced(), BTreeSet::new());
    let shown = moving.world.device_state_of(&id);
    assert_eq!(shown.open.len(), 0, "{shown:#?}");
    for name in ["done", "open", "script"] {
        assert_eq!(moving.runs(name), "run\n", "{name}");
    }
    assert_eq!(packages.all.len(), 10);
}

/// Imports from the old server, and checks the dry run and the result.
fn import_packages(moving: &Moving, packages: &Packages) {
    let (world, server) = (&moving.world, &moving.server);
    let (code, dry_run) = server.import(world, &["--dry-run"]);
    assert_eq!(code, 1, "the damaged package is left out: {dry_run}");
    let damaged = format!("cannot assemble package {}: MD5 mismatch", packages.damaged);
    let left_out = reasons(&dry_run);
    assert!(
        left_out.len() == 1 && left_out[0].starts_with(&damaged),
        "{left_out:?}"
    );
    assert_eq!(
        planned(&dry_run),
        "Done@1.0 launch run.sh\nFailed@1.0 execute exit 3\nOpen-tool@1.0 execute COUNT && true [COMMAND: '&' was not escaped]\nFiles@2.0 store FOLDER\nScript@1.0 execute sh bashscript.sh \nLarge@3.1 launch run.sh\nBatch@1.0 execute batchscript.bat\nSetup@5.2 launch executable.exe /S\nPlayer@1.0 execute apt install -y player ; exit 0"
            .replace("COUNT", &format!("echo run >> {}", world.path("open")))
            .replace("FOLDER", &world.path("stored"))
    );
    assert_eq!(dry_run["devices"][0]["moves"], "unix");
    assert_eq!(
        dry_run["groups"][1]["query"], "SELECT 1",
        "the group is dynamic"
    );
    let (_, imported) = server.import(world, &[]);
    assert_eq!(imported["assignments"], 4, "{imported}");
    assert_eq!(imported["results"], 2, "{imported}");
    assert_eq!(imported["activated"].as_array().unwrap().len(), 9);
    let (_, again) = server.import(world, &[]);
    assert_eq!(again["commit"], Value::Null, "{again}");
}

/// Writes the packages of a dry run in lines: name, action, command or folder, and repairs.
fn planned(dry_run: &Value) -> String {
    let packages = dry_run["packages"].as_array().unwrap().iter();
    let lines = packages.map(|it| {
        let field = |name: &str| it[name].as_str().unwrap_or_default().to_owned();
        let repairs = it["repairs"].as_array().unwrap();
        let repairs: String = repairs
            .iter()
            .map(|it| format!(" [{}]", it.as_str().unwrap()))
            .collect();
        format!(
            "{}@{} {} {}{}{repairs}",
            field("name"),
            field("version"),
            field("action"),
            field("command"),
            field("folder")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn packages_are_fetched_from_the_web_server() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = OcsServer::start(folder.path().join("server")) else {
        return;
    };
    let world = World::start(PROGRAM);
    let noise = noise(2, 2_500_000);
    let archive = tar_gz(&[("run.sh", b"#!/bin/sh\nexit 0\n"), ("data", &noise)]);
    let archive = world.file("large.tar.gz", &archive);
    let large = ConsoleForm::custom("Large 1.0", "LAUNCH", "run.sh").with("file", &archive);
    let missing = large.clone().with("NAME", "Missing 1.0");
    let packages = server.publish(&[large, missing]);
    let fragment = server.file(packages[1], &format!("{}-2", packages[1]));
    fs::remove_file(fragment).unwrap();

    let (database, address) = (server.database(), server.download_address());
    let from = ["--database", &database, "--downloads", &address];
    let command = [&["import", "ocs"], &from[..]].concat();
    let untrusted = world.refused(1, &command);
    assert!(untrusted.contains("--downloads-ca"), "{untrusted}");
    let authority = server.authority();
    let trusting = [&from[..], &["--downloads-ca", text(&authority)]].concat();
    let (code, imported) = import(&world, &trusting);
    assert_eq!(code, 1, "{imported}");
    assert_eq!(imported["packages"], serde_json::json!(["Large@1.0"]));
    let missing = format!(
        "cannot assemble package {}: fragment 2 of 3 is missing",
        packages[1]
    );
    assert_eq!(reasons(&imported), [missing]);
    world.ok(&["verify", "Large@1.0"]);
}
