//! `packcast revert`: brings a target back to the state of an earlier commit.

use packcast_publisher::Failure;
use packcast_publisher::revert::{self, RevertOptions, RevertPlan, RevertedTo};

use super::key_arg::{AcceptArg, KeyArg};
use crate::Globals;
use crate::confirm::declined;
use crate::output;
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

/// Bring a target back to the state of an earlier commit
///
/// Shows the difference and asks, then restores groups, memberships, assignments and locations with
/// one new commit; more than 90 newly assigned packages need several. 'packcast log' lists the
/// commits. Devices that have deployed a package keep it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast revert 1795327754 --dry-run
  packcast revert 1795327754
  packcast revert 1795327754 --members --yes")]
pub(crate) struct Args {
    /// Number of the commit
    number: u64,
    #[command(flatten)]
    restored: RestoredArgs,
    /// Only show the difference
    #[arg(long)]
    dry_run: bool,
    /// Revert without a question
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    accept: AcceptArg,
}

/// The options for parts that are not restored without them.
#[derive(Debug, clap::Args)]
struct RestoredArgs {
    /// Assign packages with force again, if they were assigned with force
    ///
    /// Devices that have such a package deploy it again.
    #[arg(long)]
    force: bool,
    /// Add the earlier devices to groups that were deleted since
    #[arg(long)]
    members: bool,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let options = RevertOptions {
            force: self.restored.force,
            members: self.restored.members,
        };
        let plan = revert::plan(&target, self.number, options).await?;
        output::warn(&plan.warnings);
        if self.dry_run {
            output::result(globals.format, &plan, difference);
            return Ok(());
        }
        if !self.yes && !plan.is_empty() && !confirm(&plan)? {
            return Err(declined());
        }
        let mut signer = self.key.signer(&target);
        let also_accept = self.accept.also_accept();
        plan.verify(&target, &also_accept, &mut signer).await?;
        let bar = Bar::new();
        let progress = bar.progress();
        let work = Box::pin(revert::revert(&target, plan, &mut signer, &progress));
        let reverted = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &reverted, text);
        Ok(())
    }
}

/// Shows the difference to a person, and asks whether to make it.
fn confirm(plan: &RevertPlan) -> Result<bool, Failure> {
    if !output::is_interactive() {
        return Err(nobody_to_ask());
    }
    output::note(&difference(plan));
    prompt::confirm(&question(plan.commits()))
}

fn nobody_to_ask() -> Failure {
    Failure::usage("cannot ask for a confirmation: there is no terminal")
        .hint("pass --dry-run to see the difference, and --yes to revert without a question")
}

fn question(commits: usize) -> String {
    match commits {
        1 => "Make these changes?".to_owned(),
        _ => format!("Make these changes in {commits} commits?"),
    }
}

fn difference(plan: &RevertPlan) -> String {
    if plan.lines.is_empty() {
        return unchanged(plan.to.number);
    }
    lines(&plan.lines)
}

fn text(reverted: &RevertedTo) -> String {
    let number = reverted.to.number;
    if reverted.commits.is_empty() {
        return unchanged(number);
    }
    let commits: Vec<String> = reverted.commits.iter().map(ToString::to_string).collect();
    let noun = if commits.len() == 1 {
        "commit"
    } else {
        "commits"
    };
    format!(
        "{}\nreverted to commit {number} with {noun} {}",
        lines(&reverted.lines),
        commits.join(", ")
    )
}

fn unchanged(number: u64) -> String {
    format!("the target has the state of commit {number} already")
}

fn lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| output::printable(line)).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::Sha256Digest;
    use packcast_protocol::state::CommitId;

    use super::*;
    use crate::fixtures::NOON;

    #[test]
    fn a_revert_shows_its_changes_and_commits() {
        let reverted = |commits: &[u64]| RevertedTo {
            to: CommitId {
                number: NOON,
                digest: Sha256Digest::of(b"commit"),
            },
            commits: commits.to_vec(),
            lines: vec!["group lab: unassigned vlc@3.0.21".to_owned()],
        };
        assert_snapshot!(text(&reverted(&[NOON + 9])), @"
        group lab: unassigned vlc@3.0.21
        reverted to commit 1795000000 with commit 1795000009
        ");
        assert_snapshot!(text(&reverted(&[NOON + 9, NOON + 10])), @"
        group lab: unassigned vlc@3.0.21
        reverted to commit 1795000000 with commits 1795000009, 1795000010
        ");
        assert_snapshot!(text(&reverted(&[])), @"the target has the state of commit 1795000000 already");
    }

    #[test]
    fn a_person_is_asked() {
        assert_snapshot!([1, 3].map(question).join("\n"), @"
        Make these changes?
        Make these changes in 3 commits?
        ");
        assert_snapshot!(nobody_to_ask(), @"
        cannot ask for a confirmation: there is no terminal
        hint: pass --dry-run to see the difference, and --yes to revert without a question
        ");
    }
}
