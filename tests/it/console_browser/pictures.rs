//! The pictures of the documents, which `just console-shots` writes.

use std::fs;
use std::path::PathBuf;

use packcast_tests::browser::{Appearance, Browser};
use packcast_tests::console::sample::{self, LONG_NAMED};
use serde_json::json;

use super::Desk;

/// The variable with the folder of the pictures. Without it, the pictures are only taken.
const FOLDER: &str = "PACKCAST_CONSOLE_SHOTS";

/// The numbers of devices for the pictures, and for a test that takes them only.
const MANY: u32 = 10_000;
const FEW: u32 = 240;

/// The pictures in the repository, and their largest size in bytes.
const PICTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/console");
const MOST_BYTES: u64 = 1_500_000;

pub(super) const WIDE: Appearance = Appearance::new(1_120, false);
const DARK: Appearance = Appearance::new(1_120, true);
const NARROW: Appearance = Appearance::new(360, false);

/// Takes pictures, and writes them if a folder is named.
pub(super) struct Camera {
    folder: Option<PathBuf>,
}

impl Camera {
    pub(super) fn new() -> Self {
        Self {
            folder: std::env::var_os(FOLDER).map(PathBuf::from),
        }
    }

    pub(super) fn take(&self, browser: &Browser, name: &str, appearance: Appearance) {
        browser.appear(appearance);
        let picture = browser.picture();
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(format!("{name}.png")), picture).unwrap();
        }
    }
}

#[test]
fn pictures_of_a_target_with_many_devices() {
    let camera = Camera::new();
    let devices = if camera.folder.is_some() { MANY } else { FEW };
    let Some(desk) = Desk::open_after(|world| sample::fill(world, devices)) else {
        return;
    };
    let browser = &desk.browser;
    browser.press("Check the fleet");
    browser.wait_for("Check again");
    camera.take(browser, "now", WIDE);
    let long = format!("/packages/{LONG_NAMED}");
    let pages = [
        ("packages", "/packages", WIDE),
        ("package", "/packages/vlc@3.0.21", WIDE),
        ("package-dark", "/packages/vlc@3.0.21", DARK),
        ("failures", "/packages/vlc@3.0.21/failures", WIDE),
        ("versions", "/packages/vlc@3.0.21/versions", WIDE),
        ("long-names", &long, NARROW),
        ("group", "/groups/floor-1", WIDE),
        ("devices", "/devices?name=lab-0", WIDE),
        ("devices-narrow", "/devices?name=lab-0", NARROW),
        ("rollout", "/rollouts/libreoffice@25.2.4", WIDE),
        ("rollout-dark", "/rollouts/firefox@141.0", DARK),
        ("history", "/history", WIDE),
        ("error", "/packages/missing@1", WIDE),
    ];
    for (name, path, appearance) in pages {
        desk.go(path);
        camera.take(browser, name, appearance);
    }
    // The calendar of a rollout, before it is signed.
    desk.go("/change/start-rollout?package=vlc@3.0.20&to=groups&group=floor-1&group=floor-2&allow-downgrade=on");
    browser.press("Show the effect");
    browser.wait_for("Change the input");
    let calendar = "document.getElementById('calendar').scrollIntoView();";
    for (name, appearance) in [
        ("calendar", WIDE),
        ("calendar-dark", DARK),
        ("calendar-narrow", NARROW),
    ] {
        browser.appear(appearance);
        browser.run(calendar, &json!([]));
        camera.take(browser, name, appearance);
    }
    desk.go("/packages/vlc@3.0.21/devices?state=failed");
    browser.click("tbody a");
    camera.take(browser, "device", WIDE);
    camera.take(browser, "device-narrow", NARROW);
}

#[test]
fn a_picture_of_an_empty_target() {
    let Some(desk) = Desk::open() else {
        return;
    };
    Camera::new().take(&desk.browser, "empty", WIDE);
}

#[test]
fn the_pictures_in_the_repository_are_small() {
    let pictures = fs::read_dir(PICTURES).unwrap();
    let sizes = pictures.map(|picture| picture.unwrap().metadata().unwrap().len());
    let bytes: u64 = sizes.sum();
    assert!((1..MOST_BYTES).contains(&bytes), "{bytes} bytes");
}
