//! The kill matrix of self-updates on Windows: the starter, and the version on trial, end at each of
//! their effects. Afterwards the device must have a working agent, and the right result.
//!
//! Wine's programs cannot be traced. So these agents are built with points at which they end.

use std::collections::BTreeSet;
use std::fs;

use packcast_agent::event::Event;
use packcast_tests::world::World;

use crate::machine::{Machine, Wine};
use crate::update::{Builds, PACKAGE, publish};

/// The number of rounds after which a device has no task left.
const MOST_ROUNDS: usize = 8;

/// The rounds of a device in which its agent may end: a broken build needs three starts, and one more
/// round for the report.
const BROKEN_ROUNDS: usize = 4;

/// The process that ends.
#[derive(Clone, Copy, Debug)]
struct Subject {
    name: &'static str,
    /// The role as the agent knows it.
    role: &'static str,
    is_broken: bool,
    rounds: usize,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "starter of a working version",
        role: "starter",
        is_broken: false,
        rounds: 1,
    },
    Subject {
        name: "version on trial",
        role: "version",
        is_broken: false,
        rounds: 1,
    },
    Subject {
        name: "starter of a broken version",
        role: "starter",
        is_broken: true,
        rounds: BROKEN_ROUNDS,
    },
];

/// A point: in this round, the process ends at the point with this number.
#[derive(Clone, Copy, Debug)]
struct FaultPoint {
    round: usize,
    number: u32,
}

/// A system whose devices are assigned one update.
struct KillSite<'a> {
    world: World,
    builds: &'a Builds,
    wine: &'a Wine,
    subject: Subject,
}

/// Ends the processes at one of `one_in` points. The iterator does the work, and returns a line for each
/// process.
///
/// # Panics
/// A device without a working agent, or with a wrong result.
pub(crate) fn run(
    program: &str,
    builds: &Builds,
    wine: &Wine,
    one_in: u32,
) -> impl Iterator<Item = String> {
    let of_subject = move |subject: Subject| {
        let site = KillSite::start(program, builds, wine, subject);
        let good = site.device(None).1;
        let kills: usize = (1..=subject.rounds)
            .map(|round| site.kills_of_round(round, one_in, &good))
            .sum();
        assert!(kills > 0, "{}: no point was reached", subject.name);
        format!("{kills} kills: {}", subject.name)
    };
    SUBJECTS.into_iter().map(of_subject)
}

impl<'a> KillSite<'a> {
    fn start(program: &str, builds: &'a Builds, wine: &'a Wine, subject: Subject) -> Self {
        let world = World::start(program);
        let build = if subject.is_broken {
            &builds.broken
        } else {
            &builds.newer
        };
        publish(&world, build);
        Self {
            world,
            builds,
            wine,
            subject,
        }
    }

    /// Ends the process at points of a round, until a round has no more. Returns the number of kills.
    fn kills_of_round(&self, round: usize, one_in: u32, good: &BTreeSet<String>) -> usize {
        let mut kills = 0;
        for number in (1..).step_by(one_in as usize) {
            let point = FaultPoint { round, number };
            let (is_killed, files) = self.device(Some(point));
            assert_eq!(&files, good, "{} at {point:?}", self.subject.name);
            if !is_killed {
                break;
            }
            kills += 1;
        }
        kills
    }

    /// Lets a new device update itself. Returns `true` if the process ended at the point, and the
    /// files of versions afterwards.
    fn device(&self, point: Option<FaultPoint>) -> (bool, BTreeSet<String>) {
        let machine = Machine::new(&self.world, &self.builds.with_points, self.wine.clone());
        machine.run();
        let version = self.builds.version(self.subject.is_broken);
        let package = format!("{PACKAGE}@{version}");
        self.world
            .ok(&["assign", &package, "--device", machine.id()]);
        let ended = machine.path("ended");
        for round in 1..=MOST_ROUNDS {
            let fault = point.filter(|point| point.round == round).map(|point| {
                let (role, file) = (self.subject.role, machine.name("ended"));
                format!("{role}:{}:{file}", point.number)
            });
            if is_idle(&machine.attempt(fault.as_deref())) {
                break;
            }
        }
        self.expect_result(&machine);
        (ended.exists(), versions(&machine))
    }

    fn expect_result(&self, machine: &Machine) {
        let subject = self.subject.name;
        let state = self.world.device_state_of(machine.id());
        let codes: Vec<String> = state
            .finished
            .iter()
            .map(|it| it.code.to_string())
            .collect();
        let expected = if self.subject.is_broken {
            "ERR_EXECUTE"
        } else {
            "SUCCESS"
        };
        assert_eq!(codes, [expected], "{subject}: {state:#?}");
        assert!(state.open.is_empty(), "{subject}: {state:#?}");
        let memory = fs::read_to_string(machine.path("state/versions/memory")).unwrap();
        let kept = format!("\"kept\":{{\"version\":\"{}\"", self.builds.version(false));
        let is_kept = memory.contains(&kept);
        assert_eq!(is_kept, !self.subject.is_broken, "{subject}: {memory}");
        assert!(!memory.contains("\"trial\""), "{subject}: {memory}");
    }
}

/// Returns `true` after a round without tasks.
fn is_idle(events: &[Event]) -> bool {
    let mut events = events.iter();
    events.any(|event| matches!(event, Event::CheckedIn { tasks: 0, .. }))
}

/// Returns the names of the files of versions.
fn versions(machine: &Machine) -> BTreeSet<String> {
    let files = fs::read_dir(machine.path("state/versions")).expect("an update was staged");
    let files = files.map(|file| file.expect("the folder can be read").file_name());
    files
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}
