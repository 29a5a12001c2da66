//! Packages that are served from several locations.

use std::fs;

use packcast_protocol::{FragmentNumber, Outcome};
use packcast_store::ObjectKey;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::relay::Relay;
use packcast_tests::world::World;

use crate::PROGRAM;

/// A world with a second location, `site`, and a package of several fragments that prefers `site`
/// to `local`.
fn world() -> (World, Relay) {
    let world = World::start(PROGRAM);
    let site = Relay::to(world.state().edge);
    let address = site.address().to_string();
    world.ok(&["location", "add", "site", &address]);
    let archive = tar_gz(&[("noise", &noise(3, 4 << 20))]);
    let (source, stored) = (world.file("files.tar.gz", &archive), world.path("stored"));
    let action = ["--action", "store", "--path", &stored];
    world.publish(
        "files",
        &[&action[..], &["--fragment-size", "1MiB", &source]].concat(),
    );
    let locations = ["--location", "site", "--location", "local"];
    world.ok(&[&["activate", "files@1"], &locations[..]].concat());
    (world, site)
}

#[test]
fn a_package_is_downloaded_from_its_first_location() {
    let (world, site) = world();
    let device = world.device("pc");
    world.assign("files@1", &device);
    let probes = site.connections();
    device.run();
    assert_eq!(world.result(&device).outcome, Outcome::Succeeded);
    assert!(site.connections() > probes);
}

#[test]
fn an_unreachable_location_is_replaced_by_the_next() {
    let (world, site) = world();
    let device = world.device("pc");
    world.assign("files@1", &device);
    site.cut();
    let probes = site.connections();
    device.run();
    assert_eq!(world.result(&device).outcome, Outcome::Succeeded);
    assert!(
        site.connections() > probes,
        "the first location is tried first"
    );
    let shown = world.ok(&["show", "files@1"]).stdout;
    for location in [site.address(), world.state().edge] {
        assert!(shown.contains(&location.to_string()), "{shown}");
    }
}

#[test]
fn a_missing_fragment_is_reported_with_all_locations() {
    let (world, site) = world();
    let device = world.device("pc");
    world.assign("files@1", &device);
    let package = &world.packages()[0];
    let second = FragmentNumber::from_index(1);
    let key = ObjectKey::fragment(&package.folder, package.id, second);
    fs::remove_file(world.object(&key)).unwrap();
    device.run();
    let result = world.result(&device);
    assert_eq!(result.code.to_string(), "ERR_DOWNLOAD_PACK");
    let detail = result.detail.unwrap();
    for location in [site.address(), world.state().edge] {
        assert!(detail.contains(&location.to_string()), "{detail}");
    }
}
