//! The effect and the result of each change, and forms that are refused: rules of axe-core.

use packcast_publisher::signing::PASSPHRASE_VARIABLE;
use packcast_tests::browser::is_installed;
use packcast_tests::console::RunningConsole;
use packcast_tests::process::{Ran, eventually};
use packcast_tests::world::{World, clean, local_dir};

use super::Desk;
use crate::PROGRAM;

const PASSPHRASE: &str = "correct horse";

#[test]
fn the_effect_and_the_result_of_each_change_follow_the_rules() {
    let Some(desk) = Desk::open_after(|world| {
        world.execute("tool", "true");
    }) else {
        return;
    };
    let device = desk.world.device("pc");
    device.run();
    let id = device.id();
    let of_device = |path: &str| format!("/change/{path}?device={id}");
    // In an order in which each of them is possible.
    let changes = [
        (
            "/change/create-group?group=lab".to_owned(),
            "Create the group",
        ),
        (
            "/change/rename-group?group=lab&to=labs".to_owned(),
            "Rename the group",
        ),
        (
            format!("/change/add-devices?group=labs&names={id}"),
            "Add the devices",
        ),
        (
            "/change/prefer-location?group=labs&location=local".to_owned(),
            "Set the preferred location",
        ),
        (
            "/change/group-pacing?group=labs&typed=yes&fragment-pause=2s".to_owned(),
            "Set the pacing",
        ),
        (
            "/change/assign?package=tool@1&to=groups&group=labs".to_owned(),
            "Assign the package",
        ),
        (
            "/change/unassign?package=tool@1&to=groups&group=labs".to_owned(),
            "Unassign the package",
        ),
        (
            format!("/change/remove-devices?group=labs&names={id}"),
            "Remove the devices",
        ),
        (
            "/change/delete-group?group=labs".to_owned(),
            "Delete the group",
        ),
        (of_device("block") + "&reason=stolen", "Block the devices"),
        (of_device("unblock"), "Unblock the devices"),
        ("/change/pause".to_owned(), "Pause the target"),
        ("/change/resume".to_owned(), "End the pause"),
        (
            "/change/deactivate?package=tool@1".to_owned(),
            "Deactivate the package",
        ),
        (
            "/change/delete?package=tool@1".to_owned(),
            "Delete the package",
        ),
        (of_device("remove"), "Remove the devices"),
    ];
    for (path, button) in changes {
        desk.go(&path);
        desk.confirm(button);
        assert_eq!(desk.browser.faults_everywhere(), [""; 0], "{path}");
    }
}

#[test]
fn forms_that_are_refused_follow_the_rules() {
    let Some(desk) = Desk::open() else {
        return;
    };
    for path in [
        "/change/create-group?group=a+b",
        "/change/rename-group?group=none&to=lab",
        "/change/add-devices?group=none&names=pc",
        "/change/assign?package=missing@1&to=all",
        "/change/block?device=-x",
        "/change/group-pacing?group=all&typed=yes&fragment-pause=soon",
        "/change/revert?commit=none",
    ] {
        desk.go(path);
        desk.browser.press("Show the effect");
        desk.browser.wait_for("Nothing was changed. The form keeps");
        assert_eq!(desk.browser.faults_everywhere(), [""; 0], "{path}");
    }
}

#[test]
fn passphrases_are_asked_for_and_a_wrong_one_is_refused() {
    if !is_installed() {
        return;
    }
    let environment = [(PASSPHRASE_VARIABLE, PASSPHRASE)];
    let world = World::start_with(PROGRAM, &environment, |place| {
        let file = local_dir(place).join("packcast.key");
        let mut generate = clean(PROGRAM.as_ref(), place);
        generate.args(["keys", "generate", "--key"]).arg(file);
        let _ = Ran::of(generate.envs(environment)).expect_code(0);
    });
    let console = RunningConsole::start(&world);
    let desk = Desk::sit_down(world, console);
    let browser = &desk.browser;
    // The wizard asks first, because the console then keeps the key.
    desk.go("/publish");
    browser.press("Next");
    browser.click("#task-execute");
    browser.press("Next");
    browser.press("Continue without a file");
    browser.fill("#command", "true");
    browser.press("Next");
    browser.fill("#name", "tool");
    browser.fill("#version", "1");
    browser.press("Next");
    browser.wait_for("Passphrase of the signing key");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.fill("#passphrase", "wrong horse");
    browser.press("Sign and publish");
    browser.wait_for("cannot");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.fill("#passphrase", PASSPHRASE);
    browser.press("Sign and publish");
    browser.wait_for("Next: activate");
    desk.go("/changes");
    browser.press("Lock the key");
    eventually("the key is locked", || {
        (!browser.text().contains("Lock the key")).then_some(())
    });
    desk.go("/change/create-group?group=lab");
    browser.press("Show the effect");
    browser.wait_for("Passphrase of the signing key");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.fill("#passphrase", "wrong horse");
    browser.press("Create the group");
    browser.wait_for("Nothing was changed");
    assert_eq!(browser.faults_everywhere(), [""; 0]);
    browser.fill("#passphrase", PASSPHRASE);
    browser.press("Create the group");
    desk.wait_for_end();
}
