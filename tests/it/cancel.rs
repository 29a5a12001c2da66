//! Assignments that are withdrawn after they were announced.

use std::path::Path;

use packcast_agent::event::Event;
use packcast_protocol::{Outcome, PackageId};
use packcast_rollout::TaskState;
use packcast_tests::archives::{noise, tar_gz};
use packcast_tests::relay::Relay;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;

use crate::PROGRAM;

/// A device with an announced package, which it cannot download while the only location is cut off.
struct DeferredPackage {
    world: World,
    site: Relay,
    device: TestDevice,
    package: PackageId,
    stored: String,
}

impl DeferredPackage {
    fn begin() -> Self {
        let world = World::start(PROGRAM);
        let site = Relay::to(world.state().edge);
        world.ok(&["location", "add", "site", &site.address().to_string()]);
        let archive = tar_gz(&[("noise", &noise(4, 1 << 20))]);
        let (source, stored) = (world.file("files.tar.gz", &archive), world.path("stored"));
        let action = ["--action", "store", "--path", &stored, &source];
        let package = world.publish("files", &action).package.id;
        world.ok(&["activate", "files@1", "--location", "site"]);
        let device = world.device("pc");
        world.assign("files@1", &device);
        site.cut();
        let events = device.run();
        assert!(matches!(events.last(), Some(Event::Deferred { .. })));
        Self {
            world,
            site,
            device,
            package,
            stored,
        }
    }

    /// Withdraws the assignment; the device does not know of it yet.
    fn unassign(&self) {
        let device = self.device.id();
        self.world.ok(&["unassign", "files@1", "--device", device]);
        let open = self.world.device_state(&self.device).open;
        assert!(
            matches!(open[0].state, TaskState::Withdrawn { .. }),
            "{open:?}"
        );
    }

    /// Expects how many devices have the package, and how many have cancelled it.
    fn expect(&self, succeeded: u64, cancelled: u64) {
        let progress = self.world.progress("files@1");
        let counts = (progress.succeeded, progress.cancelled, progress.announced);
        assert_eq!(counts, (succeeded, cancelled, 0), "{progress:?}");
        assert!(self.world.device_state(&self.device).open.is_empty());
    }
}

#[test]
fn a_device_cancels_a_withdrawn_task_and_reports_it() {
    let story = DeferredPackage::begin();
    story.unassign();
    story.site.mend();
    story.device.run();
    let result = story.world.result(&story.device);
    assert_eq!((result.attempt, result.outcome), (1, Outcome::Cancelled));
    assert_eq!(result.code.to_string(), "CANCELLED");
    story.expect(0, 1);
    assert!(!Path::new(&story.stored).exists());
    let shown = story
        .world
        .ok(&["device", "show", story.device.id()])
        .stdout;
    assert!(shown.contains("cancelled: CANCELLED"), "{shown}");
    assert_eq!(story.device.announced(), 0);
}

#[test]
fn a_cancelled_package_can_be_assigned_again() {
    let story = DeferredPackage::begin();
    story.unassign();
    story.device.run();
    story.expect(0, 1);
    story.site.mend();
    story.world.assign("files@1", &story.device);
    story.device.run();
    let result = story.world.result(&story.device);
    assert_eq!((result.attempt, result.outcome), (2, Outcome::Succeeded));
    story.expect(1, 0);
    assert!(Path::new(&story.stored).exists());
}

#[test]
fn a_device_without_the_announcement_reports_the_cancellation_as_well() {
    let story = DeferredPackage::begin();
    story.unassign();
    story.device.forget(story.package);
    story.device.run();
    story.expect(0, 1);
}
