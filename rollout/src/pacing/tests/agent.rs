//! A model of the Unix agent's scheduler, with its faults, on a simulated clock.

use packcast_protocol::ocs::reply::Conf;

use super::Announced;

/// Number of periods after which the model gives up on packages that are not deployed.
const PATIENCE: u32 = 10_000;

/// Result of a run of the model.
#[derive(Debug)]
pub(super) struct Run {
    /// Times of deployment, in seconds, in the order of the given packages.
    pub(super) deployed: Vec<Option<u64>>,
    /// Time at which the process had deployed all packages, or died.
    pub(super) ended: u64,
    pub(super) died: bool,
}

#[derive(Debug)]
struct Process {
    /// Number of missing fragments of each package; `None` once it is deployed.
    left: Vec<Option<u32>>,
    deployed: Vec<Option<u64>>,
    /// The packages of priority 0. A deployed package leaves a hole in this list, unless it is the
    /// last entry.
    urgent: Vec<Option<usize>>,
    /// `true` once a hole has got a turn. The first cycle for other priorities then kills the
    /// process.
    is_spoiled: bool,
    clock: u64,
}

/// Runs the scheduler on packages in the given order.
pub(super) fn run(conf: &Conf, packages: &[Announced]) -> Run {
    let mut process = Process {
        left: packages
            .iter()
            .map(|(_, fragments)| Some(*fragments))
            .collect(),
        deployed: vec![None; packages.len()],
        urgent: Vec::new(),
        is_spoiled: false,
        clock: 0,
    };
    let mut died = false;
    for _ in 0..PATIENCE {
        if died || process.queued().next().is_none() {
            break;
        }
        died = process.period(conf, packages).is_err();
    }
    Run {
        deployed: process.deployed,
        ended: process.clock,
        died,
    }
}

impl Process {
    fn queued(&self) -> impl Iterator<Item = usize> {
        let left = self.left.iter().enumerate();
        left.filter_map(|(index, left)| left.map(|_| index))
    }

    /// Runs one period. Fails if the real process would die.
    fn period(&mut self, conf: &Conf, packages: &[Announced]) -> Result<(), ()> {
        let priority = |index: usize| u32::from(packages[index].0.get());
        let urgent: Vec<_> = self
            .queued()
            .filter(|index| priority(*index) == 0)
            .collect();
        self.urgent.extend(urgent.into_iter().map(Some));
        for cycle in 1..=conf.period_length.get() {
            if !self.urgent.is_empty() {
                self.urgent_cycle(conf);
                continue;
            }
            if self.is_spoiled {
                return Err(());
            }
            let queued: Vec<usize> = self.queued().collect();
            for index in queued {
                if cycle.is_multiple_of(priority(index)) {
                    self.turn(index);
                    self.clock += u64::from(conf.frag_latency_s.get());
                }
            }
            self.clock += u64::from(conf.cycle_latency_s.get());
        }
        self.clock += u64::from(conf.period_latency_s);
        Ok(())
    }

    fn urgent_cycle(&mut self, conf: &Conf) {
        let mut position = 0;
        while let Some(urgent) = self.urgent.get(position) {
            match *urgent {
                Some(index) => self.turn(index),
                None => self.is_spoiled = true,
            }
            self.clock += u64::from(conf.frag_latency_s.get());
            position += 1;
        }
    }

    /// Gives a package its turn: downloads a fragment, or deploys the complete package.
    fn turn(&mut self, index: usize) {
        match &mut self.left[index] {
            None => {}
            Some(0) => {
                self.left[index] = None;
                self.deployed[index] = Some(self.clock);
                self.leave(index);
            }
            Some(left) => *left -= 1,
        }
    }

    fn leave(&mut self, index: usize) {
        if let Some(urgent) = self
            .urgent
            .iter_mut()
            .find(|urgent| **urgent == Some(index))
        {
            *urgent = None;
        }
        while self.urgent.last() == Some(&None) {
            self.urgent.pop();
        }
    }
}
