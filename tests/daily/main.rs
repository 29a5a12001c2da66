//! Daily questions of an administrator, asked of a local system with 200 devices.
//!
//! For each question, the program prints the command and its output on a terminal of 80 columns. It
//! compares the answers with the devices that it has simulated, and ends with exit code 1 if one is
//! wrong. The argument is the program `packcast`.

mod answers;
mod fleet;
mod questions;
mod terminal;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use self::fleet::{DEVICES, Fleet};
use self::questions::Questions;

fn main() -> ExitCode {
    let program = std::env::args_os().nth(1).map(PathBuf::from);
    let program = program.and_then(|path| path.canonicalize().ok());
    let program = program.expect("the argument is the path of packcast");
    let begun = Instant::now();
    let fleet = Fleet::start(&program);
    fleet.deploy();
    let mut questions = Questions::new(&fleet);
    questions.print(format_args!(
        "{DEVICES} devices after {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    answers::all(&mut questions);
    let wrong = questions.wrong;
    questions.print(format_args!(
        "\n{:.1} s, wrong: {wrong}",
        begun.elapsed().as_secs_f64()
    ));
    if wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
