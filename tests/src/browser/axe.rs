//! Accessibility rules of axe-core.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Browser;

/// The file in the tools that `tests/run` installs.
const FILE: &str = "tools/axe-core/axe.min.js";

/// The rules: WCAG 2.0 to 2.2 on the levels A and AA, and best practices.
const TAGS: [&str; 7] = [
    "wcag2a",
    "wcag2aa",
    "wcag21a",
    "wcag21aa",
    "wcag22a",
    "wcag22aa",
    "best-practice",
];

const RUN: &str = "const done = arguments[arguments.length - 1];
axe.run(document, { runOnly: arguments[0], resultTypes: ['violations'] })
    .then((found) => done(found.violations), (error) => done(String(error)));";

/// Returns the path of axe-core, which is in the build folder.
pub(super) fn file() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut places = program.ancestors().map(|folder| folder.join(FILE));
    places.find(|place| place.is_file())
}

/// Returns the violations on the present page, one a line, with the elements of each.
pub(super) fn violations(browser: &Browser) -> Vec<String> {
    let script = fs::read_to_string(file().expect("axe-core is installed"));
    browser.run(&script.expect("axe-core can be read"), &json!([]));
    let found = browser.run_async(RUN, &json!([TAGS]));
    let Value::Array(found) = found else {
        panic!("axe-core fails: {found}")
    };
    found.iter().map(line).collect()
}

fn line(violation: &Value) -> String {
    let nodes = violation["nodes"].as_array().into_iter().flatten();
    let nodes = nodes.map(|node| {
        let (html, summary) = (&node["html"], &node["failureSummary"]);
        format!("    {html}: {summary}")
    });
    let nodes: Vec<String> = nodes.take(5).collect();
    format!(
        "{}: {}\n{}",
        violation["id"],
        violation["help"],
        nodes.join("\n")
    )
}
