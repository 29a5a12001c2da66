//! The `--help` of every command, in 80 columns.

use std::collections::BTreeSet;

use clap::Command;
use insta::assert_snapshot;

use crate::cli;

/// Returns the long help of the command at `path`, such as `keys rotate`. For subcommands, the
/// global options are compared with those of the program, and left out.
fn help(path: &str) -> String {
    let whole = whole_help(path);
    if path.is_empty() {
        return whole;
    }
    let program = whole_help("");
    let start = program.find(GLOBAL).unwrap();
    let end = program.find("\nExit codes").unwrap();
    let global = program[start..end].trim_end();
    assert!(whole.contains(global), "{whole}");
    whole.replace(global, "Global options: …")
}

const GLOBAL: &str = "Global options:";

fn whole_help(path: &str) -> String {
    // Environment variables of the machine that runs the test must not appear.
    let mut cli = ["target", "config"]
        .into_iter()
        .fold(cli().term_width(80), |cli, name| {
            cli.mut_arg(name, |arg| arg.hide_env_values(true))
        });
    cli.build();
    let command = path.split_whitespace().fold(&mut cli, |command, name| {
        command.find_subcommand_mut(name).unwrap()
    });
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// The commands that have a snapshot, with their tests.
const TESTS: [(&str, fn()); 80] = [
    ("", packcast),
    ("demo", demo),
    ("local", local),
    ("keys", keys),
    ("keys generate", keys_generate),
    ("keys show", keys_show),
    ("keys accept-trust", keys_accept_trust),
    ("keys accept-head", keys_accept_head),
    ("keys rotate", keys_rotate),
    ("keys replace", keys_replace),
    ("keys trust", keys_trust),
    ("keys revoke", keys_revoke),
    ("keys list", keys_list),
    ("unlock", unlock),
    ("lock", lock),
    ("location", location),
    ("location add", location_add),
    ("location remove", location_remove),
    ("location list", location_list),
    ("location check", location_check),
    ("publish", publish),
    ("publish-agent", publish_agent),
    ("verify", verify),
    ("activate", activate),
    ("deactivate", deactivate),
    ("assign", assign),
    ("unassign", unassign),
    ("rollout", rollout),
    ("rollout start", rollout_start),
    ("rollout list", rollout_list),
    ("rollout show", rollout_show),
    ("rollout watch", rollout_watch),
    ("rollout pause", rollout_pause),
    ("rollout resume", rollout_resume),
    ("rollout promote", rollout_promote),
    ("rollout end", rollout_end),
    ("rollout finish", rollout_finish),
    ("pause", pause),
    ("resume", resume),
    ("sign", sign),
    ("delete", delete),
    ("group", group),
    ("group create", group_create),
    ("group add", group_add),
    ("group remove", group_remove),
    ("group list", group_list),
    ("group show", group_show),
    ("group prefer", group_prefer),
    ("group pacing", group_pacing),
    ("group rename", group_rename),
    ("group delete", group_delete),
    ("import", import),
    ("import ocs", import_ocs),
    ("list", list),
    ("show", show),
    ("status", status),
    ("wait", wait),
    ("device", device),
    ("device list", device_list),
    ("device show", device_show),
    ("device block", device_block),
    ("device unblock", device_unblock),
    ("device remove", device_remove),
    ("device replace", device_replace),
    ("device restart-download", device_restart_download),
    ("device drop", device_drop),
    ("device pacing", device_pacing),
    ("token", token),
    ("token list", token_list),
    ("token revoke", token_revoke),
    ("agent-config", agent_config),
    ("agent-package", agent_package),
    ("explain", explain),
    ("log", log),
    ("diff", diff),
    ("revert", revert),
    ("audit", audit),
    ("console", console),
    ("completions", completions),
    ("man", man),
];

/// Returns the paths of a command and of its subcommands.
fn paths(command: &Command, path: &str) -> BTreeSet<String> {
    let subcommands = command.get_subcommands();
    let below = subcommands.flat_map(|subcommand| {
        let path = format!("{path} {}", subcommand.get_name());
        paths(subcommand, path.trim_start())
    });
    below.chain([path.to_owned()]).collect()
}

#[test]
fn every_command_has_a_snapshot_of_its_help() {
    let tested: BTreeSet<String> = TESTS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(tested, paths(&cli(), ""));
}

/// Returns the first lines of help: of a command, its arguments and their values.
fn texts(command: &Command) -> Vec<String> {
    let arguments = command.get_arguments();
    let of_arguments = arguments.flat_map(|argument| {
        let values = argument.get_possible_values();
        let of_values: Vec<String> = values
            .iter()
            .filter_map(|value| value.get_help().map(ToString::to_string))
            .collect();
        let help = argument.get_help().map(ToString::to_string);
        help.into_iter().chain(of_values)
    });
    let about = command.get_about().map(ToString::to_string);
    about.into_iter().chain(of_arguments).collect()
}

#[test]
fn first_lines_of_help_have_no_full_stop() {
    for (path, _) in TESTS {
        let cli = cli();
        let names = path.split_whitespace();
        let command = names.fold(&cli, |command, name| command.find_subcommand(name).unwrap());
        assert!(command.get_about().is_some(), "{path} has no help");
        for text in texts(command) {
            assert!(!text.ends_with('.'), "{path}: {text}");
        }
    }
}

#[test]
fn every_argument_has_help() {
    for (path, _) in TESTS {
        let cli = cli();
        let names = path.split_whitespace();
        let command = names.fold(&cli, |command, name| command.find_subcommand(name).unwrap());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{path}: {argument}");
        }
    }
}

#[test]
fn packcast() {
    assert_snapshot!(help(""), @"
    Deploy packages to fleets of computers without a server to operate

    A package is published, activated at one or more locations, and assigned to
    devices or groups. Each device downloads the package after its next check-in,
    carries out its action, and reports the result.

    Usage: packcast [OPTIONS] <COMMAND>

    Commands:
      demo           Deploy a package to a device on this machine, and show each
                     step
      local          Run the whole system on this machine until Ctrl-C
      keys           Manage the signing key, and the keys of other publishers
      unlock         Sign for a while without the passphrase
      lock           Ask for the passphrase again, after 'packcast unlock'
      location       Manage the locations that serve packages
      publish        Publish a package
      publish-agent  Publish builds of the Packcast agent, which update it on
                     devices
      verify         Download a package and check every byte of it
      activate       Activate a published package, so that devices can get it
      deactivate     Deactivate a package, so that no more devices get it
      assign         Assign a package to devices or groups
      unassign       Unassign a package from devices or groups
      rollout        Deploy a package in waves that stop by themselves
      pause          Pause a target: devices get and begin no packages
      resume         End the pause of a target
      sign           Sign the state of the target again before it expires
      delete         Delete a package and its objects [alias: rm]
      group          Manage groups of devices
      import         Import from another deployment server
      list           List packages, newest last [alias: ls]
      show           Show a package: its state, action, archive and locations
      status         Show the progress of a package: number of devices in each state
      wait           Wait until a package has ended on its devices
      device         List, show, block and remove devices, and send commands to OCS
                     agents
      token          Create an enrolment token for a limited number of devices
      agent-config   Print the configuration of a Packcast agent
      agent-package  Publish a package with which OCS agents on Linux install the
                     Packcast agent
      explain        Explain why a device has a package, or does not have it
      log            List the changes of a target: who changed what, and when
      diff           Show the difference between two states of a target
      revert         Bring a target back to the state of an earlier commit
      audit          Check a target: history, keys, records, packages
      console        Show and change the target in a browser, until the session ends
      completions    Print the completion script for a shell
      man            Print or write the manual pages
      help           Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    Global options:
          --target <NAME>
              Use this target

              'local' is the system of 'packcast local'. The other targets are
              sections of packcast.toml.

              [env: PACKCAST_TARGET]
              [default: local]

          --config <FILE>
              Read targets from this file

              The default is packcast.toml in your configuration folder.

              [env: PACKCAST_CONFIG]

          --format <FORMAT>
              Print results in this format

              Possible values:
              - text: Tables and text
              - json: One JSON document, for scripts
              - csv:  Lists with commas between the columns, for spreadsheets

              [default: text]

    Exit codes: 0 done, 1 failed, 2 usage, 3 conflict with the present state,
    75 try again later, 130 interrupted at a question.

    Run 'packcast demo' to see a package deployed on this machine.
    ");
}

#[test]
fn demo() {
    assert_snapshot!(help("demo"), @"
    Deploy a package to a device on this machine, and show each step

    Starts the whole system in a temporary folder, publishes a package, lets an
    agent process deploy it, and prints the time of each step. Nothing is left
    behind. The exit code is 1 if the package does not succeed.

    Usage: packcast demo [OPTIONS] [ARCHIVE]

    Arguments:
      [ARCHIVE]
              Archive (.zip or .tar.gz) or directory to deploy; a small sample if
              absent

    Options:
          --action <ACTION>
              Action on the device

              Possible values:
              - launch:  Unpack the archive and run a program from it; its exit code
                is the result
              - execute: Run any command, with the files of the archive if there is
                one
              - store:   Unpack the archive into a folder and run nothing

              [default: store]

          --command <COMMAND>
              Program at the top of the archive with its arguments (launch), or any
              command (execute)

          --path <FOLDER>
              Folder to unpack into (store); a temporary folder if absent

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast demo
      packcast demo typescript.tgz
      packcast demo setup.tar.gz --action launch --command 'setup.sh --quiet'
    ");
}

#[test]
fn local() {
    assert_snapshot!(help("local"), @"
    Run the whole system on this machine until Ctrl-C

    Runs the table, the objects, the check-in function, and an HTTPS server on
    127.0.0.1 with its own certificate authority. The other commands use this system
    unless --target names another.

    Usage: packcast local [OPTIONS]

    Options:
          --state <FOLDER>
              Keep all files in this folder

              The default is a folder in your user's state directory. The other
              commands find the system only in the default folder.

          --port <PORT>
              Serve HTTPS on this port of 127.0.0.1; 0 chooses a free port

              The default is the port of the previous run. After a change, configure
              the new address on the agents, and activate the packages again.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast local
      packcast local --state /srv/packcast --port 8443
    ");
}

#[test]
fn keys() {
    assert_snapshot!(help("keys"), @"
    Manage the signing key, and the keys of other publishers

    Usage: packcast keys [OPTIONS] <COMMAND>

    Commands:
      generate      Generate a signing key, and create the target
      show          Show the signing key and the trust line of the target
      accept-trust  Let this machine know a target that another machine has created
      accept-head   Confirm the head of the target on a machine that does not know
                    it
      rotate        Replace the signing key with a new one
      replace       Remove a key that has leaked, and undo the changes of the thief
      trust         Let another publisher sign changes of the target
      revoke        Let a publisher sign no further changes of the target
      list          List the keys that may sign changes of the target
      help          Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys generate --target production
      packcast keys show --target production
      packcast keys list
      packcast keys rotate
      packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
    ");
}

#[test]
fn keys_generate() {
    assert_snapshot!(help("keys generate"), @"
    Generate a signing key, and create the target

    Prints the public half and the trust line, which belong in the configuration of
    agents and of the check-in function. The trust line has the id of the target,
    which the command creates, and its root key. A target that this machine knows
    already keeps its trust line: to add a publisher, run 'packcast keys
    accept-trust' first. The secret half is encrypted with a passphrase: from the
    environment variable PACKCAST_KEY_PASSPHRASE, or from a prompt. The key never
    leaves this machine; keep a copy in a safe place. 'packcast local' generates its
    key itself.

    Pass the file with --key if packcast.toml does not have the target yet:
    'infra/deploy' writes its section, and needs the trust line before.

    Usage: packcast keys generate [OPTIONS]

    Options:
          --key <FILE>
              Write the key to this file instead of the target's own key file

          --root <FILE>
              Also generate a root key of the new target in this file, to be kept
              offline

              Only the root key signs key lists, and the other key signs all
              changes. Then run 'packcast sign --root-key FILE' once a month.

          --unencrypted
              Do not encrypt the keys: anybody who can read a file can sign

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys generate --target production --key ~/keys/production.key
      packcast keys generate --target production --root /media/usb/root.key
      packcast keys generate --target production
    ");
}

#[test]
fn keys_show() {
    assert_snapshot!(help("keys show"), @"
    Show the signing key and the trust line of the target

    The trust line names the target and its present root keys, the key of the
    highest rank first. It belongs in the configuration of agents, and another
    administrator's machine needs it once.

    Usage: packcast keys show [OPTIONS]

    Options:
          --key <FILE>
              Show the key in this file instead of the target's own key

      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn keys_accept_trust() {
    assert_snapshot!(help("keys accept-trust"), @"
    Let this machine know a target that another machine has created

    The trust line has the id and the root keys of the target. It is no secret, but
    must come from somebody that you trust: whoever changes it can pass off another
    target as this one.

    Usage: packcast keys accept-trust [OPTIONS] <LINE>

    Arguments:
      <LINE>
              Trust line, as 'packcast keys show' prints it on another machine

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn keys_accept_head() {
    assert_snapshot!(help("keys accept-head"), @"
    Confirm the head of the target on a machine that does not know it

    The head is the newest commit: the signed state that devices follow. A machine
    remembers the commits that it has seen, and signs no change of an earlier state.
    A machine without this memory cannot see if somebody has put an earlier state
    back. So the command shows the head and asks. Compare the commit with another
    machine that changes this target.

    Usage: packcast keys accept-head [OPTIONS] [COMMIT]

    Arguments:
      [COMMIT]
              Confirm this commit without a question

              The head must be this commit, or a later one that contains it.

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys accept-head --target production
    ");
}

#[test]
fn keys_rotate() {
    assert_snapshot!(help("keys rotate"), @"
    Replace the signing key with a new one

    The new key takes the place of the old one in the key list of the target. The
    command prints a trust line for new agents; the old line stays valid. Agents
    follow the new key at their next check-in. The old key signs no further changes.
    If the command is interrupted, run it again to complete the rotation.

    Usage: packcast keys rotate [OPTIONS]

    Options:
          --key <FILE>
              Replace the key in this file instead of the target's own key

          --unencrypted
              Do not encrypt the new key: anybody who can read the file can sign

          --root-key <FILE>
              Sign the key list with the root key in this file

              For a root key that 'packcast keys generate --root' has created.
              PACKCAST_KEY_PASSPHRASE, if it is set, is the passphrase of this key,
              too.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys rotate --target production
    ");
}

#[test]
fn keys_replace() {
    assert_snapshot!(help("keys replace"), @"
    Remove a key that has leaked, and undo the changes of the thief

    Shows the changes that this machine does not know, and asks. Then the key is
    removed from the key list, and one commit brings back the state of the commit
    that you name, or keeps the present state. Your own changes and those of other
    publishers since then are lost, too, unless they have removed something: make
    them again. If the key of this machine has leaked, a new key takes its place.
    Only a root key can sign the new key list. If the command is interrupted, run it
    again.

    Usage: packcast keys replace [OPTIONS] --compromised <--revert-to <NUMBER>|--keep> [PUBLIC_KEY]

    Arguments:
      [PUBLIC_KEY]
              Key of another publisher that has leaked, instead of the key of this
              machine

    Options:
          --compromised
              The key has leaked: nothing that it signs counts any more

          --revert-to <NUMBER>
              Go back to the state of the commit with this number

          --keep
              Keep the present state

          --yes
              Replace the key without a question

          --key <FILE>
              Use the key in this file instead of the target's own key

          --unencrypted
              Do not encrypt the new key: anybody who can read the file can sign

          --root-key <FILE>
              Sign the key list with the root key in this file

              For a root key that 'packcast keys generate --root' has created.
              PACKCAST_KEY_PASSPHRASE, if it is set, is the passphrase of this key,
              too.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast log
      packcast keys replace --compromised --revert-to 1795327754
      packcast keys replace --compromised --keep
    ");
}

#[test]
fn keys_trust() {
    assert_snapshot!(help("keys trust"), @"
    Let another publisher sign changes of the target

    Adds the key to the key list. Only a root key of the target can sign the list.
    The other publisher needs the trust line: see 'packcast keys accept-trust'.

    Usage: packcast keys trust [OPTIONS] <PUBLIC_KEY>

    Arguments:
      <PUBLIC_KEY>
              Public key of the other publisher

    Options:
          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --root-key <FILE>
              Sign the key list with the root key in this file

              For a root key that 'packcast keys generate --root' has created.
              PACKCAST_KEY_PASSPHRASE, if it is set, is the passphrase of this key,
              too.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys trust RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
    ");
}

#[test]
fn keys_revoke() {
    assert_snapshot!(help("keys revoke"), @"
    Let a publisher sign no further changes of the target

    From their next check-in on, devices accept no change that this key signs. Its
    earlier changes stay: packages that it has assigned stay assigned. If the key
    has leaked, run 'packcast keys replace --compromised' instead. Only a root key
    of the target can sign the new key list.

    Usage: packcast keys revoke [OPTIONS] <PUBLIC_KEY>

    Arguments:
      <PUBLIC_KEY>
              Public key to revoke

    Options:
          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --root-key <FILE>
              Sign the key list with the root key in this file

              For a root key that 'packcast keys generate --root' has created.
              PACKCAST_KEY_PASSPHRASE, if it is set, is the passphrase of this key,
              too.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast keys revoke RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
    ");
}

#[test]
fn keys_list() {
    assert_snapshot!(help("keys list"), @"
    List the keys that may sign changes of the target

    Usage: packcast keys list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn unlock() {
    assert_snapshot!(help("unlock"), @"
    Sign for a while without the passphrase

    Asks for the passphrase once, and keeps the decrypted key of the target in the
    kernel's keyring of this login session. Commands of the same session sign with
    it until the time ends, 'packcast lock' runs, or the session ends. The key is
    never written to disk, but any program of this session can read it. Root keys in
    files of their own are never unlocked.

    Only Linux has such a keyring. Elsewhere, and for jobs without a terminal,
    packcast.toml can name a file with the passphrase.

    Usage: packcast unlock [OPTIONS]

    Options:
          --for <DURATION>
              Lock the key again after this time, such as 2h

              [default: 30min]

          --status
              Show only the time at which the key is locked again

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast unlock --target production
      packcast unlock --for 2h
      packcast unlock --status
      packcast lock
    ");
}

#[test]
fn lock() {
    assert_snapshot!(help("lock"), @"
    Ask for the passphrase again, after 'packcast unlock'

    Removes the key of the target from the keyring of this login session.

    Usage: packcast lock [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast lock
      packcast lock --target production
    ");
}

#[test]
fn location() {
    assert_snapshot!(help("location"), @"
    Manage the locations that serve packages

    A location is an address that serves the objects of the target over HTTPS, such
    as a CDN or a mirror on a site.

    Usage: packcast location [OPTIONS] <COMMAND>

    Commands:
      add     Add a location, so that packages can be activated there
      remove  Remove a location [alias: rm]
      list    List the locations [alias: ls]
      check   Check that locations serve packages as agents need them
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast location add cdn d1234.cloudfront.net
      packcast location add site-berlin mirror.example.net:8443/packcast
      packcast location check
    ");
}

#[test]
fn location_add() {
    assert_snapshot!(help("location add"), @"
    Add a location, so that packages can be activated there

    If a location has this name already, the address of the location is replaced.
    Packages that are already active at the old address stay active there.

    Usage: packcast location add [OPTIONS] <NAME> <ADDRESS>

    Arguments:
      <NAME>
              Name: lower-case letters, digits and '-'

      <ADDRESS>
              Address: host[:port][/path], without https://

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast location add cdn d1234.cloudfront.net
      packcast location add site-berlin mirror.example.net:8443/packcast
    ");
}

#[test]
fn location_remove() {
    assert_snapshot!(help("location remove"), @"
    Remove a location

    Packages can no longer be activated at the location. Packages that are already
    active there stay active there.

    Usage: packcast location remove [OPTIONS] <NAME>

    Arguments:
      <NAME>
              Name of the location

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn location_list() {
    assert_snapshot!(help("location list"), @"
    List the locations

    Usage: packcast location list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn location_check() {
    assert_snapshot!(help("location check"), @"
    Check that locations serve packages as agents need them

    Fetches the manifest, the info, and the first and last fragment of the newest
    active package through the public address of each location. Problems that affect
    only OCS agents are warnings. The exit code is 1 if a location fails.

    Usage: packcast location check [OPTIONS] [NAME]...

    Arguments:
      [NAME]...
              Locations to check; all if none is named

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast location check
      packcast location check site-berlin --format json
    ");
}

#[test]
fn publish_agent() {
    assert_snapshot!(help("publish-agent"), @r"
    Publish builds of the Packcast agent, which update it on devices

    The package has the name packcast-agent, and is assigned and rolled out like any
    other. Pass the program of each platform of the fleet: one package, and one
    rollout, cover a mixed fleet. A device without a build for its platform reports
    that the package does not apply to it.

    A device keeps the version that works, and tries the new one. The device reports
    a success after the new version has checked in and completed its first round. If
    the new version ends three times before that, or does not check in within ten
    minutes with a reachable server, the device goes back and reports a failure.

    Usage: packcast publish-agent [OPTIONS] --version <VERSION> <FILE>...

    Arguments:
      <FILE>...
              Program of the agent for one platform (repeatable)

              The program names its platform. Pass PLATFORM=FILE, such as
              linux-x86_64=FILE, for a file that is no program for Linux, Windows or
              macOS, such as a script.

    Options:
          --version <VERSION>
              Version of these builds, as 'packcast-agent --version' prints it

              A device whose installed agent has this version or a later one keeps
              that agent.

          --priority <PRIORITY>
              Priority from 0, which is deployed first, to 10

              [default: 5]

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --activate
              Activate the package at all locations after the publication

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast publish-agent packcast-agent packcast-agent.exe \
          --version 1.4.2 --activate
      packcast rollout start packcast-agent@1.4.2 --all
    ");
}

#[test]
#[expect(clippy::too_many_lines, reason = "the snapshot is long")]
fn publish() {
    assert_snapshot!(help("publish"), @r"
    Publish a package

    Checks the archive, reserves a package id, and uploads the fragments, the signed
    manifest and the info. No device sees the package before it is activated and
    assigned. If the command is interrupted, run it again to complete the
    publication. On a terminal, the command asks for missing options.

    Usage: packcast publish [OPTIONS] [SOURCE]

    Arguments:
      [SOURCE]
              Archive (.zip or .tar.gz), directory or other file to publish; leave
              it out to execute only a command

              A directory or another file is packed first: as .zip for Windows,
              otherwise as .tar.gz.

    Options:
          --name <NAME>
              Package name: 1 to 64 letters, digits, '.', '_', '+' and '-'

              The first character is a letter or digit.

          --version <VERSION>
              Package version: 1 to 64 letters, digits, '.', '_', '+', '-', '~' and
              ':'

              The first character is a letter or digit.

          --action <ACTION>
              Action on the device

              Possible values:
              - launch:  Unpack the archive and run a program from it; its exit code
                is the result
              - execute: Run any command, with the files of the archive if there is
                one
              - store:   Unpack the archive into a folder and run nothing

          --command <COMMAND>
              Program at the top of the archive with its arguments (launch), or any
              command (execute)

          --path <FOLDER>
              Folder on the device to unpack into (store)

          --priority <PRIORITY>
              Priority from 0, which is deployed first, to 10

              [default: 5]

          --fragment-size <SIZE>
              Size of the fragments, such as 1MiB, or auto

              The automatic size is a 64th of the archive, from 1 MiB to 64 MiB. For
              a directory or another file, the length before packing decides. So its
              archive has fewer than 64 fragments if the files compress well; choose
              a smaller size if the downloads of devices often break.

              [default: auto]

          --platform <PLATFORM>
              Operating system that the package is for

              [default: any]
              [possible values: any, linux, windows, macos]

          --name-encoding <ENCODING>
              Encoding of the names in a zip archive that does not say it, such as
              `shift_jis`

          --success-code <CODE>
              Exit code that means success, instead of 0 (repeatable)

          --reboot-code <CODE>
              Exit code that means success after a restart (repeatable)

          --timeout <DURATION>
              Stop the program after this time, such as 30min or 4h

              [default: 2h]

          --expires-in <DURATION>
              Let no device begin the package after this time, such as 90d

              A package does not expire unless you pass this option. An expiry
              cannot be changed later: publish the content under another version
              instead.

          --rerun-after-interruption
              Run the program again if the agent was stopped while the program ran

          --only-for <AGENT>
              Allow only the agent with this id to act on the package (repeatable)

              The allowed agents are the audience of the package. OCS agents check
              no audience, so the package cannot be assigned to them.

          --only-for-group <GROUP>
              Allow only agents in this group to act on the package (repeatable)

              An agent is in the groups that 'packcast group add' has added it to.
              The package cannot be assigned to OCS agents.

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --activate
              Activate the package at all locations after the publication

      -h, --help
              Print help (see a summary with '-h')

    Options for OCS Windows agents (other agents ignore them):
          --notify <TEXT>
              Show this text, which may be HTML, before the action, and wait for the
              user

          --notify-countdown <DURATION>
              Continue without the user after this time, such as 30s; 0 waits
              forever

              [default: 2min]

          --may-abort
              Let the user refuse the package; a refusal is reported as a failure

          --may-delay
              Let the user postpone the package until the agent's next run

          --notify-done <TEXT>
              Show this text after the action until the user closes it

          --not-before <TIME>
              Do not act before this time by the device's clock, such as '2026-12-01
              22:00'

              The download starts at once. The agent drops a package that waits
              longer than the agent's TIMEOUT, 30 days by default: assign the
              package at most 30 days before this time.

          --afterwards <AFTERWARDS>
              Restart or shut down the computer 120 seconds after the action, even
              after a failure

              Open programs are closed and lose their unsaved work.

              [possible values: reboot, shutdown]

    Global options: …

    Examples:
      packcast publish vlc-3.0.21.zip --name vlc --version 3.0.21 \
          --action launch --command 'setup.exe /S'
      packcast publish site/ --name site --version 7 \
          --action store --path /var/www --activate
      packcast publish --name refresh --version 1 \
          --action execute --command 'apt-get update'
    ");
}

#[test]
fn verify() {
    assert_snapshot!(help("verify"), @"
    Download a package and check every byte of it

    Fetches the manifest, the signature, the info and all fragments through each
    location of the package, and checks the signature and all digests. The exit code
    is 1 if anything differs from the publication.

    Usage: packcast verify [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --location <NAME>
              Fetch only through this location of the package (repeatable)

          --stored
              Read the objects from the bucket or directory, not through locations

          --public-key <KEY>
              Public key that must have signed the package, instead of any publisher
              key of the target

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast verify vlc@3.0.21
      packcast verify vlc@3.0.21 --location site-berlin
      packcast verify 1795327754 --stored
    ");
}

#[test]
fn activate() {
    assert_snapshot!(help("activate"), @"
    Activate a published package, so that devices can get it

    First fetches the manifest, the info, and the first and last fragment through
    the public address of each location. If a location does not serve these objects,
    the package is not activated.

    Usage: packcast activate [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --location <NAME>
              Activate at this location only (repeatable; devices try the locations
              in this order)

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast activate vlc@3.0.21
      packcast activate vlc@3.0.21 --location site-berlin --location cdn
    ");
}

#[test]
fn deactivate() {
    assert_snapshot!(help("deactivate"), @"
    Deactivate a package, so that no more devices get it

    Once the command has returned, the package is announced to no more devices, and
    no Packcast agent begins with it, except with a permission of the last 60
    seconds. If devices were told of the package before, the command takes about 85
    seconds for a target in the cloud, and no time for 'packcast local'. A Packcast
    agent that was told of the package cancels it at its next check-in, unless the
    agent has begun to act. It gets the package again when the package is active
    again. An OCS agent that was told of the package still deploys the package.

    Usage: packcast deactivate [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast deactivate vlc@3.0.21
    ");
}

#[test]
fn assign() {
    assert_snapshot!(help("assign"), @"
    Assign a package to devices or groups

    Devices get an active package at their next check-in. An assignment to a group
    takes the same few database writes, however many devices the group has. If a
    package failed on a device, assign the package again to start the next attempt.

    Usage: packcast assign [OPTIONS] <--device <DEVICE>|--devices-from <FILE>|--group <GROUP>|--all> <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --device <DEVICE>
              Device, by its id or host name (repeatable)

          --devices-from <FILE>
              File with one device per line; '-' reads standard input

          --group <GROUP>
              Group, with its present and future devices (repeatable)

          --all
              All present and future devices

          --force
              Deploy again on devices that already have the package

          --allow-downgrade
              Deploy on devices that have a later package of the same name

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --accept-key <KEY>
              Accept packages signed by this key (repeatable)

              Packages signed by your own key, or by a key of the key list, also a
              retired one, are always accepted.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast assign vlc@3.0.21 --device web01
      packcast assign vlc@3.0.21 --device web01 --device web02 --force
      packcast assign vlc@3.0.21 --group lab --group office
      packcast assign vlc@3.0.21 --all --dry-run
    ");
}

#[test]
fn unassign() {
    assert_snapshot!(help("unassign"), @"
    Unassign a package from devices or groups

    Once the command has returned, the package is announced to no more devices. A
    Packcast agent that was told of the package asks the function before it begins,
    and gets the answer to wait. For a group of a target in the cloud, this takes
    effect about 85 seconds after the command. The agent cancels the package at its
    next check-in, unless it has begun to act. An OCS agent that was told of the
    package still deploys it; 'packcast device drop DEVICE' makes an OCS Unix agent
    drop the package.

    Usage: packcast unassign [OPTIONS] <--device <DEVICE>|--devices-from <FILE>|--group <GROUP>|--all> <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --device <DEVICE>
              Device, by its id or host name (repeatable)

          --devices-from <FILE>
              File with one device per line; '-' reads standard input

          --group <GROUP>
              Group, with its present and future devices (repeatable)

          --all
              All present and future devices

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast unassign vlc@3.0.21 --group lab
      packcast unassign vlc@3.0.21 --device web01
    ");
}

#[test]
fn rollout() {
    assert_snapshot!(help("rollout"), @"
    Deploy a package in waves that stop by themselves

    A rollout gives a package to a few devices first, and to more of them as long as
    it goes well. The times of the waves are signed, and each device keeps to them.
    The gate halts the rollout after a few failures, and waits for devices that are
    not heard from.

    Usage: packcast rollout [OPTIONS] <COMMAND>

    Commands:
      start    Start a rollout of a package to groups
      list     List the live rollouts [alias: ls]
      show     Show a rollout: its status, waves and first failures
      watch    Watch a rollout until it is complete or halted
      pause    Pause a rollout: no further Packcast agent begins
      resume   Continue a rollout that is paused, halted or full
      promote  Open the next wave of a rollout now
      end      Stop a rollout, and withdraw its package
      finish   Make a rollout a plain assignment to its groups
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout start vlc@3.0.21 --group office --pilot lab --dry-run
      packcast rollout start vlc@3.0.21 --group office --pilot lab
      packcast rollout watch vlc@3.0.21
      packcast rollout pause vlc@3.0.21
      packcast rollout resume vlc@3.0.21
      packcast rollout finish vlc@3.0.21
    ");
}

#[test]
fn rollout_start() {
    assert_snapshot!(help("rollout start"), @"
    Start a rollout of a package to groups

    The waves are signed in one commit, and open by themselves. Devices that join
    the groups later fall into a wave, too. Each device begins only after it has
    asked the function, so that the rollout can halt. The defaults depend on the
    number of devices: --dry-run shows them.

    Usage: packcast rollout start [OPTIONS] <--group <GROUP>|--all> <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --group <GROUP>
              Deploy to the devices of this group (repeatable)

          --all
              Deploy to all devices of the target

          --pilot <GROUP>
              Begin with the devices of this group, in a wave of their own
              (repeatable)

              Only devices that are also in one of the rollout's groups get the
              package.

          --waves <PERCENTAGES>
              Percentages of the devices that have the package after each wave, such
              as 1,10,50,100

          --wait <DURATION>
              Time from the opening of a wave to the next one: 24h by default

          --days <DAYS>
              Days on which waves open

              [default: mon-fri]

          --begin <TIME>
              Open the first wave at this time of this machine's time zone, such as
              '2026-12-01 22:00'

              Without this option, the first wave opens now. The other waves open at
              the same hour.

          --manual
              Open only the first wave by itself, and each other one with 'packcast
              rollout promote'

          --at-once <COUNT>
              Maximum number of devices that have begun and are not healthy

          --halt-at <COUNT>
              Halt after this number of failures

          --tolerate <PERCENT>
              Tolerate further failures: a share of the healthy devices, in percent
              [default: 5]

          --settle <DURATION>
              Time after a success until a device that checks in counts as healthy

              The default is 2h in the first wave, and 30min in all others.

          --allow-downgrade
              Deploy on devices that have a later package of the same name

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --accept-key <KEY>
              Accept packages signed by this key (repeatable)

              Packages signed by your own key, or by a key of the key list, also a
              retired one, are always accepted.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout start vlc@3.0.21 --group office --pilot lab --dry-run
      packcast rollout start vlc@3.0.21 --all --waves 1,10,50,100
      packcast rollout start vlc@3.0.21 --group office --wait 2d --days mon-thu
      packcast rollout start vlc@3.0.21 --group office --begin '2026-12-01 22:00'
    ");
}

#[test]
fn rollout_list() {
    assert_snapshot!(help("rollout list"), @"
    List the live rollouts

    A rollout is live until it is ended or finished.

    Usage: packcast rollout list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout list
    ");
}

#[test]
fn rollout_show() {
    assert_snapshot!(help("rollout show"), @"
    Show a rollout: its status, waves and first failures

    The first line says what the rollout does, or waits for, and names the next
    command.

    Usage: packcast rollout show [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout show vlc@3.0.21
    ");
}

#[test]
fn rollout_watch() {
    assert_snapshot!(help("rollout watch"), @"
    Watch a rollout until it is complete or halted

    Each wave has a bar. Its full part shows the healthy devices, and its shaded
    part the devices of the open wave that have begun and are not healthy yet. The
    last lines of output of the first failed devices follow. The exit code is 0 if
    the rollout is complete, 1 if it is halted or has ended, and 75 after the time
    of --for.

    Usage: packcast rollout watch [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --for <DURATION>
              Stop watching after this time

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout watch vlc@3.0.21
      packcast rollout watch vlc@3.0.21 --for 2h
    ");
}

#[test]
fn rollout_pause() {
    assert_snapshot!(help("rollout pause"), @"
    Pause a rollout: no further Packcast agent begins

    Programs that run already finish, and devices report their results. A permission
    to begin that a device has got is valid for a minute: the command returns when
    all of them have expired. OCS agents do not ask: one that was told of the
    package before deploys it in any case, perhaps hours later. The command prints
    the number of devices that were told, and needs no signing key.

    Usage: packcast rollout pause [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout pause vlc@3.0.21
    ");
}

#[test]
fn rollout_resume() {
    assert_snapshot!(help("rollout resume"), @"
    Continue a rollout that is paused, halted or full

    After a halt, or if each place is taken, a new round begins: as many devices as
    --halt-at of 'packcast rollout start' may fail again. The command warns if the
    devices with places may still become healthy. It needs no signing key.

    Usage: packcast rollout resume [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --after-halt
              Continue although failures have halted the rollout

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout resume vlc@3.0.21
      packcast rollout resume vlc@3.0.21 --after-halt
    ");
}

#[test]
fn rollout_promote() {
    assert_snapshot!(help("rollout promote"), @"
    Open the next wave of a rollout now

    The wave before it need not be healthy. If the time of the wave has not come, or
    if the wave has none, the command signs a commit that opens it.

    Usage: packcast rollout promote [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout promote vlc@3.0.21
    ");
}

#[test]
fn rollout_end() {
    assert_snapshot!(help("rollout end"), @"
    Stop a rollout, and withdraw its package

    The package is unassigned from the groups of the rollout. Devices that have it
    keep it. The command returns when no Packcast agent can begin any more. An OCS
    agent that was told of the package before deploys it in any case, perhaps hours
    later. The command prints the number of devices that were told.

    Usage: packcast rollout end [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout end vlc@3.0.21
    ");
}

#[test]
fn rollout_finish() {
    assert_snapshot!(help("rollout finish"), @"
    Make a rollout a plain assignment to its groups

    All other devices of the groups get the package at their next check-in. Devices
    that have finished it do not act again.

    Usage: packcast rollout finish [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast rollout finish vlc@3.0.21
    ");
}

#[test]
fn pause() {
    assert_snapshot!(help("pause"), @"
    Pause a target: devices get and begin no packages

    Programs that run already finish, and devices report their results. OCS agents
    deploy the packages that they were told of. The command returns when every
    function has read the pause: at once for 'packcast local', after about 85
    seconds for a target in the cloud. It needs no signing key.

    Usage: packcast pause [OPTIONS] --all

    Options:
          --all
              Pause all packages and devices of the target

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast pause --all
    ");
}

#[test]
fn resume() {
    assert_snapshot!(help("resume"), @"
    End the pause of a target

    Devices get their packages again at their next check-ins. The command returns
    when every function has read that the pause has ended: at once for 'packcast
    local', after about 85 seconds for a target in the cloud.

    Usage: packcast resume [OPTIONS] --all

    Options:
          --all
              Resume all packages and devices of the target

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast resume --all
    ");
}

#[test]
fn sign() {
    assert_snapshot!(help("sign"), @"
    Sign the state of the target again before it expires

    A Packcast agent begins nothing under a signed state that has expired: 90 days
    after the last change. This command signs the state again, and renews the list
    of publisher keys if it expires within 60 days and your key is a root key. Run
    it once a month. With --root-key it always renews the list; the first change of
    a target with an offline root key needs it.

    Usage: packcast sign [OPTIONS]

    Options:
          --state-valid-for <DURATION>
              Let the signed state expire after this time, such as 14d

              The next change is valid for 90 days again.

              [default: 90d]

          --accept-clock
              Sign although nothing confirms the clock of this machine

              For a table on the same machine, which was not changed for more than
              90 days. A clock that differs from the table's is never accepted.

          --all-records
              Write all records again, not only those that commits have changed

              For a table that somebody has changed by hand: 'packcast audit' finds
              such records. The command makes two commits, and writes the record of
              every device after each: somebody may have forged those of the first.

          --restored
              Sign the head of a table that you have restored from a back-up

              The head of a restored table leaves out commits that machines and
              devices know, so they refuse it, as they refuse the head of an
              attacker. This option shows the head and these commits, and asks. The
              new commit contains them, so that devices follow it. It repeats their
              removals, as far as the table still has them; their other changes are
              lost. Run the command on each machine that has changed the target
              since the time of the back-up.

          --accept-head <COMMIT>
              With --restored: confirm this head without a question

              The head must be this commit, or a later one that contains it.

          --adopt <COMMIT>
              With --restored: contain this commit, too (repeatable)

              For a commit that a device holds and that no machine remembers, for
              example because the machine was lost. 'packcast-agent status' shows
              the commit on the device.

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --root-key <FILE>
              Sign the key list with the root key in this file

              For a root key that 'packcast keys generate --root' has created.
              PACKCAST_KEY_PASSPHRASE, if it is set, is the passphrase of this key,
              too.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast sign
      packcast sign --state-valid-for 14d
      packcast sign --root-key /media/usb/root.key
      packcast sign --restored
      packcast sign --all-records
    ");
}

#[test]
fn delete() {
    assert_snapshot!(help("delete"), @"
    Delete a package and its objects

    Fails while the package is assigned. The same name and version cannot be
    published again, and the results of devices stay on record. If the command is
    interrupted, run it again to complete the deletion.

    Usage: packcast delete [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --unassign
              First unassign the package from all groups, and from all devices that
              have not finished it

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast delete vlc@3.0.21
      packcast delete vlc@3.0.21 --unassign
    ");
}

#[test]
fn group() {
    assert_snapshot!(help("group"), @"
    Manage groups of devices

    All devices of a group get the packages that are assigned to the group, and so
    do devices that join the group later. Every device is in the group 'all'.

    Usage: packcast group [OPTIONS] <COMMAND>

    Commands:
      create  Create a group
      add     Add devices to a group
      remove  Remove devices from a group [alias: rm]
      list    List the groups with their sizes [alias: ls]
      show    Show a group with its packages
      prefer  Set the location that a group's devices download from first
      pacing  Set the pacing of a group's OCS agents
      rename  Give a group another name
      delete  Delete a group that has neither devices nor packages
      help    Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group create lab
      packcast group add lab --device web01 --device web02
      packcast group add lab --from lab.txt
      packcast group prefer lab --location site-berlin
      packcast group pacing lab --fragment-pause 2s --cycle-pause 5s
      packcast group rename lab laboratory
      packcast assign vlc@3.0.21 --group lab
    ");
}

#[test]
fn group_create() {
    assert_snapshot!(help("group create"), @"
    Create a group

    Usage: packcast group create [OPTIONS] <GROUP>

    Arguments:
      <GROUP>
              Name: up to 48 lower-case letters, digits, '.', '_' and '-'

    Options:
          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn group_add() {
    assert_snapshot!(help("group add"), @"
    Add devices to a group

    All devices join together. A device gets the packages of the group at its next
    check-in. A device that is a member already stays one. If the command is
    interrupted, run it again.

    Usage: packcast group add [OPTIONS] <--device <DEVICE>|--from <FILE>> <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --device <DEVICE>
              Device, by its id or host name (repeatable)

          --from <FILE>
              File with one device per line; '-' reads standard input

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group add lab --device web01 --device web02
      packcast group add lab --from lab.txt
    ");
}

#[test]
fn group_remove() {
    assert_snapshot!(help("group remove"), @"
    Remove devices from a group

    All devices leave together. A device loses the assignments that it has only
    through this group. If the command is interrupted, run it again.

    Usage: packcast group remove [OPTIONS] <--device <DEVICE>|--from <FILE>> <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --device <DEVICE>
              Device, by its id or host name (repeatable)

          --from <FILE>
              File with one device per line; '-' reads standard input

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group remove lab --device web01
      packcast group remove lab --from lab.txt
    ");
}

#[test]
fn group_list() {
    assert_snapshot!(help("group list"), @"
    List the groups with their sizes

    Usage: packcast group list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn group_show() {
    assert_snapshot!(help("group show"), @"
    Show a group with its packages

    Usage: packcast group show [OPTIONS] <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --devices
              Also list the devices of the group

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group show lab
      packcast group show all --devices
    ");
}

#[test]
fn group_prefer() {
    assert_snapshot!(help("group prefer"), @"
    Set the location that a group's devices download from first

    A package that is not active at this location is downloaded from its other
    locations.

    Usage: packcast group prefer [OPTIONS] <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --location <NAME>
              Location to download from first

          --none
              Prefer no location

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group prefer lab --location site-berlin
      packcast group prefer lab --none
    ");
}

#[test]
fn group_pacing() {
    assert_snapshot!(help("group pacing"), @"
    Set the pacing of a group's OCS agents

    Pacing consists of the pauses of OCS agents, the time between their check-ins,
    and the order of announcements. Settings that the group does not have are taken
    from the target. If a device is in several groups, the slowest value of each
    setting applies, so that a device at a site with a slow line does not overload
    the line. A device's own pacing replaces the pacing of its groups. The group
    'all' is treated like any other group.

    Usage: packcast group pacing [OPTIONS] <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --fragment-pause <DURATION>
              Pause after each fragment, such as 2s

          --cycle-pause <DURATION>
              Pause after each cycle of downloads, such as 5s

              A package of priority 5 has its turn in every fifth cycle.

          --period-pause <DURATION>
              Pause after each period of ten or more cycles, such as 1m

          --check-in-every <DURATION>
              Time between check-ins of an agent that runs as a service, such as 4h

          --drop-after <DURATION>
              Time after which the agent drops a package that it could not deploy,
              such as 30d

          --strict
              Announce the packages of one priority at a time

          --no-strict
              Announce the packages of all priorities together

          --reset
              Remove the group's other pacing settings

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group pacing berlin --fragment-pause 2s --cycle-pause 5s
      packcast group pacing lab --strict
      packcast group pacing lab --reset
    ");
}

#[test]
fn group_rename() {
    assert_snapshot!(help("group rename"), @"
    Give a group another name

    Devices stay in the group, and packages, pacing and preferred location stay as
    they are. No device deploys a package again because of the new name. If the
    command is interrupted, run it again.

    A package that was published with '--only-for-group' names groups in its signed
    manifest. If such a package is assigned and only for one of both names, the
    group is renamed only with '--force'.

    Usage: packcast group rename [OPTIONS] <GROUP> <NEW-NAME>

    Arguments:
      <GROUP>
              Present name of the group

      <NEW-NAME>
              New name: up to 48 lower-case letters, digits, '.', '_' and '-'

    Options:
          --force
              Rename the group although assigned packages are only for one of both
              names: devices wait with those of the present name, and begin with
              those of the new one

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group rename lab laboratory
    ");
}

#[test]
fn group_delete() {
    assert_snapshot!(help("group delete"), @"
    Delete a group that has neither devices nor packages

    Usage: packcast group delete [OPTIONS] <GROUP>

    Arguments:
      <GROUP>
              Name of the group

    Options:
          --force
              First unassign the group's packages and remove its devices

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast group delete lab
      packcast group delete lab --force
    ");
}

#[test]
fn list() {
    assert_snapshot!(help("list"), @"
    List packages, newest last

    Usage: packcast list [OPTIONS]

    Options:
          --deleted
              List deleted packages instead

          --limit <COUNT>
              List only this many packages: the newest, or the largest

              The default is 100 for text; JSON and CSV have all packages.

          --sort <SORT>
              Sort the packages by this value

              A package is unused if it is assigned to no group, and open on no
              device.

              Possible values:
              - created: The newest last
              - size:    The largest archive first, with a total and a mark for each
                unused package

              [default: created]

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast list
      packcast list --sort size
      packcast list --limit 10 --format json
      packcast list --deleted
    ");
}

#[test]
fn show() {
    assert_snapshot!(help("show"), @"
    Show a package: its state, action, archive and locations

    Usage: packcast show [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast show vlc@3.0.21
      packcast show 1795327754 --format json
    ");
}

#[test]
fn wait() {
    assert_snapshot!(help("wait"), @"
    Wait until a package has ended on its devices

    Devices that run another system do not count. A blocked device, and a device
    that does not check in, have not finished.

    The exit code is 0 if the package succeeded on all devices, 1 if all devices
    have finished and the package failed on some or was cancelled, 3 if the package
    is assigned to none of the devices, and 75 after the timeout.

    Usage: packcast wait [OPTIONS] <PACKAGE>

    Arguments:
      <PACKAGE>
              Package id, or name@version

    Options:
          --device <DEVICE>
              Wait for this device, by its id or host name (repeatable)

              By default, the command waits for all devices of the package, with the
              devices of its groups.

          --group <GROUP>
              Wait for the devices of this group (repeatable)

          --timeout <DURATION>
              Give up after this time

              [default: 2h]

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast wait vlc@3.0.21
      packcast wait vlc@3.0.21 --group lab --timeout 30min
    ");
}

#[test]
fn status() {
    assert_snapshot!(help("status"), @"
    Show the progress of a package: number of devices in each state

    Without --devices and --group, this command reads the same amount of data for
    any number of devices. A device of a group is counted as assigned from its first
    check-in after the assignment; until then it is to come, which is an estimate
    from the sizes of the groups.

    The status of one package ends with its failures, grouped by result and last
    line of output: at most 1000 failures are read.

    Usage: packcast status [OPTIONS] [PACKAGE]

    Arguments:
      [PACKAGE]
              Package id, or name@version; the newest packages if absent

    Options:
          --limit <COUNT>
              Show only this many of the newest packages

              The default is 100 for text; JSON and CSV have all packages.

          --devices
              List the devices of the package with their states

              The list includes devices of assigned groups that have not checked in
              since the assignment. Changes from the last few seconds may be
              missing.

          --state <STATE>
              List only the devices in this state

              Devices with an outcome are listed with their results.

              Possible values:
              - to-come:        Not checked in since the assignment of a group
              - waiting:        Not announced yet
              - announced
              - withdrawn:      Announced, and unassigned afterwards
              - succeeded
              - failed
              - cancelled
              - not-applicable: The device runs another system

          --group <GROUP>
              Count or list only devices of this group

              Without a package, the packages of the group are shown. The command
              reads the state of each device of a package, so that its cost grows
              with their number.

          --watch
              Show the status again after each change, until Ctrl-C

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast status
      packcast status vlc@3.0.21
      packcast status vlc@3.0.21 --devices --state failed
      packcast status vlc@3.0.21 --group lab
      packcast status vlc@3.0.21 --watch
    ");
}

#[test]
fn device() {
    assert_snapshot!(help("device"), @"
    List, show, block and remove devices, and send commands to OCS agents

    Usage: packcast device [OPTIONS] <COMMAND>

    Commands:
      list              List devices [alias: ls]
      show              Show a device with its packages and results
      block             Refuse the requests of devices until they are unblocked
      unblock           Admit blocked or removed devices again
      remove            Remove devices that no longer exist [alias: rm]
      replace           Let a device take the place of another one, after a new
                        installation
      restart-download  Restart the downloads of an OCS Unix agent
      drop              Make an OCS Unix agent drop the packages that it has not
                        begun to deploy
      pacing            Set the pacing of a device with an OCS agent
      help              Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device list
      packcast device show web01
      packcast device block web01 --reason 'stolen on 2026-11-20'
      packcast device remove --not-seen 90d --dry-run
      packcast device drop web01
    ");
}

#[test]
fn device_list() {
    assert_snapshot!(help("device list"), @"
    List devices

    Usage: packcast device list [OPTIONS]

    Options:
          --limit <COUNT>
              List at most this many devices

              The default is 100 for text; JSON and CSV have all devices.

          --excluded
              List all blocked and removed devices instead

      -h, --help
              Print help (see a summary with '-h')

    Filters and order:
          --has <PACKAGE>
              List only devices on which this package succeeded

          --lacks <PACKAGE>
              List only devices on which this package has not succeeded

          --package <PACKAGE>
              List only devices that have been assigned this package

              Devices of its groups that have not checked in since the assignment
              are listed, too. Changes from the last few seconds may be missing.

          --state <STATE>
              List only devices on which the package is in this state

              Possible values:
              - to-come:        Not checked in since the assignment of a group
              - waiting:        Not announced yet
              - announced
              - withdrawn:      Announced, and unassigned afterwards
              - succeeded
              - failed
              - cancelled
              - not-applicable: The device runs another system

          --group <GROUP>
              List only devices of this group

          --not-seen <DURATION>
              List only devices that were not seen for this time, such as 30d

              A device is seen at each report and, at least once a day, at a
              check-in.

          --platform <PLATFORM>
              List only devices that may run packages for this platform

              A device whose system is unknown is listed.

              [possible values: any, linux, windows, macos]

          --agent <TEXT>
              List only devices whose agent has this text in its name or version

          --os <TEXT>
              List only devices whose system has this text in its name or version

          --site <SITE>
              List only devices of this site

              The site is a label in the configuration of the Packcast agent.

          --sort <SORT>
              Sort the devices by this

              Possible values:
              - id
              - host
              - system
              - agent
              - last-seen: The device that was seen least recently first

              [default: id]

    Global options: …

    Examples:
      packcast device list
      packcast device list --lacks vlc@3.0.21 --platform linux
      packcast device list --not-seen 30d --sort last-seen
      packcast device list --excluded
    ");
}

#[test]
fn device_show() {
    assert_snapshot!(help("device show"), @"
    Show a device with its packages and results

    Usage: packcast device show [OPTIONS] <DEVICE>

    Arguments:
      <DEVICE>
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device show web01
      packcast device show ocs:web01-2026-03-04-05-06-07 --format json
    ");
}

#[test]
fn device_block() {
    assert_snapshot!(help("device block"), @"
    Refuse the requests of devices until they are unblocked

    Once the command has returned, no package is announced to the devices. They keep
    their groups, assignments and results. A Packcast agent finishes the package
    that it is working on, begins no other, keeps its results, and reports them
    after it is unblocked. An OCS agent stops its downloads at its next check-in.

    A stolen device may also hold an enrolment token, with which it can enrol under
    another id: replace the token as well.

    Usage: packcast device block [OPTIONS] <DEVICE>...

    Arguments:
      <DEVICE>...
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
          --reason <TEXT>
              Reason to show to administrators: at most 120 bytes

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device block web01
      packcast device block web01 web02 --reason 'stolen on 2026-11-20'
    ");
}

#[test]
fn device_unblock() {
    assert_snapshot!(help("device unblock"), @"
    Admit blocked or removed devices again

    A blocked device continues with its groups, assignments and results. A removed
    device must be named by its id. It comes back as a new device at its next
    check-in.

    Usage: packcast device unblock [OPTIONS] <DEVICE>...

    Arguments:
      <DEVICE>...
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device unblock web01
      packcast device unblock ocs:web01-2026-03-04-05-06-07
    ");
}

#[test]
fn device_remove() {
    assert_snapshot!(help("device remove"), @"
    Remove devices that no longer exist

    A removed device leaves its groups, all counts and all lists, and its results
    are deleted. Its requests are refused: its pass or its enrolment token may still
    be in a disk image, so it comes back only after 'packcast device unblock'. If
    the command is interrupted, run it again to complete the removal.

    Usage: packcast device remove [OPTIONS] [DEVICE]...

    Arguments:
      [DEVICE]...
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
          --not-seen <DURATION>
              Remove the devices that have not checked in for this time, such as 90d

              Blocked devices are left out. The command lists the devices and asks
              before it removes them.

          --dry-run
              Only list the devices that would be removed

          --yes
              Remove several devices without a question

          --reason <TEXT>
              Reason to show to administrators: at most 120 bytes

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device remove web01
      packcast device remove --not-seen 90d --dry-run
      packcast device remove --not-seen 90d --yes
    ");
}

#[test]
fn device_replace() {
    assert_snapshot!(help("device replace"), @r"
    Let a device take the place of another one, after a new installation

    A machine that was installed again checks in as a new device with the same host
    name. The new device joins the groups of the old one, and is assigned the
    packages that were assigned to the old one itself and that it has not finished.
    The old device is removed as with 'packcast device remove'. If the command is
    interrupted, run it again.

    Both devices must have the same host name. If both agents have reported the id
    of the hardware, it must be the same, too. The old device must not have checked
    in since the first check-in of the new one.

    Usage: packcast device replace [OPTIONS] <OLD> <NEW>

    Arguments:
      <OLD>
              The device from before the new installation: its id (key:<agent id> or
              ocs:<DEVICEID>)

      <NEW>
              The device that takes its place: its id

    Options:
          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device replace ocs:pc-2026-03-04-05-06-07 \
        ocs:pc-2026-11-20-08-30-00 --dry-run
      packcast device replace ocs:pc-2026-03-04-05-06-07 ocs:pc-2026-11-20-08-30-00
    ");
}

#[test]
fn device_restart_download() {
    assert_snapshot!(help("device restart-download"), @"
    Restart the downloads of an OCS Unix agent

    Helps if the agent has stopped downloading, or waits for a command that does not
    end. At its next check-in the agent kills its download process, and at the
    check-in after that the agent resumes. A command that is already running keeps
    running, and the agent runs it again later.

    Usage: packcast device restart-download [OPTIONS] <DEVICE>

    Arguments:
      <DEVICE>
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device restart-download web01
    ");
}

#[test]
fn device_drop() {
    assert_snapshot!(help("device drop"), @"
    Make an OCS Unix agent drop the packages that it has not begun to deploy

    Dropped packages that are no longer assigned are recorded as cancelled. Packages
    that are still assigned are announced again. A Packcast agent needs no command:
    the agent cancels unassigned packages at its next check-in.

    Usage: packcast device drop [OPTIONS] <DEVICE>

    Arguments:
      <DEVICE>
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device drop web01
    ");
}

#[test]
fn device_pacing() {
    assert_snapshot!(help("device pacing"), @"
    Set the pacing of a device with an OCS agent

    The settings replace those of the device's groups.

    Usage: packcast device pacing [OPTIONS] <DEVICE>

    Arguments:
      <DEVICE>
              Device id (key:<agent id> or ocs:<DEVICEID>), or a host name that no
              other device has

    Options:
          --fragment-pause <DURATION>
              Pause after each fragment, such as 2s

          --cycle-pause <DURATION>
              Pause after each cycle of downloads, such as 5s

              A package of priority 5 has its turn in every fifth cycle.

          --period-pause <DURATION>
              Pause after each period of ten or more cycles, such as 1m

          --check-in-every <DURATION>
              Time between check-ins of an agent that runs as a service, such as 4h

          --drop-after <DURATION>
              Time after which the agent drops a package that it could not deploy,
              such as 30d

          --strict
              Announce the packages of one priority at a time

          --no-strict
              Announce the packages of all priorities together

          --reset
              Remove the device's other pacing settings

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast device pacing web01 --fragment-pause 2s --cycle-pause 5s
      packcast device pacing web01 --reset
    ");
}

#[test]
fn agent_config() {
    assert_snapshot!(help("agent-config"), @r"
    Print the configuration of a Packcast agent

    Prints a complete agent.toml for the devices of the target: the address of the
    check-in function, the trust line, the state folder, and the file of the
    enrolment token. Write it to /etc/packcast/agent.toml on a device, or to
    C:\ProgramData\Packcast\agent.toml on Windows. The file has no secret. A device
    needs the enrolment token for its first check-in: write the token to its file,
    which only the agent's user may read. 'packcast token' creates a token for a
    limited number of devices.

    Usage: packcast agent-config [OPTIONS]

    Options:
          --server <URL>
              Address at which the devices check in, with 'https://'

              The default is the address of the running local system, or 'server' in
              the target's section of packcast.toml.

          --windows
              Print the paths of an agent on Windows

          --with-token
              Also print the enrolment token, which is a secret

              The token enrols any number of devices.

          --secrets <FILE>
              Read the token from this file instead of the target's secrets

              The secrets of a stack are in NAME.secrets beside packcast.toml, on
              the machine that deployed the stack.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast agent-config > agent.toml
      packcast agent-config --target prod --server https://packcast.example.net
      packcast agent-config --target prod --windows
    ");
}

#[test]
fn token() {
    assert_snapshot!(help("token"), @"
    Create an enrolment token for a limited number of devices

    Packcast agents with the token can enrol until the token expires, or until the
    number of devices is reached. A device that enrols again counts once. Devices
    that have enrolled stay enrolled. The token is a secret: write it to a file that
    only the agent can read, and name the file in agent.toml. The devices of one
    token are a batch. Create a token for each batch of machines, so that you can
    revoke it without the others.

    Usage: packcast token [OPTIONS] --devices <NUMBER>
           packcast token <COMMAND>

    Commands:
      list    List the batches that have enrolled devices, and those that were
              revoked [alias: ls]
      revoke  Revoke the token of a batch, so that it enrols no further device
      help    Print this message or the help of the given subcommand(s)

    Options:
          --devices <NUMBER>
              Number of devices that the token enrols, at most 1,000,000

          --name <NAME>
              Name of the batch: 1 to 20 lower-case letters, digits, '_' and '-'

              The first character is a letter or digit. 'packcast device show' shows
              the name for each device of the batch.

          --expires-in <DURATION>
              Expire the token after this time, such as 14d

              [default: 30d]

          --secrets <FILE>
              Read the pass key from this file instead of the target's secrets

              The secrets of a stack are in NAME.secrets beside packcast.toml, on
              the machine that deployed the stack.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast token --name berlin --devices 500 --target production > token
      packcast token --devices 1 --expires-in 2d > token
      packcast token list
      packcast token revoke berlin
    ");
}

#[test]
fn token_list() {
    assert_snapshot!(help("token list"), @"
    List the batches that have enrolled devices, and those that were revoked

    A batch is on record from its first enrolment, or its revocation.

    Usage: packcast token list [OPTIONS]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast token list --target production
    ");
}

#[test]
fn token_revoke() {
    assert_snapshot!(help("token revoke"), @"
    Revoke the token of a batch, so that it enrols no further device

    Devices that have enrolled stay enrolled: 'packcast device show' has the batch
    of a device, and 'packcast device remove' removes it. A revocation cannot be
    undone; create another token instead.

    Usage: packcast token revoke [OPTIONS] <BATCH>

    Arguments:
      <BATCH>
              Name of a batch on record, or the id that 'packcast token' printed

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast token revoke berlin --target production
      packcast token revoke berlin-a4dqobyha4dqobyha4dqobyha4
    ");
}

#[test]
fn agent_package() {
    assert_snapshot!(help("agent-package"), @r"
    Publish a package with which OCS agents on Linux install the Packcast agent

    The package contains the given packages of the agent, and a script that installs
    the one for the computer, enrols the computer with the server and the trust line
    of the target, and starts the service. The package is activated at all
    locations; assign it to devices with OCS agents. A second run on a computer that
    has enrolled only upgrades the agent.

    Everybody who can download the package can read the enrolment token in it. So
    the command accepts only the token of a batch, which 'packcast token' creates.

    Usage: packcast agent-package [OPTIONS] --token-file <FILE> <FILE>...

    Arguments:
      <FILE>...
              Packages of the agent (.deb and .rpm), at most one for each
              architecture and format

    Options:
          --token-file <FILE>
              File with the enrolment token of a batch

          --server <URL>
              Address at which the devices check in, with 'https://'

              The default is the address of the running local system, or 'server' in
              the target's section of packcast.toml.

          --proxy <URL>
              Proxy of the devices, with 'http://'

              The devices keep the address in /etc/packcast/agent.env, unless they
              have this file already. Everybody who can download the package can
              read a password in the address.

          --name <NAME>
              Package name

              [default: packcast-agent-install]

          --version <VERSION>
              Package version, instead of the version in the names of the files

              A package with another token needs another version.

          --priority <PRIORITY>
              Priority from 0, which is deployed first, to 10

              [default: 5]

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast token --name ocs --devices 500 > enrolment-token
      packcast agent-package packcast-agent_0.1.0-1_amd64.deb \
          packcast-agent-0.1.0-1.x86_64.rpm --token-file enrolment-token
      packcast assign packcast-agent-install@0.1.0-1 --group office
    ");
}

#[test]
fn explain() {
    assert_snapshot!(help("explain"), @"
    Explain why a device has a package, or does not have it

    Prints the first reason, the facts on record, and the next step. Once you have
    fixed that, the command may print another reason. The command changes nothing.

    Usage: packcast explain [OPTIONS] <DEVICE> <PACKAGE>

    Arguments:
      <DEVICE>
              Device id, or a host name that no other device has

      <PACKAGE>
              Package id, or name@version

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast explain web01 vlc@3.0.21
      packcast explain ocs:web01-2026-03-04-05-06-07 1795327754 --format json
    ");
}

#[test]
fn completions() {
    assert_snapshot!(help("completions"), @r#"
    Print the completion script for a shell

    The script runs 'packcast' for candidates: commands, options, and the names of
    packages, groups, devices, locations and targets. For names it reads at most 200
    records of the table, the newest packages and the devices with the first ids,
    and waits at most two seconds. Load the script at each start of the shell,
    because another version of packcast can need another script.

    Usage: packcast completions [OPTIONS] <SHELL>

    Arguments:
      <SHELL>
              Shell that reads the script

              [possible values: bash, elvish, fish, powershell, zsh]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      echo 'source <(packcast completions bash)' >> ~/.bashrc
      echo 'source <(packcast completions zsh)' >> ~/.zshrc
      echo 'packcast completions fish | source' \
          > ~/.config/fish/completions/packcast.fish
    "#);
}

#[test]
fn man() {
    assert_snapshot!(help("man"), @"
    Print or write the manual pages

    Usage: packcast man [OPTIONS] [FOLDER]

    Arguments:
      [FOLDER]
              Write a page for each command into this folder, which is created if
              missing

              Without a folder, the page of packcast itself is printed.

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast man | man -l -
      packcast man ~/.local/share/man/man1 && man packcast-publish
    ");
}

#[test]
fn log() {
    assert_snapshot!(help("log"), @"
    List the changes of a target: who changed what, and when

    The newest change comes first. Changes of assignments, groups and locations are
    signed commits. Number, time, key and changes of a commit are verified; author
    and command are not. Other changes, such as 'activate', 'pause --all' and
    'device block', are events. They are not signed: somebody who can write to the
    table can forge and delete them. Creating a token leaves no trace. The exit code
    is 3 if a commit does not verify, or an event cannot be read.

    Usage: packcast log [OPTIONS]

    Options:
          --limit <COUNT>
              List only this many changes

              The default is 20 for text; JSON and CSV have all changes.

          --before <NUMBER>
              List only commits before this number, and events before this Unix time

          --signed
              List only commits, which are signed, and no events

          --package <PACKAGE>
              List only changes of this package: its id, or name@version

          --group <GROUP>
              List only changes of this group

          --device <DEVICE>
              List only changes of this device: its id, or a host name that no other
              device has

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast log
      packcast log --limit 5 --format json
      packcast log --signed
      packcast log --before 1795327754
      packcast log --group lab --package vlc@3.0.21
      packcast log --device web01
    ");
}

#[test]
fn diff() {
    assert_snapshot!(help("diff"), @"
    Show the difference between two states of a target

    The state of each commit can be compared with that of any other, in both
    directions. 'packcast log' lists the commits.

    Usage: packcast diff [OPTIONS] <FROM> [TO]

    Arguments:
      <FROM>
              Number of the first commit, or 'head'

      [TO]
              Number of the second commit, or 'head'

              [default: head]

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast diff 1795327754
      packcast diff 1795327754 1795330012
      packcast diff head 1795327754 --format json
    ");
}

#[test]
fn revert() {
    assert_snapshot!(help("revert"), @"
    Bring a target back to the state of an earlier commit

    Shows the difference and asks, then restores groups, memberships, assignments
    and locations with one new commit; more than 90 newly assigned packages need
    several. 'packcast log' lists the commits. Devices that have deployed a package
    keep it.

    Usage: packcast revert [OPTIONS] <NUMBER>

    Arguments:
      <NUMBER>
              Number of the commit

    Options:
          --force
              Assign packages with force again, if they were assigned with force

              Devices that have such a package deploy it again.

          --members
              Add the earlier devices to groups that were deleted since

          --dry-run
              Only show the difference

          --yes
              Revert without a question

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

          --accept-key <KEY>
              Accept packages signed by this key (repeatable)

              Packages signed by your own key, or by a key of the key list, also a
              retired one, are always accepted.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast revert 1795327754 --dry-run
      packcast revert 1795327754
      packcast revert 1795327754 --members --yes
    ");
}

#[test]
fn audit() {
    assert_snapshot!(help("audit"), @"
    Check a target: history, keys, records, packages

    Verifies every commit, signature and key list, reads every page of the signed
    state, compares the records of groups, devices and locations with it, and
    verifies the manifest of each assigned package. The command changes nothing in
    the target. It reads the record of every device.

    The exit code is 0 if the command finds no problem, 3 if it finds one, and 1 or
    75 if it cannot check a part.

    Usage: packcast audit [OPTIONS]

    Options:
          --accept-key <KEY>
              Accept packages signed by this key (repeatable)

              Packages signed by your own key, or by a key of the key list, also a
              retired one, are always accepted.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast audit
      packcast audit --format json
    ");
}

#[test]
fn console() {
    assert_snapshot!(help("console"), @r"
    Show and change the target in a browser, until the session ends

    Serves web pages on loopback, with your cloud credentials. Each page names the
    command that shows or does the same. Before a change, its page shows the effect,
    and asks for the passphrase of the signing key if the key is locked. The printed
    address opens one session in one browser. The command ends with the session, and
    after 8 hours without use.

    Usage: packcast console [OPTIONS]

    Options:
          --open
              Open the console in the browser of this machine

          --read-only
              Serve no pages that change the target

          --port <PORT>
              Serve the pages on this port, from 1024 on; 0 chooses a free port

              [default: 0]

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast console
      packcast console --open
      packcast console --read-only
      packcast console --port 8470 --target production
    ");
}

#[test]
fn import() {
    assert_snapshot!(help("import"), @"
    Import from another deployment server

    Usage: packcast import [OPTIONS] <COMMAND>

    Commands:
      ocs   Import packages, groups, assignments and results from an OCS Inventory
            server
      help  Print this message or the help of the given subcommand(s)

    Options:
      -h, --help
              Print help (see a summary with '-h')

    Global options: …
    ");
}

#[test]
fn import_ocs() {
    assert_snapshot!(help("import ocs"), @r"
    Import packages, groups, assignments and results from an OCS Inventory server

    Reads the database of the server and its download directory, and writes to
    neither. Packages keep their ids, and devices theirs, so that no device deploys
    a package again. Run the command again to import what is new on the server since
    then. The exit code is 1 if something could not be imported, or differs.

    Usage: packcast import ocs [OPTIONS]

    Options:
          --database <URL>
              Address of the database, such as `mysql://USER@HOST/DATABASE`

              The password is read from --password-file, from the environment
              variable `PACKCAST_OCS_PASSWORD`, or from the terminal. Connections to
              other machines use TLS.

          --downloads <DIR|URL>
              Download directory of the server, a copy of it, or the address that
              serves it

              An address begins with https://, such as
              `https://ocs.example.net/download`.

          --downloads-ca <FILE>
              Verify the address in --downloads with the certificate authorities in
              this file

          --plain-http
              Accept an address in --downloads that begins with http://

              Others on the network can replace packages on their way, and the
              import signs them.

          --password-file <FILE>
              Read the password of the database user from this file

          --tls-ca <FILE>
              Verify the database server with the certificate authorities in this
              file

          --without-tls
              Connect to the database without TLS, also over a network

          --names <FILE>
              Read names of packages and groups from this file

              Each line is '<package id> <name>@<version>' or 'group <id> <name>'.
              The dry run shows the ids and the names that a rule makes of the names
              on the OCS server. A group that exists here and that this file names
              is joined.

          --again
              Also import rows of an earlier import that somebody has changed here
              since

              Without the option, a repeated import carries over what is new on the
              OCS server: it does not assign again what was unassigned here, and
              creates no group again that was deleted here.

          --compare
              Compare the results of the OCS server with those here, and import
              nothing

              The text shows the packages with different outcomes, JSON shows all.
              The exit code is 1 if outcomes differ, or if rows of the OCS server
              cannot be compared.

          --agent-script <SYSTEM>
              Print the script that moves an OCS agent to --server, and import
              nothing

              The agent keeps its device id and its history. The script with the
              address of the earlier server moves the agent back.

              [possible values: unix, windows]

          --server <URL>
              Address of the server in the configuration of the moved agents

          --device-ca <PATH>
              File with certificate authorities on the moved devices

          --package <FILE>
              Write the script as an archive for a package of the OCS server

          --dry-run
              Only show the effect of the command: change nothing, and read no key

          --yes
              Do not ask before a change of several devices

          --key <FILE>
              Sign with the key in this file instead of the target's own key

              The environment variable PACKCAST_SECRET_KEY can hold the key itself.
              Passing --key as well is an error.

      -h, --help
              Print help (see a summary with '-h')

    Global options: …

    Examples:
      packcast import ocs --database mysql://ocs@db.example.net/ocsweb \
          --downloads /var/lib/ocsinventory-reports/download --dry-run
      packcast import ocs --downloads https://ocs.example.net/download \
          --names names.txt \
          --database 'mysql://ocs@localhost/ocsweb?socket=/run/mysqld/mysqld.sock'
      packcast import ocs --agent-script unix \
          --server https://packcast.example.net/ocsinventory/TOKEN > move.sh
    ");
}
