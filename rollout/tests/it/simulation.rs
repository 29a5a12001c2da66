//! Simulation of a rollout: devices with a rhythm, from the plan to the last healthy device.
//!
//! Each device has at most one event in the queue. Devices of later waves sleep until their wave opens,
//! except a few, so that a large fleet does not cost an event for each check-in.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use fastrand::Rng;
use packcast_protocol::state::RolloutSeed;
use packcast_protocol::state::document::RolloutGroups;
use packcast_protocol::{GroupName, PackageId, Sha256Digest, UnixTime};
use packcast_rollout::rollout::{
    GateState, GateStatus, OpeningTimes, PlanRequest, PlannedDevice, RolloutPlan, Weekdays,
    default_limits, default_shares, plan, status,
};

use crate::device::{Behaviour, Device, Program};
use crate::rhythm::Rhythms;
use crate::timeline::{Happened, Timeline};
use crate::world::{Faults, RowState, World, device_id};

/// A Thursday, 08:00 in UTC.
pub(crate) const START: UnixTime = UnixTime(1_794_470_400);

/// End of a simulation, in seconds.
const HORIZON_S: u64 = 60 * 24 * 3600;

/// Devices of each later wave that check in while they wait.
const SCOUTS: usize = 20;

/// Events of a person, in place of the number of a device.
const PAUSE: u32 = u32::MAX;
const RESUME: u32 = u32::MAX - 1;

/// Functions that serve the devices by turns.
const FUNCTIONS: usize = 3;

/// Effect of the package on a fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PackageKind {
    FailsEverywhere,
    /// Machines die while the program runs, or after their report and before they have settled.
    KillsEverywhere,
    /// A share of 1 to 10 % of the machines fails, and a few die.
    FailsOnSome,
    /// This share of the machines fails, in percent. The others are good.
    FailsOn(u8),
    Good,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) devices: u32,
    pub(crate) kind: PackageKind,
    /// Some devices are closed at night, at weekends, and for days.
    pub(crate) lids: bool,
    /// In some rollouts a person pauses, and resumes or promotes when nothing happens any more.
    pub(crate) has_person: bool,
    pub(crate) seed: u64,
}

/// Result of a simulation.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Machines on which the program has begun.
    pub(crate) reached: u32,
    /// Maximum number of machines by the plan, with the resumes and promotions of the simulation.
    /// `None` for a package that is good on some machines.
    pub(crate) bound: Option<u32>,
    /// Programs that have begun while the gate did not run: without and with a valid permission.
    pub(crate) without_go: u32,
    pub(crate) after_stop: u32,
    pub(crate) halts: u32,
    /// The program has begun on every machine.
    pub(crate) reaches_all: bool,
    /// Hours from the opening of each wave until 90 % of its devices are healthy.
    pub(crate) wave_hours: Vec<Option<f64>>,
    /// Hours from the start until the last device is healthy. `None` if devices have failed or died.
    pub(crate) last_hours: Option<f64>,
    pub(crate) events: u64,
    /// Questions before a program begins, and transactions that change the gate, for each device.
    pub(crate) questions: f64,
    pub(crate) transactions: f64,
    pub(crate) plan: RolloutPlan,
    pub(crate) timeline: Timeline,
    /// State of the rollout when nothing happens any more, and the last wave has had its time.
    pub(crate) status: GateStatus,
    /// The first promise that was broken.
    pub(crate) broken: Option<String>,
}

/// Simulates a rollout.
pub(crate) fn simulate(scenario: Scenario) -> Outcome {
    let mut rng = Rng::with_seed(scenario.seed);
    let plan = plan_for(scenario, &mut rng);
    let everywhere = BTreeSet::from([GroupName::all()]);
    let share = rng.u32(1..=10);
    let device = |index: u32| {
        let id = device_id(index as usize);
        let wave = plan.document.wave_of(&id, &everywhere);
        let wave = wave.expect("the last wave has every device");
        let mut device = Device::new(wave, behaviour(scenario.kind, share, &mut rng));
        device.is_ocs = rng.u8(..10) == 0;
        device
    };
    let devices = (0..scenario.devices).map(device).collect();
    let world = World::new(plan.limits, plan.document.waves.clone(), devices, START);
    let mut simulation = Simulation::new(scenario, plan, world, rng);
    simulation.run();
    simulation.outcome()
}

fn plan_for(scenario: Scenario, rng: &mut Rng) -> RolloutPlan {
    let member = |index: u32| PlannedDevice {
        device: device_id(index as usize),
        ring: None,
    };
    let members: Vec<PlannedDevice> = (0..scenario.devices).map(member).collect();
    let request = PlanRequest {
        package: PackageId::try_from(1_790_000_001).expect("the id is valid"),
        manifest: Sha256Digest::of(b"manifest"),
        groups: RolloutGroups::new([GroupName::all()].into()).expect("one group is allowed"),
        rings: &[],
        members: &members,
        shares: default_shares(scenario.devices),
        limits: default_limits(scenario.devices)
            .try_into()
            .expect("defaults are valid"),
        times: OpeningTimes {
            start: START,
            days: Weekdays::default(),
            offset_s: 0,
            only_first: false,
        },
    };
    let draw = || RolloutSeed::from_bytes(rng.u128(..).to_be_bytes());
    plan(&request, draw).expect("default waves are valid")
}

fn behaviour(kind: PackageKind, share: u32, rng: &mut Rng) -> Behaviour {
    let chance = rng.u32(..1_000);
    match kind {
        PackageKind::FailsEverywhere => Behaviour::Fails,
        PackageKind::KillsEverywhere if chance < 500 => Behaviour::Dies,
        PackageKind::KillsEverywhere => Behaviour::DiesSettling,
        PackageKind::FailsOnSome if chance < share * 10 => Behaviour::Fails,
        PackageKind::FailsOnSome if chance > 997 => Behaviour::Dies,
        PackageKind::FailsOn(percent) if chance < u32::from(percent) * 10 => Behaviour::Fails,
        _ if chance.is_multiple_of(4) => Behaviour::GoodAfterRestart,
        PackageKind::FailsOnSome | PackageKind::FailsOn(_) | PackageKind::Good => Behaviour::Good,
    }
}

struct Simulation {
    scenario: Scenario,
    plan: RolloutPlan,
    world: World,
    rng: Rng,
    rhythms: Rhythms,
    /// Times after [`START`] with the devices whose events they are.
    queue: BinaryHeap<Reverse<(u32, u32)>>,
    /// Devices of each wave that wait for its opening without checking in.
    asleep: Vec<Vec<u32>>,
    /// Devices that check in again once the gate has changed.
    parked: Vec<u32>,
    /// The device works on the package, or settles.
    is_busy: Vec<bool>,
    busy: u32,
    resumes_left: u32,
    halts: u32,
    opened: Vec<Option<UnixTime>>,
    healthy: Vec<u32>,
    wave_hours: Vec<Option<f64>>,
    last_hours: Option<f64>,
    events: u64,
    timeline: Timeline,
}

impl Simulation {
    fn new(scenario: Scenario, plan: RolloutPlan, world: World, mut rng: Rng) -> Self {
        let waves = plan.waves.len();
        let mut simulation = Self {
            rhythms: Rhythms::new(scenario.seed, scenario.lids),
            queue: BinaryHeap::new(),
            asleep: vec![Vec::new(); waves],
            parked: Vec::new(),
            is_busy: vec![false; scenario.devices as usize],
            busy: 0,
            resumes_left: rng.u32(..3) * u32::from(scenario.has_person),
            halts: 0,
            opened: vec![None; waves],
            healthy: vec![0; waves],
            wave_hours: vec![None; waves],
            last_hours: None,
            events: 0,
            timeline: Timeline::new(&plan),
            scenario,
            plan,
            world,
            rng,
        };
        simulation.opened[0] = Some(START);
        simulation.note(Happened::Opened(0));
        let mut scouts = vec![0; waves];
        for device in 0..scenario.devices {
            let wave = simulation.wave(device);
            if wave > 0 && scouts[wave] >= SCOUTS {
                simulation.asleep[wave].push(device);
            } else {
                scouts[wave] += 1;
                simulation.contact(device);
            }
        }
        // In some rollouts, a person pauses for some hours.
        if scenario.has_person && simulation.rng.u8(..4) == 0 {
            let pause = START.plus(simulation.rng.u64(..5 * 24 * 3600));
            simulation.push(PAUSE, pause);
            let paused_s = simulation.rng.u64(60..30 * 3600);
            simulation.push(RESUME, pause.plus(paused_s));
        }
        simulation
    }

    /// Returns the wave of a device, from 0.
    fn wave(&self, device: u32) -> usize {
        let wave = self.world.devices[device as usize].wave;
        usize::from(wave.get()) - 1
    }

    /// Adds the event of a device after a time, or when its lid is open again.
    fn after(&mut self, device: u32, seconds: u64) {
        let at = self.rhythms.open_from(device, self.world.now.plus(seconds));
        self.push(device, at);
    }

    /// Adds the next check-in of a device at its rhythm.
    fn contact(&mut self, device: u32) {
        let at = self.rhythms.next_check_in(device, self.world.now);
        self.push(device, at);
    }

    fn push(&mut self, device: u32, at: UnixTime) {
        let after = at.since(START);
        if after < HORIZON_S {
            let after = u32::try_from(after).unwrap_or(u32::MAX);
            self.queue.push(Reverse((after, device)));
        }
    }

    fn run(&mut self) {
        loop {
            while let Some(Reverse((after, device))) = self.queue.pop() {
                self.world.now = START.plus(after.into());
                self.events += 1;
                let gate = self.world.gate();
                let before = (gate.state, gate.round, gate.healthy);
                match device {
                    PAUSE => self.world.pause(),
                    RESUME => {
                        self.world.resume(false);
                    }
                    _ => self.event(device),
                }
                self.follow(before);
                self.note(Happened::Step);
                if self.world.truth.broken.is_some() {
                    return;
                }
            }
            if !self.act_as_person() {
                return;
            }
        }
    }

    /// Wakes devices after a change of the gate.
    fn follow(&mut self, before: (GateState, u32, u32)) {
        let gate = self.world.gate();
        if before == (gate.state, gate.round, gate.healthy) {
            return;
        }
        let halts = before.0 != gate.state && gate.state == GateState::Halted;
        let open = usize::from(gate.wave.get());
        if halts {
            self.halts += 1;
            self.note(Happened::Halted);
        }
        for wave in 0..open {
            if self.opened[wave].is_none() {
                self.opened[wave] = Some(self.world.now);
                self.note(Happened::Opened(wave));
                for device in std::mem::take(&mut self.asleep[wave]) {
                    self.contact(device);
                }
            }
        }
        for device in std::mem::take(&mut self.parked) {
            self.contact(device);
        }
    }

    /// A day after nothing happens any more, a person may resume or promote the rollout.
    fn act_as_person(&mut self) -> bool {
        let now = self.world.now.plus(24 * 3600);
        if self.resumes_left == 0 || now.since(START) >= HORIZON_S {
            return false;
        }
        self.resumes_left -= 1;
        self.world.now = now;
        let gate = self.world.gate();
        let before = (gate.state, gate.round, gate.healthy);
        if !self.world.resume(true) {
            self.world.promote();
        }
        self.follow(before);
        !self.queue.is_empty()
    }

    fn note(&mut self, happened: Happened) {
        self.timeline.note(happened, &self.world);
    }

    fn set_busy(&mut self, device: u32, is_busy: bool) {
        let was = std::mem::replace(&mut self.is_busy[device as usize], is_busy);
        self.busy = self.busy + u32::from(is_busy) - u32::from(was);
    }

    fn faults(&mut self) -> Faults {
        let chance = self.rng.u8(..);
        Faults {
            loses_answer: chance < 3,
            conflicts: u8::from(chance > 250) * (chance - 250 * u8::from(chance > 250)),
        }
    }

    /// Lets a device do its next step.
    fn event(&mut self, device: u32) {
        let index = device as usize;
        if !self.world.devices[index].is_alive() {
            return;
        }
        let function = self.rng.usize(..FUNCTIONS);
        let faults = self.faults();
        let it = &self.world.devices[index];
        let row = self.world.row(index).state;
        let has_ended = matches!(it.program, Program::Ended { .. });
        if has_ended && !it.is_acknowledged && row != RowState::Pending {
            self.report(device, function, faults);
        } else if it.go.is_some() {
            self.begin(device);
        } else if it.is_told && !has_ended && !it.is_ocs {
            self.ask(device, function, faults);
        } else {
            self.check_in(device, function, faults);
        }
        if !self.world.devices[index].is_alive() {
            self.note(Happened::Died(device));
            self.set_busy(device, false);
        }
    }

    fn check_in(&mut self, device: u32, function: usize, faults: Faults) {
        let index = device as usize;
        let needs_restart = matches!(
            self.world.devices[index].program,
            Program::Ended {
                asks_restart: true,
                ..
            }
        );
        // Most people restart when they are asked.
        if needs_restart && self.rng.u8(..10) < 7 {
            self.world.devices[index].reboot();
        }
        let was_settling = self.world.row(index).settling.is_some();
        self.world.check_in(index, function, faults);
        let row = self.world.row(index);
        let (state, is_settling) = (row.state, row.settling.is_some());
        if was_settling && !is_settling {
            self.is_healthy(device);
        }
        if state == RowState::Finished && !is_settling {
            // The device has failed or is healthy.
            self.set_busy(device, false);
            return;
        }
        if is_settling {
            self.contact(device);
        } else if self.world.devices[index].is_told {
            self.set_busy(device, true);
            let download_s = self.rng.u64(10..900);
            self.after(device, download_s);
        } else {
            self.wait(device);
        }
    }

    /// A device has no announcement yet.
    fn wait(&mut self, device: u32) {
        let gate = self.world.gate();
        let is_stuck = self.busy == 0 && {
            let (waves, table) = (&self.world.waves, &gate.table);
            let status = status(gate, table, waves, self.scenario.devices, self.world.now);
            matches!(
                status,
                GateStatus::Full { .. }
                    | GateStatus::Unhealthy { .. }
                    | GateStatus::NothingBegun { .. }
            )
        };
        // A device whose answer was lost may have the last place.
        let place = self.world.row(device as usize).place;
        let has_place = place.is_some_and(|place| place.round == gate.round);
        if gate.state != GateState::Running || (is_stuck && !has_place) {
            self.parked.push(device);
        } else {
            self.contact(device);
        }
    }

    fn is_healthy(&mut self, device: u32) {
        let wave = self.wave(device);
        self.healthy[wave] += 1;
        let healthy = self.healthy[wave];
        self.note(Happened::Healthy(wave, healthy));
        let most = self.plan.waves[wave].members * 9 / 10;
        if let Some(opened) = self.opened[wave]
            && self.healthy[wave] == most.max(1)
        {
            self.wave_hours[wave] = Some(hours_since(opened, self.world.now));
        }
        if self.healthy.iter().sum::<u32>() == self.scenario.devices {
            self.last_hours = Some(hours_since(START, self.world.now));
        }
    }

    fn ask(&mut self, device: u32, function: usize, faults: Faults) {
        let index = device as usize;
        let is_answered = self.world.ask(index, function, faults);
        if self.world.devices[index].go.is_some() {
            // Now and then, the lid is closed between the answer and the program.
            let is_closed = self.rng.u8(..50) == 0;
            let seconds = if is_closed { 600 } else { self.rng.u64(..5) };
            self.after(device, seconds);
        } else if is_answered {
            self.set_busy(device, false);
            self.wait(device);
        } else {
            self.after(device, 300);
        }
    }

    fn begin(&mut self, device: u32) {
        if self.world.run(device as usize) {
            self.note(Happened::Began(device));
        }
        let seconds = self.rng.u64(5..600);
        if self.world.devices[device as usize].is_alive() {
            self.after(device, seconds);
        }
    }

    fn report(&mut self, device: u32, function: usize, faults: Faults) {
        let index = device as usize;
        let failed = self.world.gate().all_failed;
        let is_answered = self.world.report(index, function, faults);
        if self.world.gate().all_failed > failed {
            self.note(Happened::Failed(device));
        }
        if !is_answered {
            self.after(device, 300);
        } else if let Some(settling) = &self.world.row(index).settling {
            if self.world.devices[index].is_ocs {
                self.contact(device);
            } else {
                let seconds = settling.until.since(self.world.now);
                self.after(device, seconds);
            }
        } else {
            self.set_busy(device, false);
        }
    }

    /// Returns the state of the rollout when nothing happens any more, and notes the time of its end.
    fn end(&mut self) -> GateStatus {
        let gate = self.world.gate().clone();
        let (devices, now) = (self.scenario.devices, self.world.now);
        let wait_s = u64::from(gate.limits.values().wait_s);
        let since = gate.since.max(START).plus(wait_s);
        let at = |time| status(&gate, &gate.table, &self.world.waves, devices, time);
        // Long after the last news of any device.
        let (present, later) = (at(now), at(now.max(since).plus(30 * 86_400)));
        if present != GateStatus::Complete && later == GateStatus::Complete {
            self.world.now = now.max(since);
        }
        self.note(Happened::Step);
        self.note(Happened::Ended(later.clone()));
        later
    }

    fn outcome(mut self) -> Outcome {
        let status = self.end();
        let truth = &self.world.truth;
        let gate = self.world.gate();
        let healthy: u32 = self.healthy.iter().sum();
        let is_good = self.scenario.kind == PackageKind::Good;
        let per_device = |count: u64| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            f64::from(count) / f64::from(self.scenario.devices)
        };
        let is_hopeless = matches!(
            self.scenario.kind,
            PackageKind::FailsEverywhere | PackageKind::KillsEverywhere
        );
        let bound = self.plan.reaches(truth.person_rounds);
        let mut broken = truth.broken.clone();
        if is_hopeless && truth.reached > bound {
            let reached = truth.reached;
            broken = broken.or_else(|| Some(format!("{reached} machines exceed {bound}")));
        }
        if is_good && gate.state != GateState::Running {
            broken = broken.or_else(|| Some(format!("a good package is {:?}", gate.state)));
        }
        if is_good && healthy < self.scenario.devices {
            let last = (0..self.scenario.devices as usize)
                .map(|device| (self.world.row(device), &self.world.devices[device]))
                .find(|(row, _)| row.state != RowState::Finished || row.settling.is_some());
            broken =
                broken.or_else(|| Some(format!("{healthy} are healthy: {last:?} at {gate:?}")));
        }
        Outcome {
            reached: truth.reached,
            bound: is_hopeless.then_some(bound),
            without_go: truth.without_go,
            after_stop: truth.after_stop,
            halts: self.halts,
            reaches_all: truth.reached == self.scenario.devices,
            wave_hours: self.wave_hours,
            last_hours: self.last_hours,
            events: self.events,
            questions: per_device(self.world.questions),
            transactions: per_device(self.world.transactions),
            plan: self.plan,
            timeline: self.timeline,
            status,
            broken,
        }
    }
}

fn hours_since(since: UnixTime, now: UnixTime) -> f64 {
    let seconds = u32::try_from(now.since(since)).unwrap_or(u32::MAX);
    f64::from(seconds) / 3600.0
}
