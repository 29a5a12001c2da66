//! A story of the Windows agent, run by Wine against a real `packcast local`. Each step checks that
//! the agent's events, the records and the files agree.
//!
//! The arguments are the programs of the agent and of Wine, and two packages for Windows Installer,
//! the second of which is an upgrade of the first; the prefix is in `WINEPREFIX`. Prints a line for each successful step, and ends with the first failure.
//!
//! Not covered, because Wine differs from Windows: the quoting of special characters by `cmd.exe`,
//! the system's certificate store, access lists (Wine maps them to file modes, and pipes have none),
//! running programs that prevent the replacement of their files, the event log, restarts by the
//! service control manager, and the notice before a shutdown.
#![expect(
    clippy::unwrap_used,
    reason = "a story that cannot be set up has to fail"
)]
#![expect(
    clippy::print_stdout,
    reason = "this program prints the successful steps"
)]

mod installed;
mod machine;
mod processes;
mod story;

use std::path::PathBuf;
use std::time::Instant;

use packcast_tests::world::World;

use crate::installed::Installed;
use crate::machine::{Machine, Wine};
use crate::story::{Story, StoryStep};

/// The program that publishes, assigns and serves packages.
const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

const STEPS: [(&str, StoryStep); 16] = [
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
    ("a silent installation", Story::installation),
    ("check-in and log of the service", Story::service),
    ("LAUNCH by the service", Story::launch_by_service),
    ("a stop while a program runs", Story::stop_beside_program),
    ("an upgrade", Story::upgrade),
    ("an uninstallation", Story::uninstallation),
];

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let mut next = || arguments.next().map(PathBuf::from);
    let (Some(agent), Some(wine), Some(package), Some(upgrade)) = (next(), next(), next(), next())
    else {
        panic!("expected the agent binary, Wine's, and two packages as arguments");
    };
    let began = Instant::now();
    let world = World::start(PROGRAM);
    let wine = Wine::new(&wine);
    let story = Story {
        machine: Machine::new(&world, &agent, wine.clone()),
        installed: Installed::new(wine, [package, upgrade]),
        world,
    };
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
