//! The memory and the wake-ups of an idle agent: the service between two check-ins.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use packcast_agent::event::Event;
use packcast_tests::world::World;
use packcast_tests::world::device::RunningAgent;

/// The largest memory of an idle agent, in KiB.
const MAX_KIB: u64 = 12 << 10;

/// The time after a round until the agent is idle, with a margin: its threads for blocking work end
/// after ten seconds.
const END_OF_ROUND: Duration = Duration::from_secs(12);

/// The time before the next check-in that is not observed, because a check-in is up to a tenth earlier
/// or later.
const MARGIN: Duration = Duration::from_secs(8);

/// An idle agent over a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// The resident memory, which counts pages of the program that other processes share.
    rss_kib: u64,
    /// The proportional memory: of shared pages, the share of this process.
    pss_kib: u64,
    /// The part of the memory that belongs to no file.
    anonymous_kib: u64,
    threads: usize,
    /// The wake-ups in the idle time.
    wake_ups: u64,
    /// The idle time between check-ins.
    time: Duration,
    check_ins: u32,
}

impl Idle {
    /// Starts the service, and observes it between its check-ins for at least this time.
    ///
    /// The sleep is the subject of the measurement: nothing happens meanwhile.
    pub(crate) fn measure(world: &World, agent: Option<&Path>, time: Duration) -> io::Result<Self> {
        let device = world.unenrolled_device("idle");
        let mut service = device.start_service(agent);
        let (mut observed, mut count, mut check_ins) = (Duration::ZERO, 0, 0);
        while observed < time {
            let Event::CheckedIn {
                next_check_in_s, ..
            } = service.next_event()
            else {
                continue;
            };
            check_ins += 1;
            let next = Duration::from_secs(next_check_in_s.into());
            let idle = next.saturating_sub(END_OF_ROUND + MARGIN);
            assert!(!idle.is_zero(), "the next check-in is in {next:?}");
            let idle = idle.min(time.saturating_sub(observed));
            sleep(END_OF_ROUND);
            let before = wake_ups(&service)?;
            sleep(idle);
            count += wake_ups(&service)? - before;
            observed += idle;
        }
        let memory = fs::read_to_string(process(&service).join("smaps_rollup"))?;
        Ok(Self {
            rss_kib: number(&memory, "Rss:"),
            pss_kib: number(&memory, "Pss:"),
            anonymous_kib: number(&memory, "Anonymous:"),
            threads: tasks(&service)?.len(),
            wake_ups: count,
            time: observed,
            check_ins,
        })
    }

    /// Returns the measurements as a sentence.
    pub(crate) fn summary(&self) -> String {
        let mib = |kib: u64| format!("{}.{}", kib >> 10, (kib % 1024) * 10 / 1024);
        format!(
            "idle agent: {} MiB resident, {} MiB proportional, {} MiB of these without a file, {} threads; \
             {} wake-ups in {} s between check-ins ({} check-ins)",
            mib(self.rss_kib),
            mib(self.pss_kib),
            mib(self.anonymous_kib),
            self.threads,
            self.wake_ups,
            self.time.as_secs(),
            self.check_ins,
        )
    }

    /// Returns the limits that the agent exceeds.
    pub(crate) fn exceeded(&self) -> Vec<&'static str> {
        let limits = [
            (
                "more than 12 MiB of resident memory",
                self.rss_kib > MAX_KIB,
            ),
            (
                "more than 12 MiB of proportional memory",
                self.pss_kib > MAX_KIB,
            ),
            ("wake-ups without a timer of the agent", self.wake_ups > 0),
        ];
        let exceeded = limits.into_iter().filter(|(_, exceeds)| *exceeds);
        exceeded.map(|(limit, _)| limit).collect()
    }
}

fn process(agent: &RunningAgent) -> std::path::PathBuf {
    format!("/proc/{}", agent.process_id()).into()
}

/// Returns the `status` files of all threads.
fn tasks(agent: &RunningAgent) -> io::Result<Vec<String>> {
    let tasks = fs::read_dir(process(agent).join("task"))?;
    tasks
        .map(|task| fs::read_to_string(task?.path().join("status")))
        .collect()
}

/// Returns the number of times that a thread of the process has gone to sleep, which it does after each
/// wake-up.
fn wake_ups(agent: &RunningAgent) -> io::Result<u64> {
    let tasks = tasks(agent)?;
    let counts = tasks
        .iter()
        .map(|status| number(status, "voluntary_ctxt_switches:"));
    Ok(counts.sum())
}

/// Returns the number after a name at the beginning of a line.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel writes this line")
}
