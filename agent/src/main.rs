//! The `packcast-agent` program.

use std::process::ExitCode;

use clap::Parser as _;
use packcast_agent::command::{Cli, run};

fn main() -> ExitCode {
    run(&Cli::parse())
}
