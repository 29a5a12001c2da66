//! Skips tests that cannot run on this machine, and always prints the reason.
//!
//! The agent's tests include this file as a module of their own, because the agent must not depend
//! on a crate that links the store.

use std::fmt;
use std::io::Write as _;

/// A thing that a test needs and the machine lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing<'a> {
    /// A program that `tests/run` installs, or the variable with the address of an engine that
    /// `tests/run` starts.
    Provided(&'a str),
    /// A program, a permission or an engine that only some machines have.
    Optional(&'a str),
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provided(thing) => write!(f, "{thing} is missing: ./tests/run provides it"),
            Self::Optional(thing) => write!(f, "{thing} is not available on this machine"),
        }
    }
}

/// Prints that the test is skipped, with the reason.
///
/// # Panics
/// If `CI` is set, and `tests/run` provides the missing thing.
pub fn skip(missing: Missing<'_>) {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    let may_skip = !in_ci || matches!(missing, Missing::Optional(_));
    assert!(may_skip, "this test must not be skipped in CI: {missing}");
    // Ignored: standard error may be closed.
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
}
