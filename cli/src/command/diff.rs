//! `packcast diff`: shows the difference between two states of a target.

use packcast_publisher::Failure;
use packcast_publisher::diff::{self, CommitRef, StateDiff};

use crate::Globals;
use crate::output;

/// Show the difference between two states of a target
///
/// The state of each commit can be compared with that of any other, in both directions. 'packcast
/// log' lists the commits.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast diff 1795327754
  packcast diff 1795327754 1795330012
  packcast diff head 1795327754 --format json")]
pub(crate) struct Args {
    /// Number of the first commit, or 'head'
    from: CommitRef,
    /// Number of the second commit, or 'head'
    #[arg(default_value = "head")]
    to: CommitRef,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let diff = diff::diff(&target, self.from, self.to).await?;
        output::warn(&diff.warnings);
        output::result(globals.format, &diff, text);
        Ok(())
    }
}

fn text(diff: &StateDiff) -> String {
    let (from, to) = (diff.from.number, diff.to.number);
    if diff.lines.is_empty() {
        return format!("commits {from} and {to} have the same state");
    }
    let lines: Vec<String> = diff.lines.iter().map(|it| output::printable(it)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::CommitId;

    use super::*;

    #[test]
    fn differences_are_lines() {
        let id = |number: u64| CommitId {
            number,
            digest: Sha256Digest::of(b"commit"),
        };
        let diff = |lines: &[&str]| StateDiff {
            from: id(1_795_000_000),
            to: id(1_795_000_005),
            changes: Vec::new(),
            lines: lines.iter().map(ToString::to_string).collect(),
            warnings: Vec::new(),
        };
        assert_snapshot!(text(&diff(&[])), @"commits 1795000000 and 1795000005 have the same state");
        let lines = ["group lab: created", "group lab: web01 joined"];
        assert_snapshot!(text(&diff(&lines)), @"
        group lab: created
        group lab: web01 joined
        ");
    }
}
