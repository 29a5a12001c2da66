//! Questions with their commands: shows the answers, and compares them with the fleet.

use std::collections::BTreeSet;
use std::fmt::{Debug, Display};
use std::io::{self, Stdout, Write as _};

use packcast_tests::process::Ran;
use serde_json::Value;

use crate::fleet::Fleet;
use crate::terminal::{on_terminal, shell};

/// Shows answers, and counts those that are wrong.
pub(super) struct Questions<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) wrong: usize,
    out: Stdout,
}

impl<'a> Questions<'a> {
    pub(super) fn new(fleet: &'a Fleet) -> Self {
        Self {
            fleet,
            wrong: 0,
            out: io::stdout(),
        }
    }

    pub(super) fn print(&mut self, text: impl Display) {
        writeln!(self.out, "{text}").expect("somebody reads the answers");
    }

    pub(super) fn ask(&mut self, question: &str) {
        self.print(format_args!("\n== {question}"));
    }

    /// Runs a command on a terminal, shows its output, and expects this exit code.
    pub(super) fn run(&mut self, code: i32, line: &str) -> Ran {
        self.print(format_args!("\n$ {line}"));
        let ran = on_terminal(shell(&self.fleet.world, line));
        for part in [&ran.stdout, &ran.stderr] {
            if !part.trim().is_empty() {
                self.print(part.trim_end());
            }
        }
        self.holds(&format!("exit code {code}"), &ran.code, &Some(code));
        ran
    }

    /// Runs a command that lists devices, on a terminal and in a script, and compares the devices of
    /// both lists with the expected ones.
    pub(super) fn lists(&mut self, line: &str, rule: &str, expected: &BTreeSet<String>) {
        let shown = self.run(0, line);
        self.holds(rule, &self.known(&shown.stdout), expected);
        let widest = shown.stdout.lines().map(|line| line.chars().count()).max();
        self.holds("at most 80 columns", &(widest <= Some(80)), &true);
        let listed = devices(&self.json(line));
        self.holds(&format!("{rule}, as JSON"), &listed, expected);
    }

    /// Runs a command for its JSON, without showing it.
    pub(super) fn json(&self, line: &str) -> Value {
        let line = format!("{line} --format json");
        let ran = Ran::of(&mut shell(&self.fleet.world, &line)).expect_code(0);
        serde_json::from_str(&ran.stdout).expect("the output is JSON")
    }

    /// Compares an answer with what the fleet knows.
    pub(super) fn holds<T: PartialEq + Debug>(&mut self, rule: &str, found: &T, expected: &T) {
        if found != expected {
            self.wrong += 1;
            self.print(format_args!(
                "WRONG: {rule}: expected {expected:?}, found {found:?}"
            ));
        }
    }

    /// Expects words in the output of a command.
    pub(super) fn says(&mut self, ran: &Ran, words: &str) {
        let output = format!("{}\n{}", ran.stdout, ran.stderr);
        self.holds(
            &format!("the output says {words:?}"),
            &output.contains(words),
            &true,
        );
    }

    /// Returns the devices of the fleet whose ids are in a text.
    fn known(&self, text: &str) -> BTreeSet<String> {
        let words: BTreeSet<&str> = text.split([' ', '\n', ',']).collect();
        let ids = self.fleet.ids().into_iter();
        ids.filter(|id| words.contains(id.as_str())).collect()
    }
}

/// Returns the ids of the devices in a list.
fn devices(list: &Value) -> BTreeSet<String> {
    let rows = list.as_array().expect("the result is a list").iter();
    let ids = rows.map(|row| row["device"].as_str().expect("a row has a device"));
    ids.map(ToOwned::to_owned).collect()
}
