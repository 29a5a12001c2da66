//! Commands for the person at the machine: `prepare`, `check` and `enrol`.
#![cfg(unix)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use insta::assert_snapshot;
use packcast_protocol::UnixTime;

use crate::lab::Lab;
use crate::packages::{execute, package};
use crate::publisher::unix_now;

fn text(lab: &Lab, output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let text = lab.anonymous(&(text(&output.stdout) + &text(&output.stderr)));
    let free = |line: &str| line.starts_with("ok       disk space");
    let lines = text.lines().map(|line| match line {
        line if free(line) => "ok       disk space: SPACE free",
        line if line.starts_with("ok       clock") => "ok       clock: CLOCK",
        line if line.starts_with("now holding commit") => "now holding commit NUMBER",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the lines of a check with problems.
fn problems(lab: &Lab) -> String {
    let output = lab.agent(&["check"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(lab, &output));
    let text = text(lab, &output);
    let problems = text.lines().filter(|line| !line.starts_with("ok"));
    problems.collect::<Vec<_>>().join("\n")
}

fn set_mode(lab: &Lab, name: &str, mode: u32) {
    fs::set_permissions(lab.file(name), Permissions::from_mode(mode)).unwrap();
}

/// Enrols with the server of the lab, and further arguments.
fn enrol(lab: &Lab, arguments: &[&str]) -> Output {
    let server = format!("https://{}", lab.edge.address);
    let [state, ca, token] = ["state", "ca.pem", "token"].map(|name| {
        let path = lab.file(name);
        path.to_str().unwrap().to_owned()
    });
    let trust = lab.trust();
    let given = [
        "enrol",
        "--server",
        &server,
        "--trust",
        &trust,
        "--state-dir",
        &state,
        "--ca-file",
        &ca,
        "--token-file",
        &token,
    ];
    lab.agent(&[&given, arguments].concat())
}

/// Returns a lab without a configuration.
fn unconfigured() -> Lab {
    let lab = Lab::new();
    fs::remove_file(lab.file("agent.toml")).unwrap();
    lab
}

#[test]
fn commands_use_the_proxies_of_the_service() {
    let lab = Lab::new();
    let proxy = lab.behind_a_proxy();
    let file = lab.file("agent.env");
    fs::write(&file, format!("# Berne\nHTTPS_PROXY=\"{}\"\n", proxy.url)).unwrap();
    let check = |variables: &[(&str, &str)]| {
        let mut command = lab.command(&["check"]);
        for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = check(&[]);
    assert_eq!(code, Some(0), "{text}");
    let expected = format!(", as for the service, from {}\n", file.display());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(proxy.asked().len(), 1);
    // The environment of the command takes precedence.
    let (code, text) = check(&[("HTTPS_PROXY", "http://127.0.0.1:1")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("127.0.0.1:1, from the environment of this command"),
        "{text}"
    );
    assert_eq!(proxy.asked().len(), 1);
}

#[test]
fn enrol_writes_the_label_of_the_site() {
    let lab = unconfigured();
    let output = enrol(&lab, &["--site", "Bern"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&lab, &output));
    let config = fs::read_to_string(lab.file("agent.toml")).unwrap();
    assert!(config.contains("\nsite = \"Bern\"\n"), "{config}");
    let output = enrol(&lab, &["--site", "a\tb"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&lab, &output));
}

#[test]
fn everything_in_order_is_ok() {
    let lab = Lab::new();
    let output = lab.agent(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    assert_snapshot!(text(&lab, &output), @"
    ok       configuration: LAB/agent.toml for target TARGET
    ok       rights of the configuration: only root can change the file
    ok       state folder: LAB/state, which other users cannot enter
    ok       disk space: SPACE free
    ok       state: no identity yet: the first check-in creates it
    ok       enrolment: the first check-in sends the enrolment token
    ok       proxy: none in the environment of this command, which the service does not have
    ok       name resolution: addresses of 127.0.0.1: 1
    ok       connection: TCP and TLS
    ok       server: a check-in function answers
    ok       clock: CLOCK
    ");
    assert!(
        !lab.state().join("identity").exists(),
        "a golden image stays without an identity"
    );
    assert_eq!(lab.world().enrolments, 0);
    assert_eq!(lab.world().unsigned, 1);
    assert_eq!(lab.run().code, 0);
    // The token is needed no more.
    fs::remove_file(lab.file("token")).unwrap();
    let output = lab.agent(&["check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], true);
    let checks = json["checks"].as_array().unwrap();
    let names = checks.iter().map(|check| check["check"].as_str().unwrap());
    assert_snapshot!(names.collect::<Vec<_>>().join(", "), @"configuration, rights of the configuration, state folder, disk space, state, enrolment, proxy, name resolution, connection, server, clock");
}

#[test]
fn each_problem_names_the_next_step() {
    let lab = Lab::new();
    let mut found = Vec::new();
    set_mode(&lab, "token", 0o644);
    found.push(problems(&lab));
    lab.configure("");
    fs::remove_file(lab.file("token")).unwrap();
    found.push(problems(&lab));
    lab.configure("");
    set_mode(&lab, "agent.toml", 0o666);
    found.push(problems(&lab));
    let refused = lab.run();
    assert_eq!(refused.code, 2);
    assert!(
        refused
            .stderr
            .contains("other users can change configuration")
    );
    set_mode(&lab, "agent.toml", 0o600);
    lab.world().clock = Some(UnixTime(unix_now() + 400 * 86_400));
    let clock = problems(&lab);
    assert!(clock.starts_with("problem  clock: this device's clock shows 20"));
    assert!(clock.ends_with(": set the device's clock"), "{clock}");
    lab.world().clock = None;
    lab.world().statuses = [404].into();
    found.push(problems(&lab));
    lab.world().statuses = [503].into();
    found.push(problems(&lab));
    assert_snapshot!(found.join("\n"), @"
    problem  enrolment: other users can read enrolment token LAB/token, or one of them owns it: protect it with `chown AGENT FILE; chmod 600 FILE`
    problem  enrolment: cannot read enrolment token LAB/token: write the target's token there, or correct enrolment_token_file in the configuration: No such file or directory (os error 2)
    problem  rights of the configuration: other users can change configuration LAB/agent.toml, or one of them owns it: protect it with `chown AGENT FILE; chmod 600 FILE`
    problem  server: the answer is not from a check-in function (status 404): check `server` in the configuration
    problem  server: the server is unavailable (status 503): try again later
    ");
}

#[test]
fn an_unreachable_server_and_an_unknown_name_are_told_apart() {
    let lab = Lab::new();
    let dead = lab.add_dead();
    let config = fs::read_to_string(lab.file("agent.toml")).unwrap();
    let check = |server: &str| {
        let address = lab.edge.address.to_string();
        fs::write(lab.file("agent.toml"), config.replace(&address, server)).unwrap();
        problems(&lab)
    };
    let address = dead.location.to_string();
    let address = address.trim_end_matches("/objects");
    let refused = check(address);
    assert_snapshot!(refused, @"problem  connection: connection refused: let this machine reach 127.0.0.1 by HTTPS, or set HTTPS_PROXY in the environment of the agent");
    let unknown = check("packcast.invalid");
    assert!(unknown.starts_with("problem  name resolution: cannot resolve packcast.invalid: "));
    assert!(
        unknown.ends_with(
            ": correct `server` in the configuration, or the DNS servers of this machine"
        )
    );
    assert!(!unknown.contains("connection"), "{unknown}");
    let invalid = check("packcast.invalid/path");
    assert!(invalid.starts_with("problem  configuration: invalid configuration"));
    fs::write(lab.file("agent.toml"), config.replace("ca.pem", "token")).unwrap();
    assert!(problems(&lab).contains("no usable certificate"));
}

#[test]
fn prepare_creates_the_folders_of_a_configuration() {
    let lab = Lab::new();
    fs::remove_dir_all(lab.state()).unwrap();
    for _ in 0..2 {
        let output = lab.agent(&["prepare"]);
        assert!(output.status.success(), "{}", text(&lab, &output));
        let mode = fs::metadata(lab.state()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    assert_eq!(fs::read_dir(lab.state()).unwrap().count(), 0);
    fs::write(lab.file("agent.toml"), "server = 1").unwrap();
    assert_eq!(lab.agent(&["prepare"]).status.code(), Some(2));
}

#[test]
fn a_new_device_enrols_with_one_command() {
    let lab = unconfigured();
    lab.assign(execute("true"), package(1, None));
    let output = enrol(&lab, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&lab, &output));
    let id = String::from_utf8(lab.agent(&["id"]).stdout).unwrap();
    let shown = text(&lab, &output).replace(id.trim(), "DEVICE");
    let systemd = "start the service with `systemctl enable --now packcast-agent`";
    let shown = shown.replace(systemd, "let the system start `packcast-agent run` as root");
    assert_snapshot!(shown, @"
    ok       configuration: LAB/agent.toml for target TARGET
    ok       rights of the configuration: only root can change the file
    ok       state folder: LAB/state, which other users cannot enter
    ok       disk space: SPACE free
    ok       state: no identity yet: the first check-in creates it
    ok       enrolment: the first check-in sends the enrolment token
    ok       proxy: none in the environment of this command, which the service does not have
    ok       name resolution: addresses of 127.0.0.1: 1
    ok       connection: TCP and TLS
    ok       server: a check-in function answers
    ok       clock: CLOCK
    wrote configuration LAB/agent.toml
    now trusting the keys of key list 1
    now holding commit NUMBER
    checked in, tasks: 1, next in 3600 s
    enrolled as DEVICE
    let the system start `packcast-agent run` as root
    ");
    assert_eq!(lab.world().enrolments, 1);
    assert!(lab.world().begins.is_empty(), "the command begins nothing");
    let config = fs::read_to_string(lab.file("agent.toml")).unwrap();
    let config = lab.anonymous(&config.replace(&lab.trust(), "TRUST"));
    assert_snapshot!(config, @r#"
    server = "https://EDGE"
    trust = "TRUST"
    state_dir = "LAB/state"
    enrolment_token_file = "LAB/token"
    ca_file = "LAB/ca.pem"
    "#);
    let mode = fs::metadata(lab.file("agent.toml")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    // The service deploys the package.
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    // Once more, as an automation does.
    let again = enrol(&lab, &["--format", "json"]);
    assert_eq!(again.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(json["device"], id.trim());
    assert_eq!(lab.world().enrolments, 1);
}

#[test]
fn an_existing_configuration_is_changed_only_with_force() {
    let lab = Lab::new();
    let path = lab.file("agent.toml");
    let before = format!(
        "# by hand\nserver = \"https://old.example\"\nparallel_downloads = 2\nstate_dir = {:?}\n",
        lab.state()
    );
    fs::write(&path, &before).unwrap();
    let refused = enrol(&lab, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert_snapshot!(text(&lab, &refused), @"error: cannot change configuration LAB/agent.toml: it has other values of server: pass --force to change them");
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(enrol(&lab, &["--force"]).status.success());
    let after = fs::read_to_string(&path).unwrap();
    for kept in ["# by hand\n", "parallel_downloads = 2\n"] {
        assert!(after.contains(kept), "{after}");
    }
    assert!(!after.contains("old.example"), "{after}");
}

#[test]
fn nothing_is_written_before_the_configuration_is_valid() {
    let lab = unconfigured();
    let check = |arguments: &[&str], expected: &str| {
        let output = enrol(&lab, arguments);
        assert_eq!(output.status.code(), Some(2), "{}", text(&lab, &output));
        let text = text(&lab, &output);
        assert!(text.contains(expected), "{text}");
        assert!(!lab.file("agent.toml").exists());
    };
    set_mode(&lab, "token", 0o644);
    check(&[], "other users can read enrolment token");
    set_mode(&lab, "token", 0o600);
    let other = ["enrol", "--server", "http://h", "--trust", "x"];
    assert_eq!(lab.agent(&other).status.code(), Some(2));
    assert!(!lab.file("agent.toml").exists());
    fs::write(lab.file("ca.pem"), "").unwrap();
    let output = enrol(&lab, &[]);
    assert!(text(&lab, &output).contains("no usable certificate"));
    assert!(!lab.file("agent.toml").exists());
}

#[test]
fn a_problem_with_the_server_leaves_the_configuration_as_it_is() {
    let lab = unconfigured();
    let path = lab.file("agent.toml");
    let refused = |arguments: &[&str]| {
        lab.world().statuses = [404].into();
        let output = enrol(&lab, arguments);
        assert_eq!(output.status.code(), Some(1));
        let text = text(&lab, &output);
        text.lines().last().unwrap().to_owned()
    };
    let message = refused(&[]);
    assert_snapshot!(message, @"error: did not write configuration LAB/agent.toml, because the checks found a problem: correct the options or this machine, and run the command again");
    assert!(!path.exists());
    assert_eq!(lab.world().enrolments, 0);
    let before = format!(
        "server = \"https://old.example\"\nstate_dir = {:?}\n",
        lab.state()
    );
    fs::write(&path, &before).unwrap();
    assert_eq!(refused(&["--force"]), message);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert!(enrol(&lab, &["--force"]).status.success());
}

#[test]
fn another_problem_ends_the_enrolment_with_the_configuration_in_place() {
    let lab = unconfigured();
    lab.world().clock = Some(UnixTime(unix_now() + 400 * 86_400));
    let output = enrol(&lab, &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&lab, &output);
    let last = text.lines().last().unwrap();
    assert_snapshot!(last, @"error: wrote configuration LAB/agent.toml, but the checks found a problem: correct the configuration or this machine, and run the command again");
    assert_eq!(lab.world().enrolments, 0);
    lab.world().clock = None;
    assert!(enrol(&lab, &[]).status.success());
}

#[test]
fn a_link_in_the_place_of_the_configuration_is_refused() {
    let lab = unconfigured();
    let (path, target) = (lab.file("agent.toml"), lab.file("target.toml"));
    std::os::unix::fs::symlink(&target, &path).unwrap();
    let output = enrol(&lab, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_snapshot!(text(&lab, &output), @"error: configuration LAB/agent.toml is a symbolic link: pass its target with --config");
    assert!(!target.exists());
}
