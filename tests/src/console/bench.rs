//! The pages of a console over many devices and packages: the time, the read units and the size of
//! each.
//!
//! Each page is asked for twice: from a console that reaches the engine directly, to take the time, and
//! from one that reaches it through a meter.

use std::time::Instant;

use packcast_protocol::UnixTime;
use packcast_publisher::clock::now;
use packcast_rollout::PackageRecord;
use packcast_store::records::Reserved;
use packcast_testing::table::{device, location, mia, published, reservation};
use tokio::runtime::Runtime;

use super::RunningConsole;
use super::client::Client;
use crate::deployed::{Deployed, Deployment};
use crate::front::Front;
use crate::world::World;

/// The most read units of the first page of everything.
pub const MOST_UNITS: f64 = 50.0;

const DAY_S: u64 = 86_400;

/// The package of all devices, and a group with some of them.
const PACKAGE: &str = "tool@1";
const GROUP: &str = "lab";

/// The number of commits besides that of the package, for the history.
const COMMITS: u32 = 8;

/// The answers of all pages.
#[derive(Clone, Debug)]
pub struct PageReport {
    /// Duration of loading the records, in seconds.
    pub loading_s: f64,
    pub answers: Vec<PageAnswer>,
}

/// A page and its cost.
#[derive(Clone, Debug)]
pub struct PageAnswer {
    pub page: String,
    pub limit: Limit,
    pub status: u16,
    /// Duration of the whole page, in seconds.
    pub seconds: f64,
    pub bytes: usize,
    pub requests: usize,
    pub read_units: f64,
    pub write_units: f64,
    pub scans: usize,
    /// The read units that the page itself states.
    pub stated_units: f64,
}

/// The limit of the read units of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A first page, which reads at most [`MOST_UNITS`].
    First,
    /// A page after a click that has named the cost.
    Named,
}

impl PageReport {
    /// Returns the faults of all pages.
    pub fn faults(&self) -> Vec<String> {
        let of = |at: &PageAnswer| at.fault().map(|fault| format!("{}: {fault}", at.page));
        self.answers.iter().filter_map(of).collect()
    }
}

impl PageAnswer {
    /// Returns the fault of a page that is missing, reads too much, writes, or states another cost.
    pub fn fault(&self) -> Option<String> {
        if self.status != 200 {
            Some(format!("status {}", self.status))
        } else if self.scans > 0 {
            Some(format!("{} Scans", self.scans))
        } else if self.write_units > 0.0 {
            Some(format!("{} write units", self.write_units))
        } else if self.limit == Limit::First && self.read_units > MOST_UNITS {
            Some(format!("{:.1} read units", self.read_units))
        } else if (self.stated_units - self.read_units).abs() > 0.06 {
            let (stated, counted) = (self.stated_units, self.read_units);
            Some(format!(
                "states {stated} read units instead of {counted:.1}"
            ))
        } else {
            None
        }
    }
}

/// Loads devices and packages, and asks for every page. `watch` gets each answer as soon as it is there.
pub fn run(
    program: &str,
    devices: u32,
    packages: u32,
    mut watch: impl FnMut(&PageAnswer),
) -> PageReport {
    let mut world = World::start(program);
    let loading = Instant::now();
    let package = fill(&mut world, devices, packages);
    let loading_s = loading.elapsed().as_secs_f64();
    let endpoint = world.state().endpoint.clone();
    let engine = endpoint.strip_prefix("http://").map(str::parse);
    let meter = Front::metered(engine.expect("an engine speaks HTTP").expect("an address"));
    let behind = format!("http://{}", meter.address());
    let targets = [("direct", &endpoint), ("metered", &behind)];
    world.configure(&targets.map(|(name, at)| world.target_at(name, at)).concat());
    let consoles = ["direct", "metered"].map(|target| {
        let console = RunningConsole::of_target(&world, target);
        let client = Client::sign_in(&console);
        (console, client)
    });
    let [(_direct, direct), (_metered, metered)] = &consoles;
    let commit = large_commit(&direct.get("/history").body);
    let mut pages = pages(&package);
    pages.extend(commit.iter().map(|page| (page.clone(), Limit::Named)));
    let answers = pages.into_iter().map(|(page, limit)| {
        let begun = Instant::now();
        direct.get(&page);
        let seconds = begun.elapsed().as_secs_f64();
        meter.take_usage();
        let shown = metered.get(&page);
        let usage = meter.take_usage();
        let answer = PageAnswer {
            limit,
            status: shown.status,
            seconds,
            bytes: shown.body.len(),
            requests: usage.operations.len(),
            read_units: usage.read_units,
            write_units: usage.write_units,
            scans: usage.count("Scan"),
            stated_units: shown.stated_units(),
            page: if Some(&page) == commit.as_ref() {
                "/history/COMMIT".to_owned()
            } else {
                page.replace(&package.id.to_string(), "ID")
            },
        };
        watch(&answer);
        answer
    });
    PageReport {
        loading_s,
        answers: answers.collect(),
    }
}

/// Returns the page of the newest commit whose difference the history leaves out.
fn large_commit(history: &str) -> Option<String> {
    let (link, _) = history.split_once("\">Show the difference")?;
    let (_, page) = link.rsplit_once("href=\"")?;
    Some(page.to_owned())
}

/// Returns the pages. The search comes first among those that read all devices, and its second page
/// reads nothing again.
fn pages(package: &PackageRecord) -> Vec<(String, Limit)> {
    let (id, first) = (package.id, device(1).device);
    let firsts = [
        "/".to_owned(),
        "/packages".to_owned(),
        format!("/packages/{id}"),
        format!("/packages/{id}/devices?state=succeeded"),
        format!("/packages/{id}/devices?state=failed"),
        format!("/packages/{id}/failures"),
        format!("/packages/{id}/versions"),
        "/groups".to_owned(),
        "/groups/all".to_owned(),
        "/groups/all/devices".to_owned(),
        format!("/groups/{GROUP}"),
        format!("/groups/{GROUP}/devices"),
        "/devices".to_owned(),
        format!("/devices/{first}"),
        format!("/devices/{first}/why/{id}"),
        "/rollouts".to_owned(),
        "/history".to_owned(),
    ];
    let named = [
        format!("/packages/{id}/failures?all=1"),
        "/devices?name=pc1".to_owned(),
        "/devices?name=pc2".to_owned(),
        "/devices?not_seen=30".to_owned(),
        format!("/devices?group={GROUP}"),
    ];
    let firsts = firsts.into_iter().map(|page| (page, Limit::First));
    let named = named.into_iter().map(|page| (page, Limit::Named));
    firsts.chain(named).collect()
}

/// Fills the target, and returns the package of all devices.
fn fill(world: &mut World, devices: u32, packages: u32) -> PackageRecord {
    reserve(world, packages);
    let id = world.execute("tool", "true");
    world.ok(&["assign", PACKAGE, "--group", "all"]);
    let deployed = Deployed::of(world, id);
    let now = now();
    world.load(async |records| {
        for number in 0..devices {
            let mut record = device(number);
            record.first_seen = UnixTime(now.0 - 100 * DAY_S);
            record.last_seen = UnixTime(now.0 - u64::from(number % 60) * DAY_S);
            deployed.load(records, &record, &deployment(number)).await;
        }
    });
    for number in 0..COMMITS {
        world.ok(&["group", "create", &format!("group{number}")]);
    }
    world.ok(&["group", "create", GROUP]);
    let members = (0..devices).step_by(10);
    let lines = members.map(|number| format!("{}\n", device(number).device));
    let list = world.file("members.txt", lines.collect::<String>().as_bytes());
    world.ok(&["group", "add", GROUP, "--from", &list]);
    let mut packages = world.packages().into_iter();
    packages
        .find(|package| package.id == id)
        .expect("the package is published")
}

fn deployment(number: u32) -> Deployment {
    let code = match number % 20 {
        0 => "ERR_EXIT_CODE_3",
        1 => return Deployment::ToCome,
        2 => return Deployment::Waiting,
        3 => return Deployment::Announced,
        _ => "SUCCESS_0",
    };
    let output = format!("E: disk full on /dev/sd{number}\n");
    Deployment::Finished { code, output }
}

/// Publishes packages in the records alone, a second after each other, before now.
fn reserve(world: &World, packages: u32) {
    let runtime = Runtime::new().expect("a runtime can be created");
    runtime.block_on(async {
        let records = world.records().await;
        let first = now().0 - u64::from(packages) - 60;
        for number in 0..packages {
            let mut reservation = reservation(&format!("tool{}", number % 100), 5);
            let version = format!("{}.0", number / 100 + 1);
            reservation.version = version.parse().expect("a version");
            let at = UnixTime(first + u64::from(number));
            let reserved = records.reserve(&reservation, at).await;
            let (Reserved::New(package) | Reserved::Resumed(package)) =
                reserved.expect("a package can be reserved");
            let (id, published, by) = (package.id, published(package.id), mia());
            let written = records.publish(id, &published, &by).await;
            written.expect("a draft can be published");
            let activated = records.activate(id, &[location()], &by).await;
            activated.expect("a package can be activated");
        }
    });
}
