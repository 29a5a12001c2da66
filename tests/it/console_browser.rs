//! The console in a real browser: `packcast local`, `packcast console`, agents, and Chromium.

mod appearance;
mod keyboard;
mod pictures;
mod reading;
mod signing_in;
mod without_scripts;

use packcast_tests::browser::{Browser, is_installed};
use packcast_tests::console::RunningConsole;
use packcast_tests::world::World;

use crate::PROGRAM;

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
        let browser = Browser::start(world.directory());
        console.sign_in(&browser);
        Some(Self {
            browser,
            console,
            world,
        })
    }

    /// Opens a page of the console.
    fn go(&self, path: &str) {
        self.browser.open(&self.console.at(path));
    }
}
