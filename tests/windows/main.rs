//! A story of the Windows agent, run by Wine against a real `packcast local`. Each step checks that
//! the agent's events, the records and the files agree.
//!
//! The arguments are the programs of the agent and of Wine; the prefix is in `WINEPREFIX`. Prints a
//! line for each successful step, and ends with the first failure.
//!
//! Not covered, because Wine differs from Windows: the quoting of special characters by `cmd.exe`,
//! the system's certificate store, access lists (Wine maps them to file modes), and running
//! programs that prevent the replacement of their files.
#![expect(
    clippy::unwrap_used,
    reason = "a story that cannot be set up has to fail"
)]
#![expect(
    clippy::print_stdout,
    reason = "this program prints the successful steps"
)]

mod machine;
mod processes;
mod story;

use std::time::Instant;

use packcast_tests::world::World;

use crate::machine::{Machine, Wine};
use crate::story::{Story, StoryStep};

/// The program that publishes, assigns and serves packages.
const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

const STEPS: [(&str, StoryStep); 10] = [
    ("check-in", Story::check_in),
    ("state without access for others", Story::private_state),
    ("fragments over HTTPS", Story::fragments),
    ("LAUNCH of a .cmd", Story::launch),
    ("EXECUTE without an archive", Story::execute),
    ("EXECUTE with an archive", Story::execute_of_archive),
    ("STORE into a path with spaces", Story::store),
    ("a time limit that ends a process tree", Story::time_limit),
    ("a program that stays in the background", Story::background),
    ("killed during a download, and resumed", Story::killed),
];

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(agent), Some(wine)) = (arguments.next(), arguments.next()) else {
        panic!("expected the agent binary and Wine's as arguments");
    };
    let began = Instant::now();
    let world = World::start(PROGRAM);
    let machine = Machine::new(&world, agent.as_ref(), Wine::new(wine.as_ref()));
    let story = Story { world, machine };
    for (name, step) in STEPS {
        let began = Instant::now();
        let summary = step(&story);
        println!(
            "{name:40} {:6.2} s  {summary}",
            began.elapsed().as_secs_f64()
        );
    }
    println!("{:40} {:6.2} s", "all steps", began.elapsed().as_secs_f64());
}
