//! Connections to the database of an OCS server.

use std::process::Command;

use packcast_tests::ocs_server::OcsServer;
use packcast_tests::process::{Ran, text};
use packcast_tests::terminal::OnTerminal;
use packcast_tests::world::World;

use crate::PROGRAM;

const PASSWORD: &str = "a long password";

/// A server with a user of its database who can only read, and needs TLS.
struct Connecting {
    world: World,
    server: OcsServer,
    _folder: tempfile::TempDir,
}

impl Connecting {
    fn begin() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let server = OcsServer::start(folder.path().join("server"))?;
        server.sql(&format!(
            "CREATE USER packcast@localhost IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;
             GRANT SELECT ON ocsweb.* TO packcast@localhost"
        ));
        Some(Self {
            world: World::start(PROGRAM),
            server,
            _folder: folder,
        })
    }

    /// Returns the command of a dry run over TCP.
    fn dry_run(&self, database: &str, options: &[&str]) -> Command {
        let database = self.server.database_over_tcp("packcast", database);
        let downloads = self.server.downloads();
        let mut command = self.world.command(&["import", "ocs", "--dry-run"]);
        command.args(["--database", &database, "--downloads", text(&downloads)]);
        command.args(options);
        command
    }

    fn authority(&self) -> String {
        text(&self.server.authority()).to_owned()
    }
}

#[test]
fn a_database_is_read_over_tls_with_a_private_authority() {
    let Some(connecting) = Connecting::begin() else {
        return;
    };
    let authority = connecting.authority();
    let tls = ["--tls-ca", &authority];
    let variable = "PACKCAST_OCS_PASSWORD";
    let with_variable = |options: &[&str], password: &str, code: i32| {
        let mut command = connecting.dry_run("ocsweb", options);
        let ran = Ran::of(command.env(variable, password)).expect_code(code);
        ran.stderr
    };
    with_variable(&tls, PASSWORD, 0);

    let file = connecting
        .world
        .file("password", format!("{PASSWORD}\n").as_bytes());
    let options = [&tls[..], &["--password-file", &file]].concat();
    let _ = Ran::of(&mut connecting.dry_run("ocsweb", &options)).expect_code(0);

    let mut terminal = OnTerminal::start(connecting.dry_run("ocsweb", &tls));
    terminal.expect("Password of packcast at localhost:");
    terminal.press(&format!("{PASSWORD}\r"));
    let _ = terminal.end().expect_code(0);

    let wrong = with_variable(&tls, "wrong", 1);
    let denied = "cannot connect to the database at localhost:";
    assert!(
        wrong.contains(denied) && wrong.contains("wrong password, or no permission"),
        "{wrong}"
    );
    assert!(wrong.contains("--password-file"), "{wrong}");
    assert!(!wrong.contains("\"wrong\""), "{wrong}");

    // The user may connect with TLS only.
    let plain = with_variable(&["--without-tls"], PASSWORD, 1);
    assert!(
        plain.contains("wrong password, or no permission"),
        "{plain}"
    );

    let other = connecting
        .world
        .file("other.pem", other_authority().as_bytes());
    let untrusted = with_variable(&["--tls-ca", &other], PASSWORD, 1);
    assert!(untrusted.contains("needs --tls-ca"), "{untrusted}");
}

/// Returns the certificate of an authority that has issued no certificate of the server.
fn other_authority() -> String {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-nodes",
            "-subj",
            "/CN=Other",
        ])
        .args([
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-keyout",
            "/dev/null",
        ])
        .output();
    Ran::from(output.unwrap()).expect_code(0).stdout
}

#[test]
fn other_databases_are_refused_by_name() {
    let Some(connecting) = Connecting::begin() else {
        return;
    };
    let (world, server) = (&connecting.world, &connecting.server);
    let downloads = server.downloads();
    let refused = |database: &str| {
        let database = server.database_over_tcp("root", database);
        let from = ["--database", &database, "--downloads", text(&downloads)];
        world.refused(1, &[&["import", "ocs", "--dry-run"], &from[..]].concat())
    };
    let unknown = refused("none");
    assert!(unknown.contains(": it does not exist"), "{unknown}");
    assert!(
        unknown.contains("the default of OCS Inventory is ocsweb"),
        "{unknown}"
    );
    server.sql("CREATE DATABASE empty");
    let empty = refused("empty");
    assert!(
        empty.contains("cannot read database empty: it has no tables of an OCS server"),
        "{empty}"
    );
}
