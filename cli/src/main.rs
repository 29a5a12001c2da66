//! `packcast`, as an operator types it.

use std::process::ExitCode;

fn main() -> ExitCode {
    packcast::run(std::env::args_os())
}
