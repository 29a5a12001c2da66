//! Time line of a simulated rollout: the openings of its waves, and the first events of each kind.

use packcast_protocol::UnixTime;
use packcast_rollout::rollout::{Gate, GateState, GateStatus, RolloutPlan, status};

use crate::truth::Counts;
use crate::world::World;

/// Machines of which the programs, failures and deaths are in the time line.
const FIRST: u32 = 3;

/// Event of a simulation. Devices are numbers, and waves count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Opened(usize),
    Began(u32),
    /// The machine of the device is never heard from again.
    Died(u32),
    Failed(u32),
    /// This number of devices of a wave is healthy.
    Healthy(usize, u32),
    /// Each place of the round is taken.
    Full,
    Halted,
    /// The last wave has gone well.
    Complete,
    /// Nothing happens any more, and the rollout is in this state.
    Ended(GateStatus),
    /// A device has done something.
    Step,
}

/// Line of a time line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: UnixTime,
    pub(crate) happened: Happened,
    /// Programs that have begun, healthy devices, and failures, in all rounds.
    pub(crate) totals: [u32; 3],
    /// Counts of the round.
    pub(crate) round: Counts,
}

/// Time line, with the maximum of each wave.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub(crate) lines: Vec<Line>,
    /// Maximum number of devices of each wave that had begun, and were not healthy.
    pub(crate) at_once: Vec<u32>,
    /// Number of healthy devices with which most of each wave is healthy.
    most: Vec<u32>,
    /// Waves in which a program has begun.
    began_in: Vec<bool>,
    died: u32,
    failed: u32,
    full_round: u32,
    is_complete: bool,
}

impl Timeline {
    pub(crate) fn new(plan: &RolloutPlan) -> Self {
        let waves = plan.waves.len();
        Self {
            lines: Vec::new(),
            at_once: vec![0; waves],
            most: plan.waves.iter().map(|it| it.members * 9 / 10).collect(),
            began_in: vec![false; waves],
            died: 0,
            failed: 0,
            full_round: 0,
            is_complete: false,
        }
    }

    /// Takes an event, and keeps its line if it is one of the first of its kind.
    pub(crate) fn note(&mut self, happened: Happened, world: &World) {
        let (gate, truth) = (world.gate(), &world.truth);
        let wave = usize::from(gate.wave.get()) - 1;
        self.at_once[wave] = self.at_once[wave].max(truth.counts.begun - truth.counts.healthy);
        let happened = match happened {
            Happened::Step if !self.is_complete && is_complete(gate, world) => Happened::Complete,
            Happened::Step if gate.free == 0 && gate.state == GateState::Running => Happened::Full,
            happened => happened,
        };
        if self.keeps(&happened, world) {
            self.lines.push(Line {
                at: world.now,
                happened,
                totals: [truth.reached, truth.all_healthy, gate.all_failed],
                round: truth.counts,
            });
        }
    }

    fn keeps(&mut self, happened: &Happened, world: &World) -> bool {
        let is_first = |count: &mut u32| {
            *count += 1;
            *count <= FIRST
        };
        match *happened {
            Happened::Opened(_) | Happened::Halted | Happened::Ended(_) => true,
            Happened::Step => false,
            Happened::Complete => {
                self.is_complete = true;
                true
            }
            Happened::Began(device) => {
                let wave = usize::from(world.devices[device as usize].wave.get()) - 1;
                let is_first_of_wave = !std::mem::replace(&mut self.began_in[wave], true);
                is_first_of_wave || world.truth.reached <= FIRST
            }
            Happened::Died(_) => is_first(&mut self.died),
            Happened::Failed(_) => is_first(&mut self.failed),
            Happened::Healthy(wave, healthy) => healthy == 1 || healthy == self.most[wave],
            Happened::Full => {
                let round = world.gate().round;
                std::mem::replace(&mut self.full_round, round) != round
            }
        }
    }
}

fn is_complete(gate: &Gate, world: &World) -> bool {
    // Most events happen before the last wave, and need not be looked at.
    let is_last = usize::from(gate.wave.get()) == world.waves.as_slice().len();
    is_last && {
        let devices = u32::try_from(world.devices.len()).unwrap_or(u32::MAX);
        status(gate, &gate.table, &world.waves, devices, world.now) == GateStatus::Complete
    }
}
