//! `packcast keys replace`: removes a key that has leaked.

use std::path::PathBuf;

use packcast_protocol::signature::PublicKey;
use packcast_publisher::Failure;
use packcast_publisher::owned_commit::OwnedCommit;
use packcast_publisher::signing::replace::{
    self, KeptState, ReplacePlan, ReplaceRequest, ReplacedKey,
};

use crate::Globals;
use crate::command::key_arg::RootKeyArg;
use crate::command::owned_commits::Titles;
use crate::output;
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

pub(super) const CACHED: &str =
    "for up to 60 seconds, functions send the state from before the replacement";
pub(super) const NEXT_CHECK_IN: &str = "devices follow the new key list from their next check-in \
on; set up new devices with this trust line: the thief of a root key may send other key lists to \
devices with the old line";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Key of another publisher that has leaked, instead of the key of this machine
    public_key: Option<PublicKey>,
    /// The key has leaked: nothing that it signs counts any more
    #[arg(long, required = true)]
    compromised: bool,
    #[command(flatten)]
    kept: KeptArgs,
    /// Replace the key without a question
    #[arg(long)]
    yes: bool,
    /// Use the key in this file instead of the target's own key
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Do not encrypt the new key: anybody who can read the file can sign
    #[arg(long)]
    unencrypted: bool,
    #[command(flatten)]
    root_key: RootKeyArg,
}

/// The state that stays.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct KeptArgs {
    /// Go back to the state of the commit with this number
    #[arg(long, value_name = "NUMBER")]
    revert_to: Option<u64>,
    /// Keep the present state
    #[arg(long)]
    keep: bool,
}

impl Args {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let request = ReplaceRequest {
            lost: self.public_key,
            file: self.key,
            unencrypted: self.unencrypted,
            root: self.root_key.load()?,
            kept: self.kept.revert_to.map_or(KeptState::Head, KeptState::Of),
        };
        let plan = Box::pin(replace::plan(&target, &request)).await?;
        if !plan.is_made() {
            output::note(&question_text(&plan));
            if !self.yes {
                confirm(&plan)?;
            }
        }
        let bar = Bar::new();
        let progress = bar.progress();
        let work = Box::pin(replace::replace(&target, &request, &plan, &progress));
        let replaced = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &replaced, text);
        output::note(CACHED);
        output::note(NEXT_CHECK_IN);
        Ok(())
    }
}

fn confirm(plan: &ReplacePlan) -> Result<(), Failure> {
    if !output::is_interactive() {
        return Err(nobody_to_ask());
    }
    let question = question(plan.kept.number);
    if prompt::confirm(&question)? {
        Ok(())
    } else {
        Err(Failure::failed("the key was not replaced"))
    }
}

pub(super) fn nobody_to_ask() -> Failure {
    Failure::usage("cannot ask for a confirmation: there is no terminal")
        .hint("read the commits and packages above, then pass --yes")
}

pub(super) fn question(kept: u64) -> String {
    format!("Remove the key, and continue with the state of commit {kept}?")
}

/// Describes the commits since the kept one, and the packages that the key has signed.
fn question_text(plan: &ReplacePlan) -> String {
    format!("{}\n{}", commits(&plan.commits), packages(&plan.packages))
}

pub(super) fn commits(commits: &[OwnedCommit]) -> String {
    const TITLES: Titles = Titles {
        this_machine: "commits of this machine that are undone, except for their removals",
        other_machine: "commits of other machines that are undone: only removals by other keys stay",
        unknown: "commits that this machine does not know",
    };
    if commits.is_empty() {
        return "this machine knows all commits, and none is undone".to_owned();
    }
    TITLES.text(commits)
}

/// Names the assigned packages that the lost key has signed.
pub(super) fn packages(packages: &[String]) -> String {
    if packages.is_empty() {
        return "the key has signed none of the packages that stay assigned".to_owned();
    }
    let names: Vec<String> = packages
        .iter()
        .map(|name| output::printable(name))
        .collect();
    format!(
        "packages that stay assigned and that the key has signed: {}",
        names.join(", ")
    )
}

pub(super) fn text(replaced: &ReplacedKey) -> String {
    let old = replaced.old_secret_key_file.as_ref();
    output::fields([
        ("removed key", replaced.lost.clone()),
        ("public key", replaced.public_key.clone()),
        ("trust line", replaced.trust.to_string()),
        ("commit", replaced.commit.number.to_string()),
        (
            "secret key file",
            replaced.secret_key_file.display().to_string(),
        ),
        (
            "old secret key file",
            old.map(|file| file.display().to_string())
                .unwrap_or_default(),
        ),
    ])
}
