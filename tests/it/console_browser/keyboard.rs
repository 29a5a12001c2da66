//! Rules that axe-core cannot check: the keyboard, large text, wide spacing, and numbers that can be stopped.

use packcast_tests::browser::{Appearance, Browser};
use packcast_tests::console::crawl::crawl;
use packcast_tests::console::sample;
use packcast_tests::process::eventually;
use serde_json::json;

use super::Desk;

const DEVICES: u32 = 60;

/// WCAG 1.4.10: a window of 1,280 pixels at 400 % is as wide as one of 320.
const REFLOW: Appearance = Appearance::new(320, false);

/// WCAG 1.4.12: the spacing that people may choose.
const SPACING: &str = "for (const it of document.querySelectorAll('body *')) {
    it.style.cssText += 'line-height: 1.5 !important; letter-spacing: 0.12em !important;'
        + 'word-spacing: 0.16em !important;';
}";

/// The key that moves the focus to the next control, and the one that follows a link.
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// The key that chooses the next of several radio buttons.
const DOWN: &str = "\u{e015}";

/// Controls that the keyboard cannot reach in their order on the page.
const OUT_OF_ORDER: &str = "return [...document.querySelectorAll('[tabindex]')]
    .filter((it) => it.tabIndex > 0).map((it) => it.outerHTML.slice(0, 200));";

/// Text that is cut off, except in the boxes that scroll or cut on purpose.
const CUT_OFF: &str = "return [...document.querySelectorAll('main *')]
    .filter((it) => ['hidden', 'clip'].includes(getComputedStyle(it).overflowX)
        && it.scrollWidth > it.clientWidth + 1 && it.clientWidth > 1)
    .map((it) => it.outerHTML.slice(0, 200));";

fn listed(browser: &Browser, script: &str) -> Vec<String> {
    let found = browser.run(script, &json!([]));
    let found = found.as_array().into_iter().flatten();
    found.map(ToString::to_string).collect()
}

#[test]
fn pages_reflow_at_400_percent_and_take_the_spacing_of_the_reader() {
    let Some(desk) = Desk::open_after(|world| sample::fill(world, DEVICES)) else {
        return;
    };
    let browser = &desk.browser;
    let mut faults = Vec::new();
    crawl(&desk.console, browser, |path| {
        let mut note = |kind: &str, found: Vec<String>| {
            faults.extend(found.iter().map(|it| format!("{path} {kind}: {it}")));
        };
        browser.appear(REFLOW);
        note("at 400 %", browser.wide_content());
        browser.run(SPACING, &json!([]));
        note("with spacing", browser.wide_content());
        note("cut off", listed(browser, CUT_OFF));
        note("out of order", listed(browser, OUT_OF_ORDER));
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_keyboard_alone_leads_to_the_content_and_to_each_section() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let browser = &desk.browser;
    desk.go("/");
    let focused = || browser.run("return document.activeElement.textContent", &json!([]));
    browser.type_keys(TAB);
    assert_eq!(focused(), "Skip to the content");
    browser.type_keys(ENTER);
    let id = browser.run("return document.activeElement.id", &json!([]));
    assert_eq!(id, "main");
    for section in [
        "Packages", "Groups", "Devices", "Rollouts", "History", "Now",
    ] {
        desk.go("/");
        let mut keys = 0;
        while focused() != section {
            browser.type_keys(TAB);
            keys += 1;
            assert!(keys < 12, "the focus never comes to {section}");
        }
        let outline = "return getComputedStyle(document.activeElement).outlineStyle";
        assert_eq!(browser.run(outline, &json!([])), "solid", "{section}");
        browser.type_keys(ENTER);
        let title = format!("{section} · Packcast");
        eventually(section, || (browser.title() == title).then_some(()));
    }
}

/// Moves the focus to the control with this text or id, and checks that it is visible.
fn focus(browser: &Browser, wanted: &str) {
    let script = "const it = document.activeElement;
        return [it.id, it.textContent.trim(), getComputedStyle(it).outlineStyle];";
    for _ in 0..60 {
        browser.type_keys(TAB);
        let focused = browser.run(script, &json!([]));
        if focused[0] == wanted || focused[1] == wanted {
            assert_eq!(focused[2], "solid", "{wanted}");
            return;
        }
    }
    panic!("the focus never comes to {wanted}");
}

#[test]
fn the_keyboard_alone_publishes_a_package() {
    let Some(desk) = Desk::open() else {
        return;
    };
    let browser = &desk.browser;
    desk.go("/publish");
    let press = |button: &str, next: &str| {
        focus(browser, button);
        browser.type_keys(ENTER);
        browser.wait_for(next);
    };
    let enter = |field: &str, text: &str| {
        focus(browser, field);
        browser.type_keys(text);
    };
    press("Next", "Action on the device");
    focus(browser, "task-launch");
    browser.type_keys(DOWN);
    press("Next", "Continue without a file");
    press("Continue without a file", "Command for the shell");
    enter("command", "true");
    press("Next", "Priority");
    enter("name", "tool");
    enter("version", "1");
    press("Next", "Sign and publish");
    press("Sign and publish", "Next: activate");
}

#[test]
fn live_numbers_can_be_paused() {
    let Some(desk) = Desk::open_after(|world| {
        world.execute("tool", "true");
    }) else {
        return;
    };
    let browser = &desk.browser;
    desk.go("/packages/tool@1");
    browser.press("Pause live numbers");
    browser.press("Resume live numbers");
    browser.wait_for("Live numbers since then");
}
