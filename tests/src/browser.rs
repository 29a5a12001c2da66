//! A real browser: Chromium, used as a person uses it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64;
use packcast_testing::skip::{Missing, skip};
use serde_json::{Value, json};

use self::driver::Driver;
use crate::process::{eventually, text};

mod axe;
mod driver;

/// The key under which `chromedriver` names elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window, ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
    /// True if the scripts of pages run.
    scripts: bool,
    clicks: AtomicU32,
}

/// The width of the window in pixels, and the colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appearance {
    pub width: u32,
    pub dark: bool,
}

impl Appearance {
    /// The narrowest and the widest window, light and dark.
    pub const ALL: [Self; 4] = [
        Self::new(360, false),
        Self::new(360, true),
        Self::new(1_920, false),
        Self::new(1_920, true),
    ];

    const USUAL: Self = Self::new(1_280, false);

    pub const fn new(width: u32, dark: bool) -> Self {
        Self { width, dark }
    }

    /// Returns a usual height of the window in pixels.
    const fn height(self) -> u32 {
        match self.width {
            ..500 => 780,
            500..1_500 => 860,
            1_500.. => 1_080,
        }
    }
}

/// Returns true if the browser and axe-core are installed; the test is otherwise skipped.
///
/// # Panics
/// As [`skip`] does.
pub fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for program in ["chromium", "chromedriver"] {
        if !folders.iter().any(|folder| folder.join(program).is_file()) {
            skip(Missing::Provided(program));
            return false;
        }
    }
    if axe::file().is_none() {
        skip(Missing::Provided("axe-core"));
        return false;
    }
    true
}

impl Browser {
    /// Starts a browser with its profile in a folder.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, true)
    }

    /// Starts a browser that runs no scripts of pages.
    pub fn without_scripts(folder: &Path) -> Self {
        Self::start_with(folder, false)
    }

    fn start_with(folder: &Path, scripts: bool) -> Self {
        let browser = Self {
            driver: Driver::start(folder, scripts),
            scripts,
            clicks: AtomicU32::new(0),
        };
        browser.appear(Appearance::USUAL);
        browser
    }

    /// Changes the width of the window and the colours.
    pub fn appear(&self, appearance: Appearance) {
        let Appearance { width, dark } = appearance;
        let height = appearance.height();
        self.driver.tools(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
        let colours = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": colours });
        let features = json!({ "features": [feature] });
        self.driver.tools("Emulation.setEmulatedMedia", &features);
    }

    /// Limits uploads to this number of bytes a second; `None` ends the limit.
    pub fn slow_uploads(&self, bytes_per_second: Option<u64>) {
        self.network(false, bytes_per_second);
    }

    /// Lets all requests fail, until [`Self::slow_uploads`].
    pub fn go_offline(&self) {
        self.network(true, None);
    }

    fn network(&self, offline: bool, bytes_per_second: Option<u64>) {
        self.driver.tools("Network.enable", &json!({}));
        let speed = bytes_per_second.map_or(json!(-1), |bytes| json!(bytes));
        let conditions = json!({
            "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": speed,
        });
        self.driver
            .tools("Network.emulateNetworkConditions", &conditions);
    }

    /// Drops files on an element, as a person drags them from a file manager.
    pub fn drop_files(&self, css: &str, files: &[&Path]) {
        self.clicks.fetch_add(1, Ordering::SeqCst);
        let element = eventually(css, || self.find(css));
        let middle = "arguments[0].scrollIntoView({ block: 'center' });
            const it = arguments[0].getBoundingClientRect();
            return [it.x + it.width / 2, it.y + it.height / 2];";
        let middle = self.run(middle, &json!([{ ELEMENT: element }]));
        let files: Vec<&str> = files.iter().map(|file| text(file)).collect();
        let data = json!({ "items": [], "files": files, "dragOperationsMask": 1 });
        for kind in ["dragEnter", "dragOver", "drop"] {
            let event = json!({ "type": kind, "x": middle[0], "y": middle[1], "data": data });
            self.driver.tools("Input.dispatchDragEvent", &event);
        }
    }

    /// Opens an address, and waits until its page is loaded.
    pub fn open(&self, address: &str) {
        let opened = self.driver.post("/url", &json!({ "url": address }));
        opened.unwrap_or_else(|error| panic!("{address}: {error}"));
    }

    /// Loads the page again.
    pub fn reload(&self) {
        let loaded = self.driver.post("/refresh", &json!({}));
        loaded.expect("a page can be loaded again");
    }

    pub fn address(&self) -> String {
        self.told("/url")
    }

    pub fn title(&self) -> String {
        self.told("/title")
    }

    fn told(&self, path: &str) -> String {
        let told = self.driver.get(path).expect("a window is open");
        told.as_str().unwrap_or_default().to_owned()
    }

    /// Returns the visible text of the page.
    pub fn text(&self) -> String {
        self.text_of("body").unwrap_or_default()
    }

    /// Returns the visible text of the first element, `None` if there is none, or if the page has
    /// changed meanwhile.
    pub fn text_of(&self, css: &str) -> Option<String> {
        let element = self.find(css)?;
        let text = self.driver.get(&format!("/element/{element}/text")).ok()?;
        text.as_str().map(ToOwned::to_owned)
    }

    /// Waits for a text on the page.
    pub fn wait_for(&self, text: &str) {
        let waited = std::cell::RefCell::new(String::new());
        let has = || {
            let shown = self.text();
            let has = shown.contains(text);
            waited.replace(shown);
            has.then_some(())
        };
        eventually_or(text, has, || {
            format!("{}: {}", self.address(), waited.borrow())
        });
    }

    /// Returns the content of a field.
    pub fn value(&self, css: &str) -> String {
        let element = eventually(css, || self.find(css));
        let value = self
            .driver
            .get(&format!("/element/{element}/property/value"));
        let value = value.expect("a field has a value");
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Returns true if the page has such an element.
    pub fn has(&self, css: &str) -> bool {
        self.find(css).is_some()
    }

    /// Returns the number of such elements.
    pub fn count(&self, css: &str) -> usize {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.driver.post("/elements", &wanted);
        let found = found.expect("a window is open");
        found.as_array().map_or(0, Vec::len)
    }

    /// Clicks on the first element.
    pub fn click(&self, css: &str) {
        self.click_found("css selector", css);
    }

    /// Clicks on the link with this text.
    pub fn follow(&self, text: &str) {
        self.click_found("link text", text);
    }

    /// Clicks on the button that has this text.
    pub fn press(&self, text: &str) {
        let path = format!("//button[normalize-space()={text:?}]");
        self.click_found("xpath", &path);
    }

    /// Clicks on the control whose label has this text.
    pub fn choose(&self, label: &str) {
        let path = format!("//label[contains(normalize-space(), {label:?})]");
        self.click_found("xpath", &path);
    }

    fn click_found(&self, using: &str, value: &str) {
        self.clicks.fetch_add(1, Ordering::SeqCst);
        eventually_or(
            value,
            || {
                let element = self.find_by(using, value)?;
                let path = format!("/element/{element}/click");
                self.driver.post(&path, &json!({})).ok()
            },
            || format!("{}: {}", self.address(), self.text()),
        );
    }

    /// Returns the number of clicks so far.
    pub fn clicks(&self) -> u32 {
        self.clicks.load(Ordering::SeqCst)
    }

    /// Types a text into a field, in place of its content.
    pub fn fill(&self, css: &str, text: &str) {
        let element = eventually(css, || self.find(css));
        let cleared = self
            .driver
            .post(&format!("/element/{element}/clear"), &json!({}));
        cleared.unwrap_or_else(|error| panic!("{css}: {error}"));
        self.type_into(&element, text);
    }

    /// Chooses a file in a field for files, which is a click for a person.
    pub fn choose_file(&self, css: &str, file: &Path) {
        self.clicks.fetch_add(1, Ordering::SeqCst);
        let element = eventually(css, || self.find(css));
        self.type_into(&element, text(file));
    }

    fn type_into(&self, element: &str, text: &str) {
        let path = format!("/element/{element}/value");
        let typed = self.driver.post(&path, &json!({ "text": text }));
        typed.unwrap_or_else(|error| panic!("{text}: {error}"));
    }

    /// Runs a script in the page, and returns its result.
    pub fn run(&self, script: &str, arguments: &Value) -> Value {
        let body = json!({ "script": script, "args": arguments });
        let ran = self.driver.post("/execute/sync", &body);
        ran.unwrap_or_else(|error| panic!("{error}"))
    }

    fn run_async(&self, script: &str, arguments: &Value) -> Value {
        let body = json!({ "script": script, "args": arguments });
        let ran = self.driver.post("/execute/async", &body);
        ran.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the cookies of the page, as `chromedriver` writes them.
    pub fn cookies(&self) -> Vec<Value> {
        let cookies = self.driver.get("/cookie").expect("a page is open");
        cookies.as_array().cloned().unwrap_or_default()
    }

    /// Returns the faults of the present page: violations of the rules of axe-core, and content that
    /// is wider than the window. axe-core needs scripts.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = if self.scripts {
            axe::violations(self)
        } else {
            Vec::new()
        };
        let wide = self.wide_content().into_iter();
        faults.extend(wide.map(|element| format!("wider than the window: {element}")));
        faults
    }

    /// Returns the faults of the present page in each appearance.
    pub fn faults_everywhere(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for appearance in Appearance::ALL {
            self.appear(appearance);
            let found = self.faults().into_iter();
            faults.extend(found.map(|fault| format!("{appearance:?}: {fault}")));
        }
        self.appear(Appearance::USUAL);
        faults
    }

    /// Returns elements that end right of the window, except those in a region that scrolls.
    pub fn wide_content(&self) -> Vec<String> {
        let wide = self.run(WIDE_CONTENT, &json!([]));
        let wide = wide.as_array().into_iter().flatten();
        wide.map(ToString::to_string).collect()
    }

    /// Presses keys, which the control with the focus gets.
    pub fn type_keys(&self, keys: &str) {
        let press = |key: char| {
            let key = key.to_string();
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key }))
        };
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        let body = json!({ "actions": [keyboard] });
        let done = self.driver.post("/actions", &body);
        done.expect("keys can be pressed");
    }

    /// Returns a picture of the window as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.driver.get("/screenshot").expect("a window is open");
        let data = picture.as_str().expect("a picture in base64");
        let bytes = BASE64.decode(data.as_bytes());
        bytes.expect("a picture in base64")
    }

    fn find(&self, css: &str) -> Option<String> {
        self.find_by("css selector", css)
    }

    fn find_by(&self, using: &str, value: &str) -> Option<String> {
        let wanted = json!({ "using": using, "value": value });
        let found = self.driver.post("/element", &wanted).ok()?;
        found[ELEMENT].as_str().map(ToOwned::to_owned)
    }
}

/// Elements that end right of the window, except those in a region that scrolls.
const WIDE_CONTENT: &str = "const limit = document.documentElement.clientWidth + 1;
if (document.documentElement.scrollWidth <= limit) return [];
return [...document.querySelectorAll('body *')]
    .filter((it) => it.getBoundingClientRect().right > limit && !it.closest('.scroll'))
    .slice(0, 5).map((it) => it.outerHTML.slice(0, 200));";

/// Retries like [`eventually`]; if nothing comes, the message has what was there instead.
fn eventually_or<T>(
    event: &str,
    mut ask: impl FnMut() -> Option<T>,
    instead: impl Fn() -> String,
) -> T {
    let started = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            started.elapsed() < crate::process::PATIENCE,
            "{event}: not in {}",
            instead()
        );
        std::thread::sleep(PAUSE);
    }
}

/// The pause before the browser is asked again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
