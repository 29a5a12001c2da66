//! Debian's OCS server, with a database of its own, and packages that the OCS console has built.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use packcast_protocol::PackageId;
use packcast_testing::skip::{Missing, skip};
use serde_json::{Value, json};

use crate::process::{Ran, text};
use crate::world::World;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ocs-server");
const CONSOLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/ocs-console.php");

/// The row of the computer of the only agent in `hardware`.
pub const COMPUTER: &str = "(SELECT ID FROM hardware WHERE DEVICEID NOT LIKE '\\_%')";

/// A running OCS server. It stops when it is dropped.
#[derive(Debug)]
pub struct OcsServer {
    folder: PathBuf,
    port: String,
}

/// The form of the OCS console for a package.
#[derive(Clone, Debug)]
pub struct ConsoleForm(Value);

impl ConsoleForm {
    /// Returns a form of one of the kinds that the console offers, such as `bashscriptopt`.
    pub fn new(kind: &str, name: &str, system: &str) -> Self {
        Self(json!({
            "FORMTYPE": kind,
            "NAME": name,
            "DESCRIPTION": "for the test",
            "os_selected": system,
            "arguments": "",
        }))
    }

    /// Returns the form for any action, whose command, name or path the last field has.
    pub fn custom(name: &str, action: &str, field: &str) -> Self {
        let form = Self::new("custompackageopt", name, "linux").with("PROTO", "HTTPS");
        let form = form.with("PRI", "1").with("ACT", action);
        let form = form.with("pathfile", field).with("NOTIFY_USER", "0");
        let form = form.with("NOTIFY_TEXT", "").with("NOTIFY_COUNTDOWN", "");
        let form = form
            .with("NOTIFY_CAN_ABORT", "0")
            .with("NOTIFY_CAN_DELAY", "0");
        form.with("NEED_DONE_ACTION", "0")
            .with("NEED_DONE_ACTION_TEXT", "")
    }

    /// Fills a field of the form. The field `file` is the path of an uploaded file.
    #[must_use]
    pub fn with(mut self, field: &str, value: &str) -> Self {
        self.0[field] = value.into();
        self
    }
}

impl OcsServer {
    /// Starts a server without packages and computers, whose agents make short pauses. Returns `None`
    /// if the server is not installed; the test is then skipped.
    ///
    /// # Panics
    /// As [`skip`] does.
    pub fn start(folder: PathBuf) -> Option<Self> {
        let server = Self::start_with(folder, 1)?;
        server.sql(
            "DELETE FROM devices; DELETE FROM download_enable; DELETE FROM download_available;
             DELETE FROM hardware; DELETE FROM accountinfo;
             UPDATE config SET IVALUE = 1 WHERE NAME IN ('DOWNLOAD_CYCLE_LATENCY',
               'DOWNLOAD_FRAG_LATENCY', 'DOWNLOAD_PERIOD_LATENCY', 'PROLOG_FREQ')",
        );
        Some(server)
    }

    /// Starts a server with this number of computers.
    ///
    /// # Panics
    /// As [`skip`] does.
    pub fn start_with(folder: PathBuf, computers: u32) -> Option<Self> {
        let missing = Ran::of(Command::new(SCRIPT).arg("missing"));
        if !missing.stdout.is_empty() {
            skip(Missing::Optional("OCS server"));
            return None;
        }
        let mut up = Command::new(SCRIPT);
        up.arg("up").arg(&folder).arg(computers.to_string());
        let address = Ran::of(&mut up).expect_code(0).stdout;
        let port = address.trim().rsplit(':').next();
        let port = port.and_then(|rest| rest.split('/').next());
        let port = port.expect("the address has a port").to_owned();
        Some(Self { folder, port })
    }

    /// Returns the address for agents.
    pub fn address(&self) -> String {
        format!("https://localhost:{}/ocsinventory", self.port)
    }

    /// Returns the address of the download directory.
    pub fn download_address(&self) -> String {
        format!("https://localhost:{}/download", self.port)
    }

    /// Returns the certificate authority of the web server and of the database.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// Returns the address of the database for `root`, through its socket.
    pub fn database(&self) -> String {
        let socket = self.folder.join("mariadb.sock");
        format!("mysql://root@localhost/ocsweb?socket={}", text(&socket))
    }

    /// Returns the address of a database of the server over TCP.
    pub fn database_over_tcp(&self, user: &str, database: &str) -> String {
        let port = fs::read_to_string(self.folder.join("mariadb.port"));
        let port = port.expect("the script writes the port");
        format!("mysql://{user}@localhost:{}/{database}", port.trim())
    }

    /// Performs statements, and returns the rows of queries.
    pub fn sql(&self, statements: &str) -> String {
        let socket = self.folder.join("mariadb.sock");
        let mut client = Command::new("mariadb");
        client
            .arg("--no-defaults")
            .arg(format!("--socket={}", text(&socket)))
            .args(["--user=root", "--skip-column-names", "ocsweb", "--execute"])
            .arg(statements);
        Ran::of(&mut client).expect_code(0).stdout
    }

    pub fn downloads(&self) -> PathBuf {
        self.folder.join("download")
    }

    /// Returns a file of a package in the download directory.
    pub fn file(&self, package: PackageId, name: &str) -> PathBuf {
        self.downloads().join(package.to_string()).join(name)
    }

    /// Builds packages with the classes of the OCS console, and activates them.
    pub fn publish(&self, forms: &[ConsoleForm]) -> Vec<PackageId> {
        let forms: Vec<&Value> = forms.iter().map(|form| &form.0).collect();
        let forms = serde_json::to_vec(&forms).expect("forms are JSON");
        let mut builder = Command::new("php")
            .arg(CONSOLE)
            .arg(console())
            .arg(&self.folder)
            .arg(format!("localhost:{}/download", self.port))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server needs php, too");
        let mut input = builder.stdin.take().expect("the input is piped");
        input.write_all(&forms).expect("php reads its input");
        drop(input);
        let output = builder.wait_with_output().expect("php can be waited for");
        let ran = Ran::from(output).expect_code(0);
        let ids = ran.stdout.lines().map(str::parse);
        let ids: Result<Vec<PackageId>, _> = ids.collect();
        ids.unwrap_or_else(|error| panic!("{error}: {ran:#?}"))
    }

    /// Assigns a package to the row of a computer or a group.
    pub fn assign(&self, package: PackageId, row: &str) {
        self.sql(&format!(
            "INSERT INTO devices (HARDWARE_ID, NAME, IVALUE, TVALUE)
               SELECT {row}, 'DOWNLOAD', ID, NULL FROM download_enable WHERE FILEID = '{package}'"
        ));
    }

    /// Creates a group with all computers as its members. A query makes it a dynamic group.
    pub fn group(&self, row: u32, name: &str, query: Option<&str>) {
        let (request, is_static) = (query.unwrap_or_default(), u8::from(query.is_none()));
        self.sql(&format!(
            "INSERT INTO hardware (ID, DEVICEID, NAME) VALUES ({row}, '_SYSTEMGROUP_', '{name}');
             INSERT INTO `groups` (HARDWARE_ID, REQUEST, XMLDEF) VALUES ({row}, '{request}', '');
             INSERT INTO groups_cache (GROUP_ID, HARDWARE_ID, STATIC)
               SELECT {row}, ID, {is_static} FROM hardware WHERE DEVICEID NOT LIKE '\\_%'"
        ));
    }

    /// Returns the result of a package on the computer of the only agent, as the server has it.
    pub fn result(&self, package: PackageId) -> String {
        let rows = self.sql(&format!(
            "SELECT COALESCE(TVALUE, '') FROM devices WHERE NAME = 'DOWNLOAD' AND HARDWARE_ID = {COMPUTER}
               AND IVALUE = (SELECT ID FROM download_enable WHERE FILEID = '{package}')"
        ));
        rows.trim_end().to_owned()
    }

    /// Imports through the socket of the database and the download directory. Returns the exit code and
    /// the result.
    pub fn import(&self, world: &World, options: &[&str]) -> (i32, Value) {
        let (database, downloads) = (self.database(), self.downloads());
        let from = ["--database", &database, "--downloads", text(&downloads)];
        import(world, &[&from, options].concat())
    }
}

/// Imports with these options. Returns the exit code and the result.
pub fn import(world: &World, options: &[&str]) -> (i32, Value) {
    let command = ["import", "ocs", "--format", "json"];
    let ran = Ran::of(&mut world.command(&[&command, options].concat()));
    let result = serde_json::from_str(&ran.stdout);
    let result = result.unwrap_or_else(|error| panic!("{error}: {ran:#?}"));
    (ran.code.expect("the command ends by itself"), result)
}

/// Returns the folder in which `ocs-server install` has put the files of the console.
fn console() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in the workspace");
    let target = root.join(target.unwrap_or_else(|| "target".into()));
    target.join("tools/ocsinventory-console")
}

impl Drop for OcsServer {
    fn drop(&mut self) {
        // The folder is temporary in any case.
        let _ = Command::new(SCRIPT).arg("down").arg(&self.folder).status();
    }
}
