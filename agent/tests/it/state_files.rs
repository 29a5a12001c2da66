//! Damaged files in the agent's state folder.
#![cfg(unix)]

use std::fs;
use std::path::Path;

use crate::lab::Lab;
use crate::packages::{execute, package};

/// Flips one bit of each line of a file.
fn flip_each_line(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
    assert!(!ends.is_empty());
    for end in ends {
        bytes[end - 10] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

/// Returns the files of the history.
fn history(lab: &Lab) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(lab.state()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let of_history = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name == "history" || name == "history.copy"
    };
    paths.filter(of_history).collect()
}

#[test]
fn a_package_in_a_damaged_history_does_not_run_again() {
    let lab = Lab::new();
    let count = lab.state().join("count");
    let line = format!("echo x >> '{}'", count.display());
    lab.assign(execute(&line), package(1, None));
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    for path in history(&lab) {
        flip_each_line(&path);
    }
    // The records are as they were before the result.
    assert_eq!(lab.result().code.to_string(), "ERR_INTERRUPTED");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\n");
    // A new assignment counts.
    lab.world().tasks[0].attempt = 2;
    assert_eq!(lab.result().code.to_string(), "SUCCESS");
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");
}
