//! Tests of the whole command line.

mod examples;
mod help;

use std::ffi::OsString;

use clap::Command;
use insta::assert_snapshot;

use crate::{LOST, cli, controls_only_style, parse};

#[test]
fn the_command_line_is_consistent() {
    cli().debug_assert();
}

/// Returns the arguments with named values that demand their case, of a command and all below it.
fn demanding_case(command: &Command) -> Vec<String> {
    let arguments = command.get_arguments();
    let own = arguments
        .filter(|argument| argument.get_action().takes_values())
        .filter(|argument| !argument.get_possible_values().is_empty())
        .filter(|argument| !argument.is_ignore_case_set())
        .map(|argument| format!("{} {argument}", command.get_name()));
    let below = command.get_subcommands().flat_map(demanding_case);
    own.chain(below).collect()
}

#[test]
fn named_values_may_be_written_in_any_case() {
    assert_eq!(demanding_case(&cli()), Vec::<String>::new());
    let publish = |action: &str| {
        let line = [
            "packcast", "publish", "--action", action, "--format", "JSON",
        ];
        parse(line.map(OsString::from)).is_ok()
    };
    assert!(publish("LAUNCH") && publish("Launch") && publish("launch"));
    assert!(!publish("run"));
}

#[test]
fn an_argument_cannot_control_the_terminal() {
    let refused = |group: &str| {
        let line = ["packcast", "group", "create", group];
        parse(line.map(OsString::from)).unwrap_err()
    };
    assert!(controls_only_style(&refused("LAB")));
    for hostile in ["a\u{1b}]0;x\u{7}", "a\u{1b}[2J", "a\u{1b}", "a\u{9b}2J"] {
        assert!(!controls_only_style(&refused(hostile)), "{hostile:?}");
    }
}

#[test]
fn a_lost_output_is_an_error() {
    assert_snapshot!(LOST, @"the command completed, but its output could not be written");
}
