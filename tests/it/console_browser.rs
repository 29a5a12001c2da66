//! The console in a real browser: `packcast local`, `packcast console`, agents, and Chromium.

mod appearance;
mod changing;
mod keyboard;
mod pictures;
mod publishing;
mod reading;
mod results;
mod rolling_out;
mod signing_in;
mod uploading;
mod without_scripts;
mod wizard_steps;

use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::world::World;

use crate::PROGRAM;

/// The number of clicks from an empty target to a package on a device, as docs/console.md has it.
const CLICKS: u32 = 17;

/// A person at a browser in which the console is open. The parts end in this order.
struct Desk {
    browser: Browser,
    console: RunningConsole,
    world: World,
}

impl Desk {
    /// Opens the console of a new world; `None` if the browser is not installed.
    fn open() -> Option<Self> {
        Self::open_after(|_| {})
    }

    /// Opens the console after `prepare`.
    fn open_after(prepare: impl FnOnce(&mut World)) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let mut world = World::start(PROGRAM);
        prepare(&mut world);
        let console = RunningConsole::start(&world);
        Some(Self::sit_down(world, console))
    }

    /// Opens a console that changes nothing.
    fn open_read_only() -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let world = World::start(PROGRAM);
        world.execute("tool", "true");
        let console = RunningConsole::read_only(&world);
        Some(Self::sit_down(world, console))
    }

    fn sit_down(world: World, console: RunningConsole) -> Self {
        let browser = Browser::start(world.directory());
        console.sign_in(&browser);
        Self {
            browser,
            console,
            world,
        }
    }

    /// Opens a page of the console.
    fn go(&self, path: &str) {
        self.browser.open(&self.console.at(path));
    }

    /// Shows the effect of the change in the form, and makes the change with this button.
    fn confirm(&self, button: &str) {
        self.browser.press("Show the effect");
        self.accept(button);
    }

    /// Makes the change whose effect is shown with this button.
    fn accept(&self, button: &str) {
        self.browser.wait_for("Change the input");
        assert_eq!(self.browser.faults_everywhere(), [""; 0]);
        self.browser.press(button);
        self.wait_for_end();
    }

    /// Waits until the change is made. The page of a change that runs comes again by itself.
    fn wait_for_end(&self) {
        self.browser.wait_for("The change is made");
    }
}
