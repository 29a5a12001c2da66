//! Tests of the whole command line.

mod examples;
mod help;

use std::ffi::OsString;

use clap::Command;
use insta::assert_snapshot;

use crate::{LOST, cli, parse};

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
fn a_lost_output_is_an_error() {
    assert_snapshot!(LOST, @"the command completed, but its output could not be written");
}
