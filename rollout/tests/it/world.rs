//! A world of devices, functions and a store around the rules of rollouts, without time of its own.
//!
//! The store writes the changes that the rules return, if their conditions hold. Functions cache the
//! gate for a minute. Answers can get lost, and transactions can meet conflicts. The [`Truth`] counts
//! on its own, and checks each promise after each step.

use std::rc::Rc;

use fastrand::Rng;
use packcast_protocol::state::document::Waves;
use packcast_protocol::state::{RolloutId, WaveNumber};
use packcast_protocol::{DeviceId, PackageId, ResultCode, UnixTime};
use packcast_rollout::rollout::{
    AnnouncedAhead, BeginDecision, DeviceFailure, Gate, GateChange, GateLimits, GateRead, Place,
    PlacedFailure, Settling, again_s, begin, closed, end, failed, healthy, next_wave, pause,
    promote, resume, settling,
};

use crate::device::{Device, Program};
use crate::truth::Truth;

/// Age at which a function reads the gate again.
const CACHE_S: u64 = 60;

/// Transactions that a function tries for one request.
const TRIES: u32 = 3;

/// Faults of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// The device gets no answer, although the function has written its changes.
    pub(crate) loses_answer: bool,
    /// So many transactions of the request are refused, because another one is under way.
    pub(crate) conflicts: u8,
}

/// Record of a device's task.
#[derive(Clone, Debug)]
pub(crate) struct TaskRow {
    pub(crate) state: RowState,
    pub(crate) place: Option<Place>,
    pub(crate) settling: Option<Settling>,
    /// The device is in a group of the rollout.
    pub(crate) is_member: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowState {
    Pending,
    Announced,
    Finished,
}

/// The records, and the counts that belong to them.
#[derive(Clone, Debug)]
struct Store {
    gate: Gate,
    rows: Vec<TaskRow>,
}

/// A warm function.
#[derive(Clone, Debug, Default)]
struct Function {
    cached: Option<(Rc<Gate>, UnixTime)>,
    ahead: AnnouncedAhead,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: UnixTime,
    pub(crate) waves: Waves,
    pub(crate) devices: Vec<Device>,
    pub(crate) truth: Truth,
    /// Questions of devices before they begin.
    pub(crate) questions: u64,
    /// Transactions that change the gate, with those that are refused.
    pub(crate) transactions: u64,
    /// The name of the present table. Another table is in use after a restore.
    table: String,
    store: Store,
    functions: Vec<Function>,
    backup: Option<Backup>,
    package: PackageId,
}

#[derive(Debug)]
struct Backup {
    store: Store,
    truth: Truth,
}

impl World {
    pub(crate) fn new(
        limits: GateLimits,
        waves: Waves,
        devices: Vec<Device>,
        now: UnixTime,
    ) -> Self {
        let table = "table-0".to_owned();
        let gate = Gate::new(RolloutId::from_bytes([7; 16]), table.clone(), limits, now);
        let row = |device: &Device| TaskRow {
            state: RowState::Pending,
            place: None,
            settling: None,
            is_member: device.joins_at_once,
        };
        Self {
            now,
            waves,
            truth: Truth::new(&devices, limits, now),
            questions: 0,
            transactions: 0,
            table,
            store: Store {
                gate,
                rows: devices.iter().map(row).collect(),
            },
            devices,
            functions: vec![Function::default(); 3],
            backup: None,
            package: PackageId::try_from(1_790_000_001).expect("the id is valid"),
        }
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.store.gate
    }

    pub(crate) fn row(&self, device: usize) -> &TaskRow {
        &self.store.rows[device]
    }

    /// Sends the check-in of a device to a function. Returns false if the device gets no answer.
    pub(crate) fn check_in(&mut self, device: usize, function: usize, mut faults: Faults) -> bool {
        self.settle(device, &mut faults);
        let gate = self.cached(function);
        let row = &self.store.rows[device];
        let wave = self.devices[device].wave;
        if row.state == RowState::Pending && row.is_member && wave > gate.wave {
            self.open_next(&gate, function, &mut faults);
        }
        let row = &self.store.rows[device];
        if row.state == RowState::Pending && row.is_member {
            let gate = self.cached(function);
            if self.devices[device].is_ocs {
                self.take(device, function, &mut faults);
            } else if closed(&gate, &self.table, &self.waves, wave, self.now).is_none()
                && self.functions[function].ahead.has_room(gate.free, self.now)
            {
                self.functions[function].ahead.told(self.now);
                self.store.rows[device].state = RowState::Announced;
            }
        }
        let row = &self.store.rows[device];
        let is_announced = row.state == RowState::Announced && row.is_member;
        if !faults.loses_answer {
            let asked = self.now;
            self.devices[device].told(is_announced, asked);
        }
        !faults.loses_answer
    }

    /// Sends the question of a device before it begins. Returns false if the device gets no answer.
    pub(crate) fn ask(&mut self, device: usize, function: usize, mut faults: Faults) -> bool {
        self.questions += 1;
        let row = &self.store.rows[device];
        let is_announced = row.state == RowState::Announced && row.is_member;
        let (may, again_s) = if is_announced {
            self.take(device, function, &mut faults)
        } else {
            (false, None)
        };
        if !faults.loses_answer {
            let now = self.now;
            self.devices[device].answered(may, again_s, now);
        }
        !faults.loses_answer
    }

    /// Sends the result of a device's program. Returns false if the device gets no answer.
    pub(crate) fn report(&mut self, device: usize, function: usize, mut faults: Faults) -> bool {
        let Program::Ended {
            succeeded,
            asks_restart,
        } = self.devices[device].program
        else {
            return true;
        };
        let mut gate = self.cached(function);
        let mut settles = None;
        for _ in 0..TRIES {
            let row = &self.store.rows[device];
            if row.state != RowState::Announced {
                break;
            }
            let (change, settling) = if succeeded {
                let settle = |place| {
                    let ran_in = self.devices[device].ran_in().filter(|_| asks_restart);
                    settling(Some(&gate), place, self.package, ran_in, self.now)
                };
                (None, row.place.and_then(settle))
            } else {
                let failure = DeviceFailure {
                    device: device_id(device),
                    code: ResultCode::ExitCode(1603),
                };
                let place = row.place;
                (
                    failed(&gate, &PlacedFailure { failure, place }, self.now),
                    None,
                )
            };
            let place = row.place;
            if self.write(&mut faults, change.as_ref()) {
                let row = &mut self.store.rows[device];
                row.state = RowState::Finished;
                row.settling = settling;
                if succeeded {
                    let limits = &self.store.gate.limits;
                    let settle_s = limits
                        .settle_s(gate.wave)
                        .min(limits.settle_s(self.store.gate.wave));
                    settles = Some((self.now, settle_s));
                } else {
                    self.truth.failed(device, place, &self.store.gate);
                }
                break;
            }
            gate = self.read(function);
        }
        self.devices[device].reported(settles);
        let is_recorded = self.store.rows[device].state == RowState::Finished;
        if is_recorded && !faults.loses_answer {
            self.devices[device].is_acknowledged = true;
        }
        is_recorded && !faults.loses_answer
    }

    /// Lets a device begin its program, if it has a valid permission.
    pub(crate) fn run(&mut self, device: usize) -> bool {
        let begins = self.devices[device].run(self.now);
        if begins {
            let gate = &self.store.gate;
            self.truth
                .ran(device, &self.devices[device], gate, self.now);
        }
        begins
    }

    pub(crate) fn pause(&mut self) {
        if let Ok(Some(change)) = pause(&self.store.gate) {
            self.command(&change);
        }
    }

    /// Resumes, and returns true if the gate has changed.
    pub(crate) fn resume(&mut self, after_halt: bool) -> bool {
        let Ok(Some(change)) = resume(&self.store.gate, &self.table, after_halt, self.now) else {
            return false;
        };
        self.command(&change);
        self.truth.commanded(0, self.now);
        true
    }

    pub(crate) fn promote(&mut self) {
        let next = self.store.gate.wave.next();
        let Ok(change) = promote(&self.store.gate, &self.table, &self.waves, self.now) else {
            return;
        };
        // The signed document gets a time for the wave first.
        let next = next.expect("a promoted wave exists");
        let has_come = self
            .waves
            .get(next)
            .is_some_and(|wave| wave.is_open(self.now));
        if !has_come {
            match self.waves.opening(next, self.now) {
                Ok(waves) => self.waves = waves,
                Err(_) => return,
            }
        }
        self.command(&change);
    }

    pub(crate) fn end(&mut self) {
        if let Some(change) = end(&self.store.gate) {
            self.command(&change);
        }
    }

    pub(crate) fn back_up(&mut self) {
        self.backup = Some(Backup {
            store: self.store.clone(),
            truth: self.truth.clone(),
        });
    }

    /// Replaces the table by a new one with the content of the latest back-up.
    pub(crate) fn restore(&mut self) {
        let Some(backup) = self.backup.take() else {
            return;
        };
        self.table.push('r');
        self.store = backup.store;
        self.truth.restored(backup.truth);
        // Functions with another table are started anew.
        self.functions.fill(Function::default());
    }

    pub(crate) fn set_member(&mut self, device: usize, is_member: bool) {
        self.store.rows[device].is_member = is_member;
    }

    /// Tries to take a place for a device, or to use the place that it has. Otherwise the answer names
    /// the time in which the device does not ask again.
    fn take(&mut self, device: usize, function: usize, faults: &mut Faults) -> (bool, Option<u32>) {
        let mut gate = self.cached(function);
        let mut is_fresh = false;
        loop {
            let row = &self.store.rows[device];
            let read = GateRead {
                gate: &gate,
                is_fresh,
            };
            let wave = self.devices[device].wave;
            let held = row.place.as_ref();
            match begin(read, &self.table, &self.waves, wave, held, self.now) {
                BeginDecision::Begin => {
                    self.allowed(device);
                    return (true, None);
                }
                BeginDecision::Wait(reason) => {
                    let random = Rng::with_seed(self.questions).u32(..);
                    return (false, again_s(reason, &gate, held, random));
                }
                BeginDecision::Take { place, change } => {
                    if self.write(faults, Some(&change)) {
                        let row = &mut self.store.rows[device];
                        row.place = Some(place);
                        row.state = RowState::Announced;
                        self.functions[function].ahead.begun();
                        self.truth.begun(device, &self.store.gate);
                        self.allowed(device);
                        return (true, None);
                    }
                    if is_fresh {
                        return (false, None);
                    }
                }
                BeginDecision::ReadAgain => {}
            }
            gate = self.read(function);
            is_fresh = true;
        }
    }

    fn allowed(&mut self, device: usize) {
        let (gate, wave) = (&self.store.gate, self.devices[device].wave);
        let truth = &mut self.truth;
        truth.allowed(device, wave, &self.table, gate, &self.waves, self.now);
    }

    /// Counts a device that has settled as healthy.
    fn settle(&mut self, device: usize, faults: &mut Faults) {
        for _ in 0..TRIES {
            let Some(settling) = &self.store.rows[device].settling else {
                return;
            };
            let boot = self.devices[device].boot();
            if !settling.is_over(boot.as_ref(), self.now) {
                return;
            }
            let place = settling.place;
            let change = healthy(&self.store.gate, &place, self.now);
            if self.write(faults, change.as_ref()) {
                self.store.rows[device].settling = None;
                let (gate, it) = (&self.store.gate, &self.devices[device]);
                self.truth.healthy(device, place, it, gate, self.now);
            }
        }
    }

    fn open_next(&mut self, gate: &Gate, function: usize, faults: &mut Faults) {
        let Ok(change) = next_wave(gate, &self.table, &self.waves, self.now) else {
            return;
        };
        let before = self.truth.counts;
        if self.write(faults, Some(&change)) {
            let gate = &self.store.gate;
            self.truth.opened(before, gate, &self.waves, self.now);
        }
        self.read(function);
    }

    /// Writes a transaction. Returns false if a condition fails or a conflict is injected.
    fn write(&mut self, faults: &mut Faults, change: Option<&GateChange>) -> bool {
        if faults.conflicts > 0 {
            faults.conflicts -= 1;
            return false;
        }
        let Some(change) = change else {
            return true;
        };
        self.transactions += 1;
        let is_written = change.apply(&mut self.store.gate);
        self.truth.follow(&self.store.gate);
        is_written
    }

    /// Writes the change of a command, which retries until it is written.
    fn command(&mut self, change: &GateChange) {
        let before = self.store.gate.round;
        assert!(change.apply(&mut self.store.gate), "nothing came between");
        self.truth.follow(&self.store.gate);
        let rounds = self.store.gate.round - before;
        if rounds > 0 {
            self.truth.commanded(rounds, self.now);
        }
    }

    /// Returns the gate that a function has cached, or reads the gate if the cache is empty or old.
    fn cached(&mut self, function: usize) -> Rc<Gate> {
        let cached = self.functions[function].cached.as_ref();
        match cached.filter(|(_, read_at)| self.now.since(*read_at) < CACHE_S) {
            Some((gate, _)) => Rc::clone(gate),
            None => self.read(function),
        }
    }

    fn read(&mut self, function: usize) -> Rc<Gate> {
        let gate = Rc::new(self.store.gate.clone());
        self.functions[function].cached = Some((Rc::clone(&gate), self.now));
        gate
    }
}

/// Returns the id of a device.
pub(crate) fn device_id(device: usize) -> DeviceId {
    let id = format!("ocs:web{device}-2026-03-04-05-06-07");
    id.parse().expect("the id is valid")
}

/// Returns the number of a wave, from 1.
pub(crate) fn wave(number: usize) -> WaveNumber {
    let number = u8::try_from(number).ok();
    let number = number.and_then(|number| number.try_into().ok());
    number.expect("a rollout has few waves")
}
