//! Random histories of a rollout hold its promises.

use packcast_protocol::UnixTime;
use packcast_protocol::state::document::{SLOTS, Waves};
use packcast_protocol::state::{Wave, document::WaveDevices};
use packcast_rollout::rollout::{GateLimits, GateState, LimitValues};
use proptest::prelude::*;

use crate::device::{Behaviour, Device, Program};
use crate::world::{Faults, RowState, World, wave};

const START: UnixTime = UnixTime(1_795_000_000);

/// Event of a history. Numbers of devices and functions are taken modulo the number of them.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The device does what it would do next.
    Step(usize, usize, Faults),
    CheckIn(usize, usize, Faults),
    /// A question, at a time when the device may have no reason to ask: the network repeats it.
    Ask(usize, usize, Faults),
    Reboot(usize),
    Pass(u64),
    Pause,
    Resume {
        after_halt: bool,
    },
    Promote,
    End,
    BackUp,
    Restore,
    Member(usize, bool),
}

/// The rollout of a history.
#[derive(Clone, Debug)]
struct Setting {
    limits: GateLimits,
    /// Seconds from each opening to the next.
    openings: Vec<Option<u64>>,
    devices: Vec<Device>,
}

fn faults() -> impl Strategy<Value = Faults> {
    prop_oneof![
        6 => Just(Faults::default()),
        1 => Just(Faults { loses_answer: true, conflicts: 0 }),
        1 => (1..4_u8, any::<bool>()).prop_map(|(conflicts, loses_answer)| Faults { loses_answer, conflicts }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let request = || (any::<usize>(), any::<usize>(), faults());
    prop_oneof![
        40 => request().prop_map(|(device, function, faults)| Event::Step(device, function, faults)),
        6 => request().prop_map(|(device, function, faults)| Event::CheckIn(device, function, faults)),
        3 => request().prop_map(|(device, function, faults)| Event::Ask(device, function, faults)),
        4 => any::<usize>().prop_map(Event::Reboot),
        4 => (1..70_u64).prop_map(Event::Pass),
        6 => (100..700_u64).prop_map(Event::Pass),
        1 => Just(Event::Pause),
        3 => any::<bool>().prop_map(|after_halt| Event::Resume { after_halt }),
        1 => Just(Event::Promote),
        2 => Just(Event::BackUp),
        1 => Just(Event::Restore),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(device, is_member)| Event::Member(device, is_member)),
    ]
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    let ended = proptest::collection::vec(event(), 0..40);
    let events = proptest::collection::vec(event(), 0..240);
    let end = proptest::bool::weighted(0.1);
    (events, end, ended).prop_map(|(mut events, end, ended)| {
        if end {
            events.push(Event::End);
            events.extend(ended);
        }
        events
    })
}

fn behaviour(kind: u8) -> impl Strategy<Value = Behaviour> {
    match kind {
        0 => prop_oneof![
            Just(Behaviour::Fails),
            Just(Behaviour::Dies),
            Just(Behaviour::DiesSettling)
        ]
        .boxed(),
        1 => prop_oneof![9 => Just(Behaviour::Good), 1 => Just(Behaviour::Fails)].boxed(),
        _ => prop_oneof![
            6 => Just(Behaviour::Good),
            3 => Just(Behaviour::GoodAfterRestart),
            2 => Just(Behaviour::Fails),
            1 => Just(Behaviour::Dies),
            1 => Just(Behaviour::DiesSettling),
        ]
        .boxed(),
    }
}

prop_compose! {
    fn device(kind: u8)(
        number in 1..=3_usize,
        behaviour in behaviour(kind),
        is_ocs in proptest::bool::weighted(0.2),
        joins_at_once in proptest::bool::weighted(0.9),
    ) -> Device {
        let mut device = Device::new(wave(number), behaviour);
        (device.is_ocs, device.joins_at_once) = (is_ocs, joins_at_once);
        device
    }
}

prop_compose! {
    fn limits()(
        halt_at in 1..4_u32,
        more in 0..6_u32,
        tolerate in prop_oneof![Just(0_u8), Just(5), Just(50), Just(100)],
        settle_s in 30..200_u32,
        first in 0..200_u32,
        wait_s in 0..700_u32,
    ) -> GateLimits {
        let at_once = halt_at + more;
        let first_settle_s = settle_s + first;
        let values = LimitValues { halt_at, tolerate, at_once, settle_s, first_settle_s, wait_s };
        values.try_into().expect("the limits are valid")
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let openings = proptest::collection::vec(
        prop_oneof![9 => (0..900_u64).prop_map(Some), 1 => Just(None)],
        3,
    );
    let devices = (0..3_u8).prop_flat_map(|kind| proptest::collection::vec(device(kind), 1..14));
    (limits(), openings, devices).prop_map(|(limits, openings, devices)| Setting {
        limits,
        openings,
        devices,
    })
}

fn waves(openings: &[Option<u64>]) -> Waves {
    let bounds = (1..).take(openings.len() - 1).chain([SLOTS]);
    let mut from = Some(START);
    let wave = |(up_to, after): (u16, &Option<u64>)| {
        from = from.zip(*after).map(|(from, after)| from.plus(after));
        Wave {
            devices: WaveDevices::UpTo(up_to),
            from,
        }
    };
    Waves::new(bounds.zip(openings).map(wave).collect()).expect("the waves are valid")
}

fn world(setting: &Setting) -> World {
    let waves = waves(&setting.openings);
    World::new(setting.limits, waves, setting.devices.clone(), START)
}

fn happen(world: &mut World, event: Event) {
    let count = world.devices.len();
    match event {
        Event::Step(device, function, faults) => step(world, device % count, function % 3, faults),
        Event::CheckIn(device, function, faults) => {
            if world.devices[device % count].is_alive() {
                world.check_in(device % count, function % 3, faults);
            }
        }
        Event::Ask(device, function, faults) => {
            let device = device % count;
            if !world.devices[device].is_ocs && world.devices[device].is_alive() {
                world.ask(device, function % 3, faults);
            }
        }
        Event::Reboot(device) => world.devices[device % count].reboot(),
        Event::Pass(seconds) => world.now = world.now.plus(seconds),
        Event::Pause => world.pause(),
        Event::Resume { after_halt } => {
            world.resume(after_halt);
        }
        Event::Promote => world.promote(),
        Event::End => world.end(),
        Event::BackUp => world.back_up(),
        Event::Restore => world.restore(),
        Event::Member(device, is_member) => world.set_member(device % count, is_member),
    }
}

/// Lets a device do its next step.
fn step(world: &mut World, device: usize, function: usize, faults: Faults) {
    let it = &world.devices[device];
    if !it.is_alive() {
        return;
    }
    let has_ended = matches!(it.program, Program::Ended { .. });
    if has_ended && !it.is_acknowledged && world.row(device).state != RowState::Pending {
        world.report(device, function, faults);
    } else if it.go.is_some() {
        world.run(device);
    } else if it.is_told && !has_ended && !it.is_ocs {
        world.ask(device, function, faults);
    } else {
        world.check_in(device, function, faults);
    }
}

fn check(setting: &Setting, history: &[Event]) -> Result<World, TestCaseError> {
    let mut world = world(setting);
    for (index, event) in history.iter().enumerate() {
        happen(&mut world, *event);
        let broken = world.truth.broken.take();
        prop_assert!(
            broken.is_none(),
            "event {index}, {event:?}: {}",
            broken.unwrap_or_default()
        );
    }
    Ok(world)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn random_histories_hold_the_promises(setting in setting(), history in history()) {
        check(&setting, &history)?;
    }

    /// Without persons, restores and faults of the package, each device gets the package.
    #[test]
    fn a_good_package_reaches_each_device(mut setting in setting(), events in history()) {
        for (index, device) in setting.devices.iter_mut().enumerate() {
            let behaviour = [Behaviour::Good, Behaviour::GoodAfterRestart][index % 2];
            let is_ocs = device.is_ocs;
            *device = Device::new(device.wave, behaviour);
            device.is_ocs = is_ocs;
        }
        // The first wave has a device, so that the second opens. So has the second.
        setting.devices[0].wave = wave(1);
        if let Some(device) = setting.devices.get_mut(1) {
            device.wave = wave(2);
        }
        setting.openings = vec![Some(0), Some(100), Some(100)];
        let mut world = world(&setting);
        for event in events {
            if matches!(event, Event::Step(..) | Event::CheckIn(..) | Event::Ask(..) | Event::Pass(_)) {
                happen(&mut world, event);
            }
        }
        for turn in 0..400 {
            for device in 0..setting.devices.len() {
                step(&mut world, device, turn % 3, Faults::default());
                if turn % 7 == 0 {
                    world.devices[device].reboot();
                }
            }
            world.now = world.now.plus(60);
        }
        prop_assert_eq!(world.truth.broken.as_ref(), None);
        prop_assert_eq!(world.gate().state, GateState::Running);
        let healthy = usize::try_from(world.gate().all_healthy).unwrap();
        prop_assert_eq!(healthy, setting.devices.len(), "{:?}", world);
    }
}

/// Returns a rollout of devices in these waves. The waves are open, and each lasts at least 50 seconds.
fn small(halt_at: u32, behaviour: Behaviour, numbers: &[usize]) -> Setting {
    let values = LimitValues {
        halt_at,
        tolerate: 0,
        at_once: halt_at,
        settle_s: 30,
        first_settle_s: 30,
        wait_s: 50,
    };
    let device = |number: &usize| Device::new(wave(*number), behaviour);
    Setting {
        limits: values.try_into().expect("the limits are valid"),
        openings: vec![Some(0), Some(0), Some(0)],
        devices: numbers.iter().map(device).collect(),
    }
}

const fn next(device: usize) -> Event {
    Event::Step(device, 0, NO_FAULTS)
}

const NO_FAULTS: Faults = Faults {
    loses_answer: false,
    conflicts: 0,
};

const RESUME: Event = Event::Resume { after_halt: false };

/// The first device checks in, asks, begins, reports and is healthy. After 40 seconds, function 1 reads
/// the gate for a device of the second wave.
const FIRST_WAVE: [Event; 7] = [
    next(0),
    next(0),
    next(0),
    next(0),
    Event::Pass(40),
    next(0),
    WAITING,
];

const WAITING: Event = Event::CheckIn(1, 1, NO_FAULTS);

/// Checks the latest open wave after each of these events.
fn opens(events: &[(Event, usize)]) {
    let mut world = check(&small(1, Behaviour::Good, &[1, 2]), &FIRST_WAVE).expect("all is well");
    for (event, expected) in events {
        happen(&mut world, *event);
        assert_eq!(world.truth.broken, None, "{event:?}");
        assert_eq!(world.gate().wave, wave(*expected), "{event:?}");
    }
}

/// A function that has read the gate before a pause and a resume knows neither.
#[test]
fn a_resume_delays_the_next_wave_for_a_cached_gate() {
    opens(&[
        (Event::Pause, 1),
        (RESUME, 1),
        (Event::Pass(10), 1),
        (WAITING, 1),
        (Event::Pass(40), 1),
        (WAITING, 2),
    ]);
}

#[test]
fn a_paused_rollout_opens_no_wave_for_a_cached_gate() {
    opens(&[
        (Event::Pause, 1),
        (Event::Pass(10), 1),
        (WAITING, 1),
        (RESUME, 1),
        (Event::Pass(60), 1),
        (WAITING, 2),
    ]);
}

/// Returns the machines that a package reaches that fails everywhere, after these events and after three
/// steps of each device in between.
fn reached(events: &[Event]) -> (u32, u32) {
    let numbers = [1; 12];
    let mut world = world(&small(2, Behaviour::Fails, &numbers));
    for event in events {
        happen(&mut world, *event);
        for turn in 0..4 * numbers.len() {
            step(&mut world, turn % numbers.len(), turn % 3, NO_FAULTS);
        }
        // No function has an old gate, and each device asks again.
        world.now = world.now.plus(4 * 3_600);
    }
    assert_eq!(world.truth.broken, None);
    (world.truth.reached, world.truth.person_rounds)
}

#[test]
fn each_resume_reaches_as_many_machines_again() {
    let after_halt = Event::Resume { after_halt: true };
    let nothing = Event::Pass(1);
    assert_eq!(reached(&[nothing]), (2, 0));
    assert_eq!(reached(&[nothing, RESUME, Event::Pause]), (2, 0));
    assert_eq!(reached(&[nothing, after_halt]), (4, 1));
    assert_eq!(reached(&[nothing, after_halt, after_halt]), (6, 2));
}

#[test]
fn a_restored_rollout_reaches_machines_only_after_a_resume() {
    let (restore, nothing) = (Event::Restore, Event::Pass(1));
    assert_eq!(reached(&[Event::BackUp, restore, nothing]), (2, 0));
    assert_eq!(reached(&[Event::BackUp, restore, RESUME]), (4, 1));
    // The table was backed up while the rollout was paused.
    let paused = [Event::Pause, Event::BackUp, RESUME];
    let reached_after = |more: &[Event]| reached(&[&paused, more].concat());
    assert_eq!(reached_after(&[restore, nothing]), (2, 0));
    assert_eq!(reached_after(&[restore, RESUME]), (4, 1));
}
