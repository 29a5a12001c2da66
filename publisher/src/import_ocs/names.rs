//! Names of packages and groups, from the free text of an OCS server.

use std::collections::BTreeMap;
use std::str::FromStr;

use packcast_protocol::{GroupName, PackageId, PackageName, PackageVersion};

use super::markup::decoded;

/// The version of a package whose OCS name contains none.
const NO_VERSION: &str = "1";

/// A package name and a version.
pub type NamedVersion = (PackageName, PackageVersion);

/// Names that an administrator has chosen, instead of those that follow from the rule.
#[derive(Clone, Debug, Default)]
pub struct ChosenNames {
    packages: BTreeMap<PackageId, NamedVersion>,
    groups: BTreeMap<i64, GroupName>,
}

/// Errors in a file of names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChosenNamesError {
    #[error(
        "cannot read line {line} of the names: expected '<package id> <name>@<version>' or 'group <id> <name>', found {found:?}"
    )]
    Form { line: usize, found: String },
    #[error(
        "cannot use line {line} of the names: an earlier line has another name for {named}; remove one of the lines"
    )]
    Twice { line: usize, named: String },
}

impl ChosenNames {
    pub(crate) fn package(&self, id: PackageId) -> Option<&NamedVersion> {
        self.packages.get(&id)
    }

    pub(crate) fn group(&self, id: i64) -> Option<&GroupName> {
        self.groups.get(&id)
    }

    /// Adds a name. Returns the package or group in words if it has another name already.
    fn add(&mut self, chosen: ChosenName) -> Result<(), String> {
        let (is_other, named) = match chosen {
            ChosenName::Package(id, name) => {
                let earlier = self.packages.insert(id, name.clone());
                let is_other = earlier.is_some_and(|earlier| earlier != name);
                (is_other, format!("package {id}"))
            }
            ChosenName::Group(id, name) => {
                let earlier = self.groups.insert(id, name.clone());
                let is_other = earlier.is_some_and(|earlier| earlier != name);
                (is_other, format!("group {id}"))
            }
        };
        if is_other { Err(named) } else { Ok(()) }
    }
}

/// The name in one line.
enum ChosenName {
    Package(PackageId, NamedVersion),
    Group(i64, GroupName),
}

impl ChosenName {
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["group", id, name] => Some(Self::Group(id.parse().ok()?, name.parse().ok()?)),
            [id, named] => {
                let (name, version) = named.split_once('@')?;
                let named = (name.parse().ok()?, version.parse().ok()?);
                Some(Self::Package(id.parse().ok()?, named))
            }
            _ => None,
        }
    }
}

impl FromStr for ChosenNames {
    type Err = ChosenNamesError;

    /// Reads one name per line. Empty lines and lines with `#` at their start are left out.
    fn from_str(text: &str) -> Result<Self, ChosenNamesError> {
        let mut names = Self::default();
        for (index, text) in text.lines().enumerate() {
            let (line, text) = (index + 1, text.trim());
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let chosen = ChosenName::read(text).ok_or_else(|| ChosenNamesError::Form {
                line,
                found: text.chars().take(80).collect(),
            })?;
            let added = names.add(chosen);
            added.map_err(|named| ChosenNamesError::Twice { line, named })?;
        }
        Ok(names)
    }
}

/// Returns a text of the OCS console, which stores `R&D` as `R&amp;D`.
pub(crate) fn unescaped(text: &str) -> String {
    decoded(text).0
}

/// Returns the name and version of a package.
///
/// The last word that is a number such as `3.0.21`, also after a `v`, is the version; without such a
/// word, the version is 1. Letters are part of a version only if it has a dot. The other words,
/// joined by hyphens, are the name.
pub(crate) fn package_name(ocs_name: &str, id: PackageId) -> NamedVersion {
    let words: Vec<&str> = ocs_name
        .split(|c: char| c.is_whitespace() || c == '_' || c == '(' || c == ')')
        .filter(|word| !word.is_empty())
        .collect();
    let (words, version) = match words.iter().rposition(|word| version(word).is_some()) {
        Some(at) if words.len() > 1 => (
            [&words[..at], &words[at + 1..]].concat().join("-"),
            version(words[at]),
        ),
        _ => hyphenated(&words.join("-")),
    };
    let name = word(&words, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '.' | '+')
    });
    let name = name.parse().unwrap_or_else(|_| numbered(id));
    let version = version.or_else(|| NO_VERSION.parse().ok());
    (name, version.expect("it is a version"))
}

/// Splits a version off the end of a text such as `vlc-3.0.21`.
fn hyphenated(text: &str) -> (String, Option<PackageVersion>) {
    let mut splits = text.match_indices('-').map(|(at, _)| at);
    let found = splits.find_map(|at| Some((&text[..at], version(&text[at + 1..])?)));
    match found {
        Some((name, version)) if !name.is_empty() => (name.to_owned(), Some(version)),
        _ => (text.to_owned(), None),
    }
}

fn version(word: &str) -> Option<PackageVersion> {
    let digits = word.strip_prefix(['v', 'V']).unwrap_or(word);
    let begins = digits.starts_with(|c: char| c.is_ascii_digit());
    let has_letters = digits.contains(|c: char| c.is_ascii_alphabetic());
    let is_version = begins && (!has_letters || digits.contains('.'));
    is_version.then(|| digits.parse().ok()).flatten()
}

fn numbered(id: PackageId) -> PackageName {
    format!("ocs-{id}").parse().expect("it is a package name")
}

/// Returns the name of a group: lower-case letters, digits, dots and hyphens.
pub(crate) fn group_name(ocs_name: &str, id: i64) -> GroupName {
    let lower = ocs_name.to_lowercase();
    let name = word(&lower, |c| c.is_ascii_alphanumeric() || c == '.');
    let name: String = name.chars().take(GroupName::MAX_CHARS).collect();
    let name = name.trim_end_matches('-').parse().ok();
    name.filter(|name: &GroupName| !name.is_all())
        .unwrap_or_else(|| {
            let id = id.unsigned_abs();
            format!("ocs-{id}").parse().expect("it is a group name")
        })
}

/// Replaces all other characters by single hyphens, and cuts the text after 64 characters.
fn word(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut word = String::new();
    for c in text.chars() {
        if is_kept(c) {
            word.push(c);
        } else if !word.ends_with('-') {
            word.push('-');
        }
    }
    let word = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let word: String = word.chars().take(64).collect();
    word.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_for_names_of_packages() {
        let id: PackageId = "1795000000".parse().unwrap();
        let cases = [
            "Firefox 128.0.2",
            "Firefox ESR v115.9 (fr)",
            "vlc-3.0.21",
            "7-zip",
            "VLC media player",
            "setup_2026-03",
            "Café & Bar 2",
            "Установка",
            "  ",
            "notepad++ 8.6",
            "office 2019 update 3",
        ];
        let named = cases.map(|case| {
            let (name, version) = package_name(case, id);
            format!("{case:?} {name}@{version}")
        });
        insta::assert_snapshot!(named.join("\n"), @r#"
        "Firefox 128.0.2" Firefox@128.0.2
        "Firefox ESR v115.9 (fr)" Firefox-ESR-fr@115.9
        "vlc-3.0.21" vlc@3.0.21
        "7-zip" 7-zip@1
        "VLC media player" VLC-media-player@1
        "setup_2026-03" setup@2026-03
        "Café & Bar 2" Caf-Bar@2
        "Установка" ocs-1795000000@1
        "  " ocs-1795000000@1
        "notepad++ 8.6" notepad++@8.6
        "office 2019 update 3" office-2019-update@3
        "#);
    }

    #[test]
    fn texts_of_the_console_are_unescaped() {
        let cases = ["R&amp;D 2.0", "a &lt; b &#039;c&#039;", "R&D", "&amp;amp;"];
        let texts = cases.map(unescaped);
        assert_eq!(texts, ["R&D 2.0", "a < b 'c'", "R&D", "&amp;"]);
    }

    #[test]
    fn the_rule_for_names_of_groups() {
        let long = "x".repeat(60);
        let cases = ["Büro Paris", "All", "LAB-1", "", "Test_PCs (2)", &long];
        let named = cases.map(|case| group_name(case, 12).to_string());
        insta::assert_snapshot!(named.join("\n"), @"
        b-ro-paris
        ocs-12
        lab-1
        ocs-12
        test-pcs-2
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        ");
    }

    #[test]
    fn chosen_names_are_read() {
        let names: ChosenNames = "# packages\n\n1795000000  vlc@3.0.21\ngroup 12 office\n"
            .parse()
            .unwrap();
        let id = "1795000000".parse().unwrap();
        assert_eq!(names.package(id).unwrap().0.to_string(), "vlc");
        assert_eq!(names.group(12).unwrap().as_str(), "office");
        let error = "1795000000 vlc".parse::<ChosenNames>().unwrap_err();
        insta::assert_snapshot!(error, @r#"cannot read line 1 of the names: expected '<package id> <name>@<version>' or 'group <id> <name>', found "1795000000 vlc""#);
    }

    #[test]
    fn two_names_for_one_thing_are_refused() {
        let same = "1795000000 vlc@3\n1795000000 vlc@3\ngroup 12 lab\ngroup 12 lab\n";
        assert!(same.parse::<ChosenNames>().is_ok());
        let refused = [
            "1795000000 vlc@3\n# later\n1795000000 vlc@4\n",
            "group 12 lab\ngroup 13 lab\ngroup 12 office\n",
        ]
        .map(|text| text.parse::<ChosenNames>().unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @"
        cannot use line 3 of the names: an earlier line has another name for package 1795000000; remove one of the lines
        cannot use line 3 of the names: an earlier line has another name for group 12; remove one of the lines
        ");
    }
}
