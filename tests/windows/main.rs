//! The agent for Windows, run by Wine against a real `packcast local`: what it is told, and
//! that the records and the files agree with what it did.
//!
//! The arguments are the agent's program and Wine's; the prefix is in `WINEPREFIX`. Prints a
//! line for each thing that holds, and ends with the first that does not.
//!
//! Left for real Windows, as Wine has it otherwise: how `cmd.exe` quotes what is not plain, the
//! system's certificate store, access lists (Wine turns them into the modes of files), and
//! whether a program that is running keeps its files from being replaced.
#![expect(
    clippy::unwrap_used,
    reason = "a story that cannot be set up has to fail"
)]
#![expect(
    clippy::print_stdout,
    reason = "what holds is what this program is for"
)]

mod machine;
mod processes;
mod story;

use std::time::Instant;

use packcast_tests::world::World;

use crate::machine::{Machine, Wine};
use crate::story::{Story, StoryStep};

/// The program that publishes, assigns and serves.
const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

const STEPS: [(&str, StoryStep); 10] = [
    ("check-in", Story::check_in),
    ("state that others cannot enter", Story::private_state),
    ("fragments over HTTPS", Story::fragments),
    ("LAUNCH of a .cmd", Story::launch),
    ("EXECUTE without an archive", Story::execute),
    ("EXECUTE with an archive", Story::execute_of_archive),
    ("STORE into a path with spaces", Story::store),
    ("a time limit that ends a tree", Story::time_limit),
    ("a program that stays in the background", Story::background),
    ("killed in mid-download, and resumed", Story::killed),
];

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(agent), Some(wine)) = (arguments.next(), arguments.next()) else {
        panic!("the arguments are the agent's program and Wine's");
    };
    let began = Instant::now();
    let world = World::start(PROGRAM);
    let machine = Machine::new(&world, agent.as_ref(), Wine::new(wine.as_ref()));
    let story = Story { world, machine };
    for (name, step) in STEPS {
        let began = Instant::now();
        let seen = step(&story);
        println!("{name:40} {:6.2} s  {seen}", began.elapsed().as_secs_f64());
    }
    println!("{:40} {:6.2} s", "all of it", began.elapsed().as_secs_f64());
}
