//! Import from Debian's OCS server, and the move of an agent that is registered there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use packcast_protocol::{Outcome, PackageId};
use packcast_testing::skip::{Missing, skip};
use packcast_tests::archives::tar_gz;
use packcast_tests::ocs_agent::{OcsAgent, installed};
use packcast_tests::world::World;
use serde_json::Value;

use crate::PROGRAM;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ocs-server");

/// Debian's OCS server, with a database of its own.
struct OcsServer {
    folder: PathBuf,
    port: String,
}

impl OcsServer {
    /// Returns `None` if the server is not installed; the test is then skipped.
    fn start(folder: PathBuf) -> Option<Self> {
        let missing = Command::new(SCRIPT).arg("missing").output().unwrap();
        if !missing.stdout.is_empty() {
            skip(Missing::Optional("OCS server"));
            return None;
        }
        let mut up = Command::new(SCRIPT);
        let output = up.arg("up").arg(&folder).arg("1").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        let port = text.trim().rsplit(':').next().unwrap();
        let port = port.split('/').next().unwrap().to_owned();
        let server = Self { folder, port };
        server.sql(
            "DELETE FROM devices; DELETE FROM download_enable; DELETE FROM download_available;
             DELETE FROM hardware; DELETE FROM accountinfo;
             UPDATE config SET IVALUE = 1 WHERE NAME IN ('DOWNLOAD_CYCLE_LATENCY',
               'DOWNLOAD_FRAG_LATENCY', 'DOWNLOAD_PERIOD_LATENCY', 'PROLOG_FREQ')",
        );
        Some(server)
    }

    fn address(&self) -> String {
        format!("https://localhost:{}/ocsinventory", self.port)
    }

    fn sql(&self, statements: &str) -> String {
        let output = Command::new("mariadb")
            .arg("--no-defaults")
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--user=root", "--skip-column-names", "ocsweb", "--execute"])
            .arg(statements)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("mariadb.sock")
    }

    fn downloads(&self) -> PathBuf {
        self.folder.join("download")
    }

    /// Adds an active package. `info` has the attributes that depend on the action.
    fn publish(&self, id: u32, name: &str, info: &str, archive: Option<&[u8]>) {
        let folder = self.downloads().join(id.to_string());
        fs::create_dir(&folder).unwrap();
        let (fragments, digest) = match archive {
            Some(archive) => {
                fs::write(folder.join(format!("{id}-1")), archive).unwrap();
                (1, md5(&folder.join(format!("{id}-1"))))
            }
            None => (0, String::new()),
        };
        let xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DOWNLOAD ID=\"{id}\" PRI=\"1\" {info} DIGEST=\"{digest}\" PROTO=\"HTTPS\" FRAGS=\"{fragments}\" DIGEST_ALGO=\"MD5\" DIGEST_ENCODE=\"Hexa\" NOTIFY_USER=\"0\" NOTIFY_TEXT=\"\" NOTIFY_COUNTDOWN=\"\" NOTIFY_CAN_ABORT=\"0\" NOTIFY_CAN_DELAY=\"0\" NEED_DONE_ACTION=\"0\" NEED_DONE_ACTION_TEXT=\"\" GARDEFOU=\"rien\" />\n"
        );
        fs::write(folder.join("info"), xml).unwrap();
        let place = format!("localhost:{}/download", self.port);
        self.sql(&format!(
            "INSERT INTO download_available (FILEID, NAME, PRIORITY, FRAGMENTS, SIZE, OSNAME, COMMENT)
               VALUES ('{id}', '{name}', 1, {fragments}, 1, 'LINUX', '');
             INSERT INTO download_enable (FILEID, INFO_LOC, PACK_LOC, CERT_PATH, CERT_FILE)
               VALUES ('{id}', '{place}', '{place}', 'INSTALL_PATH', 'INSTALL_PATH/cacert.pem')"
        ));
    }

    /// Adds a package that executes a command.
    fn publish_command(&self, id: u32, name: &str, command: &str) {
        let info = format!("ACT=\"EXECUTE\" COMMAND=\"{command}\"");
        self.publish(id, name, &info, None);
    }

    /// Assigns a package to the row of a computer or a group.
    fn assign(&self, id: u32, row: &str) {
        self.sql(&format!(
            "INSERT INTO devices (HARDWARE_ID, NAME, IVALUE, TVALUE)
               SELECT {row}, 'DOWNLOAD', ID, NULL FROM download_enable WHERE FILEID = '{id}'"
        ));
    }

    fn import(&self, world: &World, options: &[&str]) -> (i32, Value) {
        let database = format!(
            "mysql://root@localhost/ocsweb?socket={}",
            self.socket().display()
        );
        let downloads = self.downloads();
        let output = world
            .command(&["import", "ocs", "--database", &database, "--format", "json"])
            .arg("--downloads")
            .arg(downloads)
            .args(options)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let result = serde_json::from_slice(&output.stdout);
        let result = result.unwrap_or_else(|error| panic!("{error}: {errors}"));
        (output.status.code().unwrap(), result)
    }
}

impl Drop for OcsServer {
    fn drop(&mut self) {
        let _ = Command::new(SCRIPT).arg("down").arg(&self.folder).status();
    }
}

fn md5(file: &Path) -> String {
    let output = Command::new("md5sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// Runs the script that moves the agent to a server.
fn move_agent(world: &World, state: &Path, config: &Path, server: &str) {
    let script = world.ok(&[
        "import",
        "ocs",
        "--agent-script",
        "unix",
        "--server",
        server,
    ]);
    let file = world.file("move.sh", script.stdout.as_bytes());
    let status = Command::new("sh")
        .arg(file)
        .env("OCS_AGENT_CONFIG", config)
        .env("OCS_AGENT_STATE", state)
        .status();
    assert!(status.unwrap().success());
}

const DONE: u32 = 1_700_000_001;
const FAILED: u32 = 1_700_000_002;
const OPEN: u32 = 1_700_000_003;
const DAMAGED: u32 = 1_700_000_004;
const LATER: u32 = 1_700_000_005;

fn id(id: u32) -> PackageId {
    id.try_into().unwrap()
}

#[test]
fn an_agent_moves_with_its_results_and_moves_back() {
    let Some(program) = installed() else {
        return;
    };
    let world = World::start(PROGRAM);
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = OcsServer::start(folder.path().join("server")) else {
        return;
    };
    let certificate = server.folder.join("certificate.pem");
    let state = folder.path().join("agent");
    let (agent, _) = OcsAgent::enrol_at(
        &program,
        server.address(),
        certificate.clone(),
        state.clone(),
        &world,
    );
    let (done_runs, open_runs) = (world.path("done"), world.path("open"));
    let script = format!("#!/bin/sh\necho run >> {done_runs}\n");
    let archive = tar_gz(&[("run.sh", script.as_bytes())]);
    let launch = "ACT=\"LAUNCH\" NAME=\"run.sh\"";
    server.publish(DONE, "Done 1.0", launch, Some(&archive));
    server.publish_command(FAILED, "Failed 1.0", "exit 3");
    // The console escapes no ampersand, so OCS agents cannot read this package.
    let command = format!("echo run >> {open_runs} && true");
    server.publish_command(OPEN, "Open tool 1.0", &command);
    server.publish(DAMAGED, "Damaged 1.0", launch, Some(&archive));
    fs::write(
        server.downloads().join(format!("{DAMAGED}/{DAMAGED}-1")),
        "damaged",
    )
    .unwrap();
    let computer = "(SELECT ID FROM hardware WHERE DEVICEID NOT LIKE '\\_%')";
    for package in [DONE, FAILED] {
        server.assign(package, computer);
    }
    agent.check_in();
    let results = server.sql("SELECT TVALUE FROM devices WHERE NAME = 'DOWNLOAD' ORDER BY IVALUE");
    assert_eq!(results, "SUCCESS_0\nERR_EXECUTE\n");
    server.sql(
        "INSERT INTO hardware (ID, DEVICEID, NAME) VALUES (900, '_SYSTEMGROUP_', 'Lab PCs'), (901, '_SYSTEMGROUP_', 'Debian 12');
         INSERT INTO `groups` (HARDWARE_ID, REQUEST, XMLDEF) VALUES (900, '', ''), (901, 'SELECT 1', '');
         INSERT INTO groups_cache (GROUP_ID, HARDWARE_ID, STATIC)
           SELECT 900, ID, 1 FROM hardware WHERE DEVICEID NOT LIKE '\\_%';
         INSERT INTO groups_cache (GROUP_ID, HARDWARE_ID, STATIC)
           SELECT 901, ID, 0 FROM hardware WHERE DEVICEID NOT LIKE '\\_%'",
    );
    server.assign(OPEN, "900");
    server.assign(DONE, "901");

    let (code, dry_run) = server.import(&world, &["--dry-run"]);
    assert_eq!(code, 1, "the damaged package is left out: {dry_run}");
    assert_eq!(dry_run["left_out"].as_array().unwrap().len(), 1);
    assert_eq!(dry_run["packages"].as_array().unwrap().len(), 3);
    assert_eq!(dry_run["devices"][0]["moves"], "unix");
    let (_, imported) = server.import(&world, &[]);
    assert_eq!(imported["assignments"], 2, "{imported}");
    assert_eq!(imported["results"], 2, "{imported}");
    assert_eq!(imported["activated"].as_array().unwrap().len(), 3);
    let (_, again) = server.import(&world, &[]);
    assert_eq!(again["commit"], Value::Null, "{again}");

    let local = world.state();
    let token = local.ocs_path_token.reveal();
    let here = format!("https://{}/ocsinventory/{token}", local.edge);
    let config = folder.path().join("agent.cfg");
    fs::write(&config, format!("server={}\n", server.address())).unwrap();
    move_agent(&world, &state, &config, &here);
    let agent = agent.with_server(here, local.ca_file.clone());
    let announced = agent.check_in().announced();
    assert_eq!(announced, BTreeMap::from([(id(OPEN), false)]));
    let shown = world.device_state_of(agent.id());
    let outcome = |package: u32| {
        let mut finished = shown.finished.iter();
        let found = finished.find(|it| it.package == id(package)).unwrap();
        (found.outcome, found.code.to_string())
    };
    assert_eq!(outcome(DONE), (Outcome::Succeeded, "SUCCESS_0".to_owned()));
    assert_eq!(outcome(FAILED), (Outcome::Failed, "ERR_EXECUTE".to_owned()));
    assert_eq!(outcome(OPEN), (Outcome::Succeeded, "SUCCESS".to_owned()));
    assert_eq!(fs::read_to_string(&done_runs).unwrap(), "run\n");
    assert_eq!(fs::read_to_string(&open_runs).unwrap(), "run\n");

    move_agent(&world, &state, &config, &server.address());
    let agent = agent.with_server(server.address(), certificate);
    // The package that Packcast has deployed is in the history of the agent, which ignores it.
    agent.check_in();
    server.publish_command(LATER, "Later 1.0", "true");
    server.assign(LATER, computer);
    let announced = agent.check_in().announced();
    assert_eq!(announced, BTreeMap::from([(id(LATER), false)]));
    let results = server.sql("SELECT TVALUE FROM devices WHERE NAME = 'DOWNLOAD' AND IVALUE = (SELECT ID FROM download_enable WHERE FILEID = '1700000005')");
    assert_eq!(results, "SUCCESS\n");
    assert_eq!(fs::read_to_string(&done_runs).unwrap(), "run\n");
    assert_eq!(fs::read_to_string(&open_runs).unwrap(), "run\n");
}
