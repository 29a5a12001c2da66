//! `packcast` for the stories; Cargo builds only the binaries of a test's own package.

use std::process::ExitCode;

fn main() -> ExitCode {
    packcast::run(std::env::args_os())
}
