//! The help of the agent, its manual and its completion scripts.

use std::process::{Command, Output};

use insta::assert_snapshot;

fn agent(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_packcast-agent"));
    command.args(arguments).env("COLUMNS", "100");
    command.env_remove("PACKCAST_AGENT_CONFIG");
    command.output().unwrap()
}

/// The options of every command, as the help of each command shows them.
const OPTIONS_OF_EVERY_COMMAND: [&str; 2] = [
    "      --config <CONFIG>
          Read the configuration from this file
          
          [env: PACKCAST_AGENT_CONFIG=]
          [default: /etc/packcast/agent.toml]

",
    "      --format <FORMAT>
          Write data in this form

          Possible values:
          - text: Lines for people; `run` writes them to standard error
          - json: JSON; `run` writes one event per line
          
          [default: text]

",
];

/// Returns the help of a command without the options of every command, which the help of the program
/// shows.
fn help_of(command: &str) -> String {
    let mut text = help(&[command]);
    for option in OPTIONS_OF_EVERY_COMMAND {
        assert!(text.contains(option), "{text}");
        text = text.replace(option, "");
    }
    text
}

/// Returns the help of a command, on which all systems agree.
fn help(command: &[&str]) -> String {
    let output = agent(&[command, &["--help"]].concat());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let windows = r"C:\ProgramData\Packcast\agent.toml";
    text.replace(windows, "/etc/packcast/agent.toml")
}

#[test]
fn the_program() {
    assert_snapshot!(help(&[]), @r"
    Deploys the packages that a Packcast target assigns to this device

    Exit codes: 0 done (a failed package is reported, and counts as done), 1 failed, 2 wrong usage or
    configuration, 75 the server is unreachable, try again later.

    Usage: packcast-agent [OPTIONS] <COMMAND>

    Commands:
      run          Check in and deploy, again and again
      enrol        Write the configuration, check it, and make the first check-in
      check        Check the configuration, this machine, and the way to the server
      status       Show installed packages, packages under way or waiting, and the check-ins of the
                   service
      check-in     Ask the running service to check in now, and show its progress
      logs         Show the log of the service
      id           Show this device's id, and create it at first use
      prepare      Create the folders of configuration and state, which other users cannot enter
      completions  Print the completion script for a shell
      man          Write the manual pages
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <CONFIG>
              Read the configuration from this file
              
              [env: PACKCAST_AGENT_CONFIG=]
              [default: /etc/packcast/agent.toml]

          --format <FORMAT>
              Write data in this form

              Possible values:
              - text: Lines for people; `run` writes them to standard error
              - json: JSON; `run` writes one event per line
              
              [default: text]

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Examples:
      packcast-agent enrol --server https://packcast.example.net \
          --trust TRUST_LINE --token-file /etc/packcast/enrolment-token
      systemctl enable --now packcast-agent
      packcast-agent status
      packcast-agent check-in
      packcast-agent check
      packcast-agent logs --follow
    ");
}

#[test]
fn run() {
    assert_snapshot!(help_of("run"), @"
    Check in and deploy, again and again

    SIGTERM and Ctrl-C stop the agent after the package under way. Under systemd with 'Type=notify' the
    agent reports its readiness, its work and signs of life, and SIGHUP lets it read the configuration
    again. Without systemd, SIGHUP stops the agent, too.

    Usage: packcast-agent run [OPTIONS]

    Options:
          --once
              Check in once, deploy the announced packages, and exit

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent run
      packcast-agent run --once --format json
    ");
}

#[test]
fn enrol() {
    assert_snapshot!(help_of("enrol"), @r"
    Write the configuration, check it, and make the first check-in

    Creates the configuration file and the folders, which other users cannot read or enter. An existing
    file keeps its comments and other options; an option with another value is changed only with
    --force. The first check-in enrols the device, and begins no package: the service does.

    Usage: packcast-agent enrol [OPTIONS] --server <URL> --trust <LINE>

    Options:
          --server <URL>
              Address of the target, with 'https://'

          --trust <LINE>
              Trust line of the target, as 'packcast keys show' prints it

          --token-file <FILE>
              File with the enrolment token, which only the agent's user can read

          --ca-file <FILE>
              CA certificates (PEM) to trust instead of the system's

          --state-dir <DIR>
              Folder for identity, downloads, journal and results

          --site <TEXT>
              Label of the device's site, for lists

          --force
              Change options that have other values in an existing configuration

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent enrol --server https://packcast.example.net \
          --trust TRUST_LINE --token-file /etc/packcast/enrolment-token
      packcast-agent enrol --server https://new.example.net --trust TRUST_LINE --force

    'packcast agent-config' prints the server and the trust line of a target, and 'packcast token'
    creates an enrolment token.
    ");
}

#[test]
fn check() {
    assert_snapshot!(help_of("check"), @"
    Check the configuration, this machine, and the way to the server

    Each line begins with 'ok', or with 'problem' and ends with the next step. The checks are:
    configuration, its rights, state folder, disk space, state, enrolment, proxy, name resolution,
    connection (TCP and TLS), server and clock. The command enrols nothing, and can run beside the
    service. Without a proxy in the environment, it uses that of the service, from the file agent.env
    beside the configuration. The exit code is 1 if there is a problem.

    Usage: packcast-agent check [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent check
      packcast-agent check --format json | jq -r '.checks[] | select(.ok | not) | .detail'
    ");
}

#[test]
fn status() {
    assert_snapshot!(help_of("status"), @"
    Show installed packages, packages under way or waiting, and the check-ins of the service

    Usage: packcast-agent status [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent status
      packcast-agent status --format json | jq .service
    ");
}

#[test]
fn check_in() {
    assert_snapshot!(help_of("check-in"), @"
    Ask the running service to check in now, and show its progress

    The service checks in, deploys the announced packages, and reports the results. If it already
    deploys a package, it checks in after that. Ctrl-C ends this command, not the work of the service.

    Usage: packcast-agent check-in [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent check-in
      packcast-agent check-in --format json | jq -r .event
    ");
}

#[test]
fn logs() {
    assert_snapshot!(help_of("logs"), @"
    Show the log of the service

    Runs journalctl for the unit packcast-agent. Without systemd, the command says where the log is. On
    Windows, it reads the file agent.log beside the configuration.

    Usage: packcast-agent logs [OPTIONS]

    Options:
      -n, --lines <COUNT>
              Show this many of the newest lines
              
              [default: 100]

      -f, --follow
              Wait for further lines, until Ctrl-C

      -h, --help
              Print help (see a summary with '-h')

    Examples:
      packcast-agent logs
      packcast-agent logs --lines 500
      packcast-agent logs --follow
    ");
}

#[test]
fn prepare() {
    assert_snapshot!(help_of("prepare"), @"
    Create the folders of configuration and state, which other users cannot enter

    Without a configuration file, the state folder is the default one. Existing folders keep their
    content. The command changes nothing that is in order, so a package can run it at each upgrade.

    Usage: packcast-agent prepare [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')
    ");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man1");
    let written = agent(&["man", folder.to_str().unwrap()]);
    assert!(written.status.success());
    let pages = std::fs::read_dir(&folder).unwrap();
    let names = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    assert_snapshot!(names.join("\n"), @"
    packcast-agent-check-in.1
    packcast-agent-check.1
    packcast-agent-completions.1
    packcast-agent-enrol.1
    packcast-agent-id.1
    packcast-agent-logs.1
    packcast-agent-man.1
    packcast-agent-prepare.1
    packcast-agent-run.1
    packcast-agent-status.1
    packcast-agent.1
    ");
    let page = std::fs::read_to_string(folder.join("packcast-agent-enrol.1")).unwrap();
    assert!(page.contains("Address of the target"), "{page}");
    let file = folder.join("packcast-agent.1/x");
    let refused = agent(&["man", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = agent(&["completions", shell]);
        assert!(output.status.success());
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["enrol", "check-in", "token-file"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}
