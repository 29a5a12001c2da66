//! Tests of the whole command line.

mod examples;
mod help;

use insta::assert_snapshot;

use crate::{LOST, cli};

#[test]
fn the_command_line_is_consistent() {
    cli().debug_assert();
}

#[test]
fn a_lost_output_is_an_error() {
    assert_snapshot!(LOST, @"the command completed, but its output could not be written");
}
