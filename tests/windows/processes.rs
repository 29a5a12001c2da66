//! Processes on this machine, which include those of Wine.

use std::fs;

use packcast_tests::process::eventually;
use rustix::process::{Pid, Signal, kill_process};

/// Programs that run for long, identified by a word in their command lines; killed on drop.
#[derive(Debug)]
pub(crate) struct Endless(u32);

impl Endless {
    /// Creates an identifying word that no other process has.
    pub(crate) fn new() -> Self {
        Self(fastrand::u32(1_000_000..10_000_000))
    }

    /// Returns a command that runs for 15 minutes.
    ///
    /// The word is its time limit for an answer, which has no effect because answers arrive at once.
    pub(crate) fn command(&self) -> String {
        format!("ping -n 900 -w {} 127.0.0.1", self.0)
    }

    /// Waits until this many processes run.
    pub(crate) fn expect(&self, count: usize) {
        eventually(&format!("{count} processes run"), || {
            (self.running().len() == count).then_some(())
        });
    }

    fn running(&self) -> Vec<i32> {
        let word = self.0.to_string();
        let processes = fs::read_dir("/proc").expect("Wine runs on Linux");
        processes
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|id: &i32| {
                // A process that has just ended has no command line.
                let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
                line.split(|byte| *byte == 0).any(|part| {
                    let part = String::from_utf8_lossy(part);
                    part.split_ascii_whitespace().any(|part| part == word)
                })
            })
            .collect()
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        for process in self.running().into_iter().filter_map(Pid::from_raw) {
            // The process may have ended already.
            let _ = kill_process(process, Signal::KILL);
        }
    }
}
