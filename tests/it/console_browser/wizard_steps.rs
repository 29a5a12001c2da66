//! The steps of the wizard for each action, and fields that are refused: rules of axe-core, and the names
//! that a screen reader reads.

use packcast_tests::browser::Browser;
use serde_json::json;

use super::Desk;

/// Begins a package until the step after the action.
fn begin(desk: &Desk, system: &str, task: &str) {
    desk.go("/publish");
    desk.browser.click(&format!("#system-{system}"));
    desk.browser.press("Next");
    desk.browser.click(&format!("#task-{task}"));
    follows_the_rules(&desk.browser);
    desk.browser.press("Next");
}

fn follows_the_rules(browser: &Browser) {
    assert_eq!(browser.faults_everywhere(), [""; 0]);
}

/// Opens the parts of the options that are folded.
fn unfold(browser: &Browser) {
    let open = "for (const it of document.querySelectorAll('details')) it.open = true;";
    browser.run(open, &json!([]));
}

/// Checks that the refused field has the focus, is marked, and is described by the failure.
fn is_refused(browser: &Browser, id: &str) {
    browser.wait_for("cannot");
    let script = "const it = document.activeElement;
        const texts = (it.getAttribute('aria-describedby') ?? '').split(' ')
            .map((id) => document.getElementById(id)?.textContent ?? '');
        return [it.id, it.getAttribute('aria-invalid'), texts.some((text) => text.includes('cannot'))];";
    let found = browser.run(script, &json!([]));
    assert_eq!(found, json!([id, "true", true]));
    follows_the_rules(browser);
}

#[test]
fn a_command_with_an_installer_follows_the_rules() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let browser = &desk.browser;
    let file = desk.world.file("vlc-3.0.21.msi", &[7; 3_000]);
    begin(&desk, "windows", "execute");
    follows_the_rules(browser);
    browser.fill("#path", "vlc.msi");
    browser.press("Use this path");
    is_refused(browser, "path");
    assert_eq!(browser.value("#path"), "vlc.msi");
    browser.fill("#path", &file);
    browser.press("Use this path");
    browser.wait_for("A guess:");
    follows_the_rules(browser);
    browser.fill("#command", " ");
    browser.press("Next");
    is_refused(browser, "command");
    browser.fill("#command", "msiexec /i vlc-3.0.21.msi /qn");
    browser.press("Next");
    browser.wait_for("Priority");
    unfold(browser);
    follows_the_rules(browser);
    browser.fill("#timeout", "for ever");
    browser.press("Next");
    is_refused(browser, "timeout");
    browser.fill("#timeout", "1h");
    unfold(browser);
    browser.fill("#notify", "say \"yes\"");
    browser.press("Next");
    is_refused(browser, "notify");
    browser.fill("#notify", "Soon");
    browser.press("Next");
    browser.wait_for("Sign and publish");
    follows_the_rules(browser);
    // A file of another system, and an archive without a program.
    desk.go("/publish");
    follows_the_rules(browser);
    begin(&desk, "linux", "launch");
    browser.fill("#path", &file);
    browser.press("Use this path");
    browser.wait_for("has no program at its top");
    follows_the_rules(browser);
    browser.fill("#program", "none.sh");
    browser.press("Next");
    is_refused(browser, "program");
}

#[test]
fn files_uninstallers_and_updates_follow_the_rules() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let browser = &desk.browser;
    let script = desk.world.file("agent.sh", b"#!/bin/sh\n");
    begin(&desk, "any", "store");
    browser.fill("#path", &script);
    browser.press("Use this path");
    browser.wait_for("Folder on the device");
    follows_the_rules(browser);
    browser.fill("#folder", "here");
    browser.press("Next");
    is_refused(browser, "folder");

    begin(&desk, "any", "uninstall");
    follows_the_rules(browser);
    browser.fill("#to_uninstall", "vlc; reboot");
    browser.press("Fill in the command");
    is_refused(browser, "to_uninstall");
    browser.fill("#to_uninstall", "vlc");
    browser.press("Fill in the command");
    browser.wait_for("Command for the shell");
    assert!(browser.value("#command").contains("remove -y vlc"));
    browser.press("Next");
    browser.fill("#name", "-");
    browser.fill("#version", "1");
    browser.press("Next");
    is_refused(browser, "name");
    // The same name and version with other content.
    desk.world.execute("tool", "true");
    browser.fill("#name", "tool");
    browser.press("Next");
    browser.press("Sign and publish");
    browser.wait_for("Everything that you have typed is still here");
    follows_the_rules(browser);

    begin(&desk, "any", "update");
    browser.wait_for("One path in each line");
    follows_the_rules(browser);
    browser.fill("#path", "beos=/srv/agent");
    browser.press("Add");
    is_refused(browser, "path");
    browser.fill(
        "#path",
        &format!("linux-x86_64={script}\nlinux-aarch64={script}"),
    );
    browser.press("Add");
    browser.follow("Continue with these programs");
    browser.wait_for("Version");
    follows_the_rules(browser);
    browser.fill("#version", "new");
    browser.press("Next");
    is_refused(browser, "version");
}
