//! Each page in the narrowest and in the widest window, light and dark: rules of axe-core, and no
//! content wider than the window.

use packcast_tests::console::crawl::crawl;
use packcast_tests::console::sample;

use super::Desk;

/// Enough devices for several pages of a list.
const DEVICES: u32 = 240;

/// The number of kinds of pages that the links lead to, at least.
const PAGES: usize = 20;

#[test]
fn no_page_breaks_the_rules_of_accessibility_at_any_width_light_or_dark() {
    let Some(desk) = Desk::open_after(|world| sample::fill(world, DEVICES)) else {
        return;
    };
    desk.browser.press("Check the fleet");
    desk.browser.wait_for("not seen for 7 days");
    let (mut paths, mut faults) = (Vec::new(), Vec::new());
    crawl(&desk.console, &desk.browser, |path| {
        paths.push(path.to_owned());
        let found = desk.browser.faults_everywhere().into_iter();
        faults.extend(found.map(|it| format!("{path} {it}")));
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(paths.len() >= PAGES, "{paths:#?}");
}

#[test]
fn pages_of_errors_follow_the_rules_too() {
    let Some(desk) = Desk::open() else {
        return;
    };
    for path in [
        "/packages/missing@1",
        "/nowhere",
        "/devices/a:b",
        "/groups/x",
    ] {
        desk.go(path);
        assert_eq!(desk.browser.faults_everywhere(), [""; 0], "{path}");
    }
}
