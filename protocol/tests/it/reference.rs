//! Citations of the protocol reference, `docs/ocs-protocol.md`, lead to existing places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the places that can be cited: `8` and `1.3` of headings, `0.13` and `8.26` of
/// numbered rules and rows.
fn places(reference: &str) -> BTreeSet<String> {
    let mut places = BTreeSet::new();
    let mut section = String::new();
    for line in reference.lines() {
        let mut words = line.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        if matches!(first, "##" | "###") && number(second) {
            second.trim_end_matches('.').clone_into(&mut section);
            places.insert(section.clone());
        } else if let Some(rule) = first.strip_suffix('.').filter(|rule| number(rule)) {
            places.insert(format!("{section}.{rule}"));
        } else if first == "|" && number(second) {
            places.insert(format!("{section}.{second}"));
        }
    }
    places
}

/// Returns the places that a file cites, without sections of an RFC.
fn citations(text: &str) -> Vec<String> {
    let digits = |word: &str| -> String {
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.');
        word[..end.unwrap_or(word.len())]
            .trim_end_matches('.')
            .to_owned()
    };
    let comment = ["//", "///", "//!"];
    let words: Vec<&str> = text
        .split_whitespace()
        .filter(|word| !comment.contains(word))
        .collect();
    let mut found = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let Some((_, cited)) = word.split_once('§') else {
            continue;
        };
        let section = digits(cited);
        if section.is_empty() || n >= 2 && words[n - 2].ends_with("RFC") {
            continue;
        }
        let rule = match words.get(n + 1..n + 3) {
            Some(&["rule" | "item" | "items", number]) => digits(number),
            _ => String::new(),
        };
        found.push(if rule.is_empty() {
            section
        } else {
            format!("{section}.{rule}")
        });
    }
    found
}

/// Collects the project's sources and documents in a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the repository can be listed") {
        let path = entry.expect("the repository can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                files(&path, found);
            }
        } else if path
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "md")
        {
            found.push(path);
        }
    }
}

#[test]
fn every_cited_place_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let reference = fs::read_to_string(root.join("docs/ocs-protocol.md"));
    let places = places(&reference.expect("the reference is part of the repository"));
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let mut cited = 0;
    for path in paths.iter().filter(|path| !path.ends_with(file!())) {
        let text = fs::read_to_string(path).expect("sources and documents are UTF-8");
        for place in citations(&text) {
            assert!(places.contains(&place), "{}: §{place}", path.display());
            cited += 1;
        }
    }
    assert!(cited > 100, "{cited} citations are too few");
}

#[test]
fn citations_are_found_in_all_spellings() {
    let check = |text: &str, expected: &[&str]| assert_eq!(citations(text), expected, "{text}");
    check("(protocol reference §2.5).", &["2.5"]);
    check("reference §0 rule\n    /// 16, and so on", &["0.16"]);
    check("(protocol reference §8, items\n/// 3 and 23)", &["8.3"]);
    check(
        "\"§0.6, §8.19: what CONF leaves out is zero\"",
        &["0.6", "8.19"],
    );
    check("the signature base of RFC 9421 §2.5.", &[]);
}
