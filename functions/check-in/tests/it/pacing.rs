//! Pacing of OCS agents, reply by reply.

use packcast_check_in::FunctionSettings;
use packcast_protocol::{GroupName, PackageId};
use packcast_rollout::pacing::UpTo;
use packcast_rollout::{
    DeviceCommand, Pacing, PacingChange, PacingOverride, PackageRecord, Published,
};
use packcast_store::records::Reserved;
use packcast_testing::administrator::Administrator as _;
use packcast_testing::signing::signing;
use packcast_testing::table::{NOW, location, mia, published, reservation};

use crate::system::{TestSystem, announced, attribute, device, download, prolog, settings};

/// Pacing in a reply.
#[derive(Debug, PartialEq, Eq)]
struct PacingReply {
    fragment: u64,
    cycle: u64,
    period: u64,
    cycles: u64,
    timeout_days: u64,
    execution_timeout_min: u64,
    freq_hours: u64,
}

const FASTEST: PacingReply = PacingReply {
    fragment: 1,
    cycle: 1,
    period: 1,
    cycles: 10,
    timeout_days: 30,
    execution_timeout_min: 120,
    freq_hours: 1,
};

fn pacing_of(reply: &str) -> PacingReply {
    let conf = reply.lines().find(|line| line.contains("TYPE=\"CONF\""));
    let conf = conf.expect("a reply has a configuration");
    let value = |name| {
        let value = attribute(conf, name).and_then(|value| value.parse().ok());
        value.expect("the configuration has every value")
    };
    let (_, freq) = reply
        .split_once("<PROLOG_FREQ>")
        .expect("a reply has a frequency");
    let (freq, _) = freq.split_once('<').expect("an element has an end");
    PacingReply {
        fragment: value("FRAG_LATENCY"),
        cycle: value("CYCLE_LATENCY"),
        period: value("PERIOD_LATENCY"),
        cycles: value("PERIOD_LENGTH"),
        timeout_days: value("TIMEOUT"),
        execution_timeout_min: value("EXECUTION_TIMEOUT"),
        freq_hours: freq.parse().expect("a number"),
    }
}

impl PacingReply {
    /// Returns the pauses of an agent with one package, in seconds: the formula of protocol
    /// reference §2.5, and a pause after each period but the last.
    fn implied_s(&self, priority: u64, fragments: u64) -> u64 {
        let cycles = fragments + 1;
        let periods = (cycles - 1) / (self.cycles / priority);
        cycles * (priority * self.cycle + self.fragment) + periods * self.period
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

fn with_pauses(fragment: u64, cycle: u64) -> PacingReply {
    PacingReply {
        fragment,
        cycle,
        ..FASTEST
    }
}

/// Creates an active package with this number of fragments.
async fn package(system: &TestSystem, name: &str, priority: u8, fragments: u32) -> PackageRecord {
    let records = &system.table.records;
    let reserved = records.reserve(&reservation(name, priority), NOW).await;
    let (Reserved::New(package) | Reserved::Resumed(package)) =
        reserved.expect("a package can be reserved");
    let published = Published {
        fragments,
        ..published(package.id)
    };
    let published = records.publish(package.id, &published, &mia()).await;
    published.expect("a draft can be published");
    let active = records.activate(package.id, &[location()], &mia()).await;
    active.expect("a published package can be activated")
}

/// Creates a group with the first device.
async fn group(system: &TestSystem, name: &str, change: &PacingChange) {
    let group: GroupName = name.parse().expect("a group's name");
    let records = &system.table.records;
    let created = records.create_group(&group, signing()).await;
    created.expect("a group can be created");
    let joined = records.join(&device(1), &group, signing()).await;
    joined.expect("a device can join");
    let paced = records.pace_group(&group, change, signing()).await;
    paced.expect("a group can be paced");
}

async fn prolog_pacing(system: &TestSystem) -> PacingReply {
    pacing_of(&system.ocs(&prolog(1)).await)
}

#[tokio::test]
async fn one_package_takes_seconds() {
    for (fragments, at_most_s) in [(1, 15), (20, 150)] {
        let system = TestSystem::start().await;
        let device = system.settled_device(1).await;
        let package = package(&system, "vlc", 5, fragments).await;
        system.assign(&device, &package, false).await;
        let pacing = prolog_pacing(&system).await;
        assert_eq!(pacing, FASTEST);
        let implied_s = pacing.implied_s(5, fragments.into());
        assert!(implied_s <= at_most_s, "{implied_s} s");
    }
}

#[tokio::test]
async fn a_period_is_as_long_as_the_announced_packages_need() {
    let system = TestSystem::start().await;
    let device = system.settled_device(1).await;
    let urgent = package(&system, "urgent", 0, 12).await;
    let odd = package(&system, "odd", 7, 1).await;
    for package in [&urgent, &odd] {
        system.assign(&device, package, false).await;
    }
    let both = prolog_pacing(&system).await.cycles;
    assert_eq!((both, both % 7), (28, 0));
    system.ocs(&download(1, urgent.id, "SUCCESS")).await;
    assert_eq!(prolog_pacing(&system).await.cycles, 14);
    system.ocs(&download(1, odd.id, "SUCCESS")).await;
    assert_eq!(prolog_pacing(&system).await, FASTEST);
}

#[tokio::test]
async fn the_settings_of_a_target_apply() {
    let system = TestSystem::start_with(FunctionSettings {
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
    let expected = PacingReply {
        fragment: 2,
        cycle: 3,
        period: 4,
        cycles: 10,
        timeout_days: 6,
        execution_timeout_min: 120,
        freq_hours: 5,
    };
    assert_eq!(prolog_pacing(&system).await, expected);
}

#[tokio::test]
async fn the_slowest_group_applies_unless_the_device_overrides_it() {
    let system = TestSystem::start().await;
    let pc = system.settled_device(1).await;
    group(&system, "fast", &pauses(1, 4)).await;
    group(&system, "thin-line", &pauses(10, 2)).await;
    assert_eq!(prolog_pacing(&system).await, with_pauses(10, 4));
    let records = &system.table.records;
    records
        .set_device_pacing(&pc, &pauses(3, 0), &mia())
        .await
        .unwrap();
    assert_eq!(prolog_pacing(&system).await, with_pauses(3, 4));
    system.settled_device(2).await;
    assert_eq!(pacing_of(&system.ocs(&prolog(2)).await), FASTEST);
}

#[tokio::test]
async fn all_devices_are_slowed_down_at_once() {
    let system = TestSystem::start().await;
    system.settled_device(1).await;
    let records = &system.table.records;
    let all = GroupName::all();
    records
        .pace_group(&all, &pauses(5, 5), signing())
        .await
        .unwrap();
    let later = NOW.plus(FunctionSettings::DEFAULT_GROUP_CACHE_S);
    let reply = system.ocs_at(&prolog(1), later).await;
    assert_eq!(pacing_of(&reply), with_pauses(5, 5));
}

#[tokio::test]
async fn pacing_costs_no_further_read() {
    let system = TestSystem::start().await;
    let pc = system.settled_device(1).await;
    group(&system, "thin-line", &pauses(10, 2)).await;
    let records = &system.table.records;
    records
        .set_device_pacing(&pc, &pauses(3, 0), &mia())
        .await
        .unwrap();
    prolog_pacing(&system).await;
    system.table.meter.take();
    prolog_pacing(&system).await;
    let usage = system.table.meter.take();
    assert_eq!(usage.operations, ["Query"]);
    assert!(usage.read_units <= 1.0, "{usage:?}");
}

#[tokio::test]
async fn pacing_stays_while_a_device_drops_or_stops() {
    let system = TestSystem::start().await;
    let pc = system.settled_device(1).await;
    group(&system, "thin-line", &pauses(10, 2)).await;
    for command in [DeviceCommand::RestartDownload, DeviceCommand::Drop] {
        system
            .table
            .records
            .command_device(&pc, command, &mia())
            .await
            .unwrap();
        let pacing = prolog_pacing(&system).await;
        assert_eq!((pacing.fragment, pacing.cycle), (10, 2), "{command:?}");
    }
}

#[tokio::test]
async fn strict_can_be_set_for_target_group_and_device() {
    let system = TestSystem::start().await;
    let pc = system.settled_device(1).await;
    let large = package(&system, "large", 5, 10).await;
    let small = package(&system, "small", 10, 1).await;
    group(&system, "lax", &strict(false)).await;
    group(&system, "careful", &strict(true)).await;
    for package in [&large, &small] {
        system.assign(&pc, package, false).await;
    }
    let announced_packages =
        async || -> Vec<PackageId> { announced(&system.ocs(&prolog(1)).await) };
    assert_eq!(announced_packages().await, [large.id]);
    let records = &system.table.records;
    records
        .set_device_pacing(&pc, &strict(false), &mia())
        .await
        .unwrap();
    assert_eq!(announced_packages().await, [large.id, small.id]);
}
