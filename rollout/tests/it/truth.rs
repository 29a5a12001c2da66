//! The truth about a rollout, counted apart from the gate, and the promises that it checks.

use packcast_protocol::UnixTime;
use packcast_protocol::api::GO_VALID_S;
use packcast_protocol::state::WaveNumber;
use packcast_protocol::state::document::Waves;
use packcast_rollout::rollout::{Gate, GateLimits, GateState, Place};

use crate::device::{Behaviour, Device};

/// Counts of a round.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) round: u32,
    pub(crate) begun: u32,
    pub(crate) healthy: u32,
    pub(crate) failed: u32,
}

/// Everything that has happened, and the first promise that was broken.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    limits: GateLimits,
    pub(crate) counts: Counts,
    /// The latest round in which each device has taken a place, and in which it was healthy.
    begun_in: Vec<u32>,
    healthy_in: Vec<u32>,
    /// Failures have halted this round.
    halted: bool,
    /// Time of the latest opening or resume.
    since: UnixTime,
    /// Rounds that a person has begun.
    pub(crate) person_rounds: u32,
    /// Machines on which the program has begun.
    pub(crate) reached: u32,
    /// Programs that have begun without a permission that was given while the gate ran.
    pub(crate) without_go: u32,
    /// Programs that have begun while the gate did not run, with a valid permission.
    pub(crate) after_stop: u32,
    /// The package fails on every machine, or kills it.
    is_hopeless: bool,
    /// Time at which each device got its latest permission.
    allowed_at: Vec<Option<UnixTime>>,
    /// Devices that have become healthy, in all rounds.
    pub(crate) all_healthy: u32,
    pub(crate) broken: Option<String>,
}

impl Truth {
    pub(crate) fn new(devices: &[Device], limits: GateLimits, now: UnixTime) -> Self {
        let is_bad = |device: &Device| {
            matches!(
                device.behaviour,
                Behaviour::Fails | Behaviour::Dies | Behaviour::DiesSettling
            )
        };
        let is_hopeless = devices.iter().all(is_bad);
        let devices = devices.len();
        Self {
            limits,
            counts: Counts {
                round: 1,
                ..Counts::default()
            },
            begun_in: vec![0; devices],
            healthy_in: vec![0; devices],
            halted: false,
            since: now,
            person_rounds: 0,
            reached: 0,
            without_go: 0,
            after_stop: 0,
            is_hopeless,
            allowed_at: vec![None; devices],
            all_healthy: 0,
            broken: None,
        }
    }

    fn check(&mut self, holds: bool, promise: impl FnOnce(&Self) -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(promise(self));
        }
    }

    /// Follows the gate into a new round, and compares the counts.
    pub(crate) fn follow(&mut self, gate: &Gate) {
        if gate.round != self.counts.round {
            self.check(gate.round > self.counts.round, |it| {
                format!("round {} follows round {}", gate.round, it.counts.round)
            });
            self.halted = false;
            let round = gate.round;
            self.counts = Counts {
                round,
                ..Counts::default()
            };
        }
    }

    fn compare(&mut self, gate: &Gate) {
        let Counts {
            begun,
            healthy,
            failed,
            ..
        } = self.counts;
        let places = self.places();
        self.check(begun - healthy <= places, |it| {
            format!("{:?} exceed {places} places", it.counts)
        });
        let expected = places.saturating_sub(begun - healthy);
        self.check(gate.free == expected, |it| {
            format!(
                "{} places are free, expected {expected}: {:?}",
                gate.free, it.counts
            )
        });
        let counted = (gate.begun, gate.healthy, gate.failed);
        self.check(counted == (begun, healthy, failed), |it| {
            format!("the gate counts {counted:?}, expected {:?}", it.counts)
        });
    }

    /// Returns the right side of the inequality, by the words of the rule.
    fn places(&self) -> u32 {
        let values = self.limits.values();
        values.halt_at + self.counts.healthy.min(values.at_once - values.halt_at)
    }

    /// A device has taken a place.
    pub(crate) fn begun(&mut self, device: usize, gate: &Gate) {
        let round = gate.round;
        self.check(self.begun_in[device] != round, |_| {
            format!("device {device} takes a second place in round {round}")
        });
        self.begun_in[device] = round;
        self.counts.begun += 1;
        self.compare(gate);
    }

    /// A failure is recorded.
    pub(crate) fn failed(&mut self, device: usize, place: Option<Place>, gate: &Gate) {
        if place.map(|place| place.round) != Some(gate.round) {
            self.compare(gate);
            return;
        }
        self.check(self.begun_in[device] == gate.round, |_| {
            format!("device {device} fails without a place")
        });
        self.counts.failed += 1;
        let values = *self.limits.values();
        let tolerated = self.counts.healthy * u32::from(values.tolerate) / 100;
        let halts = self.counts.failed >= values.halt_at + tolerated;
        self.halted |= halts;
        let is_right = gate.state != GateState::Halted || self.halted;
        self.check(is_right, |it| format!("halted: {:?}", it.counts));
        let has_stopped = matches!(gate.state, GateState::Halted | GateState::Ended);
        self.check(!halts || has_stopped, |it| {
            format!("not halted: {:?}", it.counts)
        });
        self.compare(gate);
    }

    /// A device is counted as healthy.
    pub(crate) fn healthy(
        &mut self,
        index: usize,
        place: Place,
        device: &Device,
        gate: &Gate,
        now: UnixTime,
    ) {
        self.check(device.is_settled(now), |_| {
            format!("device {index} is healthy at {now}: {device:?}")
        });
        if place.round == gate.round {
            self.check(self.healthy_in[index] != gate.round, |_| {
                format!("device {index} is healthy twice")
            });
            self.healthy_in[index] = gate.round;
            self.counts.healthy += 1;
        }
        self.all_healthy += 1;
        self.compare(gate);
    }

    /// A device is allowed to begin now.
    pub(crate) fn allowed(
        &mut self,
        index: usize,
        wave: WaveNumber,
        table: &str,
        gate: &Gate,
        waves: &Waves,
        now: UnixTime,
    ) {
        let runs = gate.state == GateState::Running && gate.table == table;
        self.check(runs, |_| {
            format!(
                "device {index} may begin, although the gate is {:?}",
                gate.state
            )
        });
        let from = waves.get(wave).and_then(|wave| wave.from);
        let is_open = wave <= gate.wave && from.is_some_and(|from| from <= now);
        self.check(is_open, |_| {
            format!("device {index} of wave {wave} may begin before its wave")
        });
        self.check(self.begun_in[index] == gate.round, |_| {
            format!(
                "device {index} may begin without a place in round {}",
                gate.round
            )
        });
        self.allowed_at[index] = Some(now);
    }

    /// The program of the package begins on a device. Each device runs it at most once.
    pub(crate) fn ran(&mut self, index: usize, device: &Device, gate: &Gate, now: UnixTime) {
        self.reached += 1;
        let is_valid = |at: UnixTime| device.is_ocs || now.since(at) <= GO_VALID_S;
        if !self.allowed_at[index].is_some_and(is_valid) {
            self.without_go += 1;
            self.check(false, |_| {
                format!("device {index} begins without a permission")
            });
        }
        self.after_stop += u32::from(gate.state != GateState::Running);
        let most = self.limits.values().halt_at * (1 + self.person_rounds);
        self.check(!self.is_hopeless || self.reached <= most, |it| {
            format!(
                "{} machines are reached, at most {most} are promised",
                it.reached
            )
        });
    }

    /// The next wave opens without a person. `before` are the counts of the round before.
    pub(crate) fn opened(&mut self, before: Counts, gate: &Gate, waves: &Waves, now: UnixTime) {
        let values = *self.limits.values();
        self.check(gate.state == GateState::Running, |_| {
            format!(
                "wave {} opens, although the gate is {:?}",
                gate.wave, gate.state
            )
        });
        let opens = |wave| waves.get(wave).and_then(|wave| wave.from);
        self.check(opens(gate.wave).is_some_and(|from| from <= now), |_| {
            format!("wave {} opens before its time", gate.wave)
        });
        let first = opens(WaveNumber::FIRST).unwrap_or(self.since);
        let waited = now.since(self.since.max(first));
        self.check(waited >= values.wait_s.into(), |_| {
            format!("wave {} opens after {waited} seconds", gate.wave)
        });
        let left = before.begun * u32::from(values.tolerate) / 100 + 1;
        let is_good = before.healthy > 0 && before.begun - before.healthy <= left;
        self.check(is_good, |_| format!("a wave opens after {before:?}"));
        self.since = now;
    }

    /// A person has begun so many rounds, or has resumed.
    pub(crate) fn commanded(&mut self, rounds: u32, now: UnixTime) {
        self.person_rounds += rounds;
        self.since = now;
    }

    /// The records are those of an earlier time.
    pub(crate) fn restored(&mut self, before: Self) {
        let lost = std::mem::replace(self, before);
        self.person_rounds = lost.person_rounds;
        self.reached = lost.reached;
        self.without_go = lost.without_go;
        self.after_stop = lost.after_stop;
        self.all_healthy = lost.all_healthy;
        self.broken = lost.broken;
        self.allowed_at = lost.allowed_at;
    }
}
