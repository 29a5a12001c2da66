//! The binary `packcast`.

use std::process::ExitCode;

fn main() -> ExitCode {
    packcast::run(std::env::args_os())
}
