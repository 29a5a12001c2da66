//! The pace that stock agents are told, reply by reply.

use packcast_check_in::Settings;
use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::pace::UpTo;
use packcast_rollout::{
    DeviceCommand, Pacing, PacingChange, PacingOverride, PackageRecord, Published,
};
use packcast_store::records::Reserved;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, location, published, reservation};

use crate::world::{World, announced, attribute, device, download, prolog, settings};

/// What a reply says of the pace.
#[derive(Debug, PartialEq, Eq)]
struct Says {
    fragment: u64,
    cycle: u64,
    period: u64,
    cycles: u64,
    timeout_days: u64,
    execution_timeout_min: u64,
    freq_hours: u64,
}

const FASTEST: Says = Says {
    fragment: 1,
    cycle: 1,
    period: 1,
    cycles: 10,
    timeout_days: 30,
    execution_timeout_min: 120,
    freq_hours: 1,
};

fn says(reply: &str) -> Says {
    let conf = reply.lines().find(|line| line.contains("TYPE=\"CONF\""));
    let conf = conf.expect("a reply has a configuration");
    let value = |name| {
        let value = attribute(conf, name).and_then(|value| value.parse().ok());
        value.expect("it has every value")
    };
    let (_, freq) = reply.split_once("<PROLOG_FREQ>").expect("it is said");
    let (freq, _) = freq.split_once('<').expect("it ends");
    Says {
        fragment: value("FRAG_LATENCY"),
        cycle: value("CYCLE_LATENCY"),
        period: value("PERIOD_LATENCY"),
        cycles: value("PERIOD_LENGTH"),
        timeout_days: value("TIMEOUT"),
        execution_timeout_min: value("EXECUTION_TIMEOUT"),
        freq_hours: freq.parse().expect("a number"),
    }
}

impl Says {
    /// Returns how long an agent pauses that has one package, in seconds: the formula of
    /// protocol reference §2.5, and a pause after each period but the last.
    fn implied_s(&self, priority: u64, fragments: u64) -> u64 {
        let turns = fragments + 1;
        let periods = (turns - 1) / (self.cycles / priority);
        turns * (priority * self.cycle + self.fragment) + periods * self.period
    }
}

fn pauses(fragment: u16, cycle: u16) -> PacingChange {
    PacingChange::Set(PacingOverride {
        fragment_pause_s: UpTo::new(fragment),
        cycle_pause_s: UpTo::new(cycle),
        ..PacingOverride::default()
    })
}

fn strict(strict: bool) -> PacingChange {
    PacingChange::Set(PacingOverride {
        strict: Some(strict),
        ..PacingOverride::default()
    })
}

fn with_pauses(fragment: u64, cycle: u64) -> Says {
    Says {
        fragment,
        cycle,
        ..FASTEST
    }
}

/// Makes an active package of so many fragments.
async fn package(world: &World, name: &str, priority: u8, fragments: u32) -> PackageRecord {
    let records = &world.table.records;
    let reserved = records.reserve(&reservation(name, priority), NOW).await;
    let (Reserved::New(package) | Reserved::Resumed(package)) =
        reserved.expect("a package can be reserved");
    let published = Published {
        fragments,
        ..published(package.id)
    };
    let published = records.publish(package.id, &published).await;
    published.expect("a draft can be published");
    let active = records.activate(package.id, &[location()]).await;
    active.expect("a published package can be activated")
}

/// Makes a group of the first device.
async fn group(world: &World, name: &str, change: &PacingChange) {
    let group: GroupName = name.parse().expect("a group's name");
    let records = &world.table.records;
    let created = records.create_group(&group, signing()).await;
    created.expect("a group can be made");
    let joined = records.join(&device(1), &group, signing()).await;
    joined.expect("a device can join");
    let paced = records.pace_group(&group, change, signing()).await;
    paced.expect("a group can be paced");
}

async fn told(world: &World) -> Says {
    says(&world.ocs(&prolog(1)).await)
}

#[tokio::test]
async fn one_package_takes_seconds() {
    for (fragments, at_most_s) in [(1, 15), (20, 150)] {
        let world = World::start().await;
        let device = world.settled_device(1).await;
        let package = package(&world, "vlc", 5, fragments).await;
        world.assign(&device, &package, false).await;
        let told = told(&world).await;
        assert_eq!(told, FASTEST);
        let implied_s = told.implied_s(5, fragments.into());
        assert!(implied_s <= at_most_s, "{implied_s} s");
    }
}

#[tokio::test]
async fn a_period_is_as_long_as_what_is_told_needs() {
    let world = World::start().await;
    let device = world.settled_device(1).await;
    let urgent = package(&world, "urgent", 0, 12).await;
    let odd = package(&world, "odd", 7, 1).await;
    for package in [&urgent, &odd] {
        world.assign(&device, package, false).await;
    }
    let both = told(&world).await.cycles;
    assert_eq!((both, both % 7), (28, 0));
    world.ocs(&download(1, urgent.id, "SUCCESS")).await;
    assert_eq!(told(&world).await.cycles, 14);
    world.ocs(&download(1, odd.id, "SUCCESS")).await;
    assert_eq!(told(&world).await, FASTEST);
}

#[tokio::test]
async fn a_target_has_its_settings() {
    let world = World::start_with(Settings {
        pace: Pacing {
            fragment_pause_s: UpTo::new(2).unwrap(),
            cycle_pause_s: UpTo::new(3).unwrap(),
            period_pause_s: UpTo::new(4).unwrap(),
            contact_every_h: UpTo::new(5).unwrap(),
            timeout_days: UpTo::new(6).unwrap(),
            strict: false,
        },
        ..settings()
    })
    .await;
    let expected = Says {
        fragment: 2,
        cycle: 3,
        period: 4,
        cycles: 10,
        timeout_days: 6,
        execution_timeout_min: 120,
        freq_hours: 5,
    };
    assert_eq!(told(&world).await, expected);
}

#[tokio::test]
async fn the_slowest_group_wins_and_the_device_over_it() {
    let world = World::start().await;
    let pc = world.settled_device(1).await;
    group(&world, "fast", &pauses(1, 4)).await;
    group(&world, "thin-line", &pauses(10, 2)).await;
    assert_eq!(told(&world).await, with_pauses(10, 4));
    let records = &world.table.records;
    records.set_device_pacing(&pc, &pauses(3, 0)).await.unwrap();
    assert_eq!(told(&world).await, with_pauses(3, 4));
    world.settled_device(2).await;
    assert_eq!(says(&world.ocs(&prolog(2)).await), FASTEST);
}

#[tokio::test]
async fn all_devices_are_slowed_down_at_once() {
    let world = World::start().await;
    world.settled_device(1).await;
    let records = &world.table.records;
    let all = GroupName::all();
    records
        .pace_group(&all, &pauses(5, 5), signing())
        .await
        .unwrap();
    let later = NOW.plus(Settings::DEFAULT_GROUP_CACHE_S);
    let reply = world.ocs_at(&prolog(1), later).await;
    assert_eq!(says(&reply), with_pauses(5, 5));
}

#[tokio::test]
async fn a_pace_costs_no_further_read() {
    let world = World::start().await;
    let pc = world.settled_device(1).await;
    group(&world, "thin-line", &pauses(10, 2)).await;
    let records = &world.table.records;
    records.set_device_pacing(&pc, &pauses(3, 0)).await.unwrap();
    told(&world).await;
    world.table.meter.take();
    told(&world).await;
    let usage = world.table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
}

#[tokio::test]
async fn a_device_that_is_told_to_drop_or_to_stop_keeps_its_pace() {
    let world = World::start().await;
    let pc = world.settled_device(1).await;
    group(&world, "thin-line", &pauses(10, 2)).await;
    for order in [DeviceCommand::Unstick, DeviceCommand::Cancel] {
        world
            .table
            .records
            .command_device(&pc, order, NOW)
            .await
            .unwrap();
        let told = told(&world).await;
        assert_eq!((told.fragment, told.cycle), (10, 2), "{order:?}");
    }
}

#[tokio::test]
async fn strict_is_a_matter_of_target_group_and_device() {
    let world = World::start().await;
    let pc = world.settled_device(1).await;
    let large = package(&world, "large", 5, 10).await;
    let small = package(&world, "small", 10, 1).await;
    group(&world, "lax", &strict(false)).await;
    group(&world, "careful", &strict(true)).await;
    for package in [&large, &small] {
        world.assign(&pc, package, false).await;
    }
    let told = async || -> Vec<PackageId> { announced(&world.ocs(&prolog(1)).await) };
    assert_eq!(told().await, [large.id]);
    let records = &world.table.records;
    records
        .set_device_pacing(&pc, &strict(false))
        .await
        .unwrap();
    assert_eq!(told().await, [large.id, small.id]);
}
