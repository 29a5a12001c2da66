//! The examples in the help: each is a command line that the program accepts.

use std::ffi::OsString;

use clap::Command;

use crate::{cli, parse};

/// Returns the example command lines of a command and of its subcommands.
fn examples(command: &Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_default();
    for line in help.lines() {
        assert!(line.len() < 80, "too long to be pasted: {line}");
    }
    let own: Vec<String> = help
        .replace("\\\n", "")
        .lines()
        .filter(|line| line.starts_with("  packcast "))
        .map(|line| line.trim().to_owned())
        .collect();
    let below = command.get_subcommands().flat_map(examples);
    own.into_iter().chain(below).collect()
}

/// Splits a command line as a shell does: at blanks outside of single quotes, up to a redirection
/// or the next command.
fn words(line: &str) -> Vec<String> {
    let ends = [" > ", " | ", " && "];
    let end = ends.iter().filter_map(|end| line.find(end)).min();
    let line = &line[..end.unwrap_or(line.len())];
    let mut words = Vec::new();
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(ToOwned::to_owned));
        }
    }
    words
}

#[test]
fn the_program_accepts_every_example_of_its_help() {
    let examples = examples(&cli());
    assert!(examples.len() > 30, "{examples:#?}");
    for example in examples {
        if let Err(error) = parse(words(&example).into_iter().map(OsString::from)) {
            panic!("{example}\n{error}");
        }
    }
}
