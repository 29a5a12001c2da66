//! All pages of a console, found by their links.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;

use super::RunningConsole;
use crate::browser::Browser;

/// The sections whose second part names a package, a group, a device or a commit.
const NAMED: [&str; 5] = ["packages", "groups", "devices", "rollouts", "history"];

/// Words in the place of a name that are pages.
const WORDS: [&str; 3] = ["all", "new", "publish"];

const LINKS: &str = "return [...document.querySelectorAll('a[href^=\"/\"]')]
    .map((link) => link.getAttribute('href').split('#')[0]);";

/// Opens one page of each kind, beginning with *Now*, and calls `visit` on each with its path.
pub fn crawl(console: &RunningConsole, browser: &Browser, mut visit: impl FnMut(&str)) {
    let mut seen = BTreeSet::from([kind("/")]);
    let mut open = VecDeque::from(["/".to_owned()]);
    while let Some(path) = open.pop_front() {
        browser.open(&console.at(&path));
        visit(&path);
        let links = browser.run(LINKS, &json!([]));
        for link in links.as_array().into_iter().flatten() {
            let link = link.as_str().unwrap_or_default();
            if seen.insert(kind(link)) {
                open.push_back(link.to_owned());
            }
        }
    }
}

/// Returns the kind of the page at a path: the path without names, and the names of its parameters.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut parts: Vec<&str> = path.split('/').collect();
    let is_named = |place: usize| match place {
        2 => NAMED.contains(&parts[1]) && !WORDS.contains(&parts[2]),
        _ => parts[place - 1] == "why",
    };
    let named: Vec<usize> = (2..parts.len()).filter(|place| is_named(*place)).collect();
    for place in named {
        parts[place] = "*";
    }
    let query = query.split('&').filter_map(|it| it.split('=').next());
    let query: BTreeSet<&str> = query.collect();
    let query: Vec<&str> = query.into_iter().collect();
    format!("{}?{}", parts.join("/"), query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn pages_of_one_kind_differ_in_names_only() {
        let kinds = [
            "/",
            "/packages/1795327754/devices?state=failed",
            "/groups/all",
            "/groups/floor-1/devices",
            "/devices/ocs:pc1/why/1795327754",
            "/devices?name=pc&not_seen=3",
        ];
        assert_eq!(
            kinds.map(kind),
            [
                "/?",
                "/packages/*/devices?state",
                "/groups/all?",
                "/groups/*/devices?",
                "/devices/*/why/*?",
                "/devices?name&not_seen"
            ]
        );
    }
}
