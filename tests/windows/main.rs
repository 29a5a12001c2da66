//! A story of the Windows agent, run by Wine against a real `packcast local`. Each step checks that
//! the agent's events, the records and the files agree.
//!
//! The arguments are the programs of the agent and of Wine, two packages for Windows Installer, the
//! second of which is an upgrade of the first, and three builds for updates: the same version with
//! points at which it can end, a newer version with points, and a program that ends at once. A number
//! N may follow: then the agent ends at one of N points of its updates, instead of the story. The
//! prefix is in `WINEPREFIX`. Prints a line for each successful step, and ends with the first failure.
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
mod kills;
mod machine;
mod processes;
mod story;
mod update;

use std::path::PathBuf;
use std::time::Instant;

use packcast_tests::process::text;

use crate::machine::Wine;
use crate::story::{Story, StoryStep};
use crate::update::Builds;

/// The program that publishes, assigns and serves packages.
const PROGRAM: &str = env!("CARGO_BIN_EXE_packcast-under-test");

const STEPS: [(&str, StoryStep); 20] = [
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
    (
        "an upgrade with an invalid configuration",
        Story::upgrade_with_invalid_configuration,
    ),
    ("an update of the agent by itself", Story::self_update),
    ("an update that goes back", Story::update_that_goes_back),
    ("restarts of the updated service", Story::restarts),
    ("an uninstallation", Story::uninstallation),
];

fn main() {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [
        agent,
        wine,
        package,
        upgrade,
        with_points,
        newer,
        broken,
        rest @ ..,
    ] = &arguments[..]
    else {
        panic!("expected the agent, Wine, two packages and three builds as arguments");
    };
    let wine = Wine::new(wine);
    let builds = Builds::new(with_points.clone(), newer.clone(), broken.clone());
    let began = Instant::now();
    if let [one_in] = rest {
        let one_in = text(one_in).parse().expect("the last argument is a number");
        for line in kills::run(PROGRAM, &builds, &wine, one_in) {
            println!("{line}");
        }
    } else {
        let packages = [package.clone(), upgrade.clone()];
        tell(&Story::new(agent, wine, packages, builds));
    }
    println!("{:40} {:6.2} s", "all steps", began.elapsed().as_secs_f64());
}

fn tell(story: &Story) {
    for (name, step) in STEPS {
        let began = Instant::now();
        let summary = step(story);
        println!(
            "{name:40} {:6.2} s  {summary}",
            began.elapsed().as_secs_f64()
        );
    }
}
