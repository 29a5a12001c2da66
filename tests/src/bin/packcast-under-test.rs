//! `packcast` for the stories: Cargo hands a package's tests none but its own binaries.

use std::process::ExitCode;

fn main() -> ExitCode {
    packcast::run(std::env::args_os())
}
