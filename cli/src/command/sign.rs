//! `packcast sign`: signs the state of the target again before it expires, or after the table was
//! restored.

use std::collections::BTreeSet;

use packcast_protocol::state::CommitId;
use packcast_publisher::restore::{RestoredHead, restored_head};
use packcast_publisher::state::Scope;
use packcast_publisher::state::renew::{RenewedState, renew, renew_restored};
use packcast_publisher::state::restored::Restoration;
use packcast_publisher::values::duration;
use packcast_publisher::{Failure, Target};

use super::key_arg::{KeyArg, RootKeyArg};
use super::keys::accept_head;
use super::owned_commits::Titles;
use crate::Globals;
use crate::output;
use crate::progress::{Bar, until_interrupted};
use crate::prompt;

/// Sign the state of the target again before it expires
///
/// A Packcast agent begins nothing under a signed state that has expired: 90 days after the last
/// change. This command signs the state again, and renews the list of publisher keys if it expires
/// within 60 days and your key is a root key. Run it once a month. With --root-key it always renews
/// the list; the first change of a target with an offline root key needs it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
  packcast sign --state-valid-for 14d
  packcast sign --root-key /media/usb/root.key
  packcast sign --restored
  packcast sign --all-records")]
pub(crate) struct Args {
    /// Let the signed state expire after this time, such as 14d
    ///
    /// The next change is valid for 90 days again.
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration::days(1, 90))]
    state_valid_for: u64,
    /// Sign although nothing confirms the clock of this machine
    ///
    /// For a table on the same machine, which was not changed for more than 90 days. A clock that
    /// differs from the table's is never accepted.
    #[arg(long)]
    accept_clock: bool,
    /// Write all records again, not only those that commits have changed
    ///
    /// For a table that somebody has changed by hand: 'packcast audit' finds such records. The
    /// command makes two commits, and writes the record of every device after each: somebody may
    /// have forged those of the first.
    #[arg(long, conflicts_with = "restored")]
    all_records: bool,
    /// Sign the head of a table that you have restored from a back-up
    ///
    /// The head of a restored table leaves out commits that machines and devices know, so they
    /// refuse it, as they refuse the head of an attacker. This option shows the head and these
    /// commits, and asks. The new commit contains them, so that devices follow it. It repeats their
    /// removals, as far as the table still has them; their other changes are lost. Run the command
    /// on each machine that has changed the target since the time of the back-up.
    #[arg(long)]
    restored: bool,
    /// With --restored: confirm this head without a question
    ///
    /// The head must be this commit, or a later one that contains it.
    #[arg(long, value_name = "COMMIT", requires = "restored")]
    accept_head: Option<CommitId>,
    /// With --restored: contain this commit, too (repeatable)
    ///
    /// For a commit that a device holds and that no machine remembers, for example because the
    /// machine was lost. 'packcast-agent status' shows the commit on the device.
    #[arg(long, value_name = "COMMIT", requires = "restored")]
    adopt: Vec<CommitId>,
    #[command(flatten)]
    key: KeyArg,
    #[command(flatten)]
    root_key: RootKeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let signer = self.key.signer(&target).accepting_clock(self.accept_clock);
        let mut signer = signer.with_root(self.root_key.load()?);
        let valid_for_s = self.state_valid_for;
        let scope = if self.all_records {
            Scope::All
        } else {
            Scope::Changed
        };
        let bar = Bar::new();
        let progress = bar.progress();
        let adopt = self.adopt.into_iter().collect();
        let state = if self.restored {
            let confirmed = match self.accept_head {
                Some(commit) => commit,
                None => confirmed(&target, &adopt).await?,
            };
            let restoration = Restoration {
                confirmed,
                also: &adopt,
            };
            let restore =
                renew_restored(&target, &mut signer, &restoration, valid_for_s, &progress);
            until_interrupted("devices", Box::pin(restore), &bar).await?
        } else {
            let work = Box::pin(renew(&target, &mut signer, valid_for_s, scope, &progress));
            until_interrupted("devices", work, &bar).await?
        };
        output::result(globals.format, &state, text);
        Ok(())
    }
}

/// Shows a restored head and the commits that it leaves out to a person, and asks for a confirmation.
async fn confirmed(target: &Target, adopt: &BTreeSet<CommitId>) -> Result<CommitId, Failure> {
    let restored = restored_head(target, adopt).await?;
    let head = restored.head.commit;
    output::note(&restored_text(&restored));
    if !output::is_interactive() {
        return Err(nobody_to_ask(head));
    }
    if prompt::confirm(QUESTION)? {
        Ok(head)
    } else {
        Err(Failure::failed("the head was not accepted"))
    }
}

const QUESTION: &str = "Continue from this head?";

fn nobody_to_ask(head: CommitId) -> Failure {
    let accept = format!("if the table was restored, add --accept-head {head} to the same command");
    Failure::usage("cannot ask for a confirmation: there is no terminal").hint(accept)
}

fn restored_text(restored: &RestoredHead) -> String {
    const TITLES: Titles = Titles {
        this_machine: "commits of this machine that the head leaves out",
        other_machine: "commits of other machines that the head leaves out",
        unknown: "commits to adopt, which this machine does not know",
    };
    let lists: Vec<String> = restored.lists.iter().map(u64::to_string).collect();
    let lists = (!lists.is_empty()).then(|| {
        format!(
            "key lists that the table lacks, and that are stored again: {}",
            lists.join(", ")
        )
    });
    let commits = (!restored.left_out.is_empty()).then(|| TITLES.text(&restored.left_out));
    let head = format!("head of the target:\n{}", accept_head::text(&restored.head));
    let parts = [Some(head), commits, lists];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn text(state: &RenewedState) -> String {
    output::fields([
        ("commit", state.commit.to_string()),
        ("state valid until", output::time(state.expires)),
        ("keys valid until", output::time(state.keys_expire)),
    ])
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use packcast_protocol::state::CommitId;
    use packcast_protocol::{Sha256Digest, UnixTime};
    use packcast_publisher::state::accept::ShownHead;

    use super::*;
    use crate::command::owned_commits::samples::owned_commits;
    use crate::fixtures::{KEY, NOON};
    use packcast_publisher::values::duration::DAY_S;

    #[test]
    fn a_restored_head_is_shown_with_everything_that_it_leaves_out() {
        let commit = CommitId {
            number: NOON,
            digest: Sha256Digest::of(b"commit"),
        };
        let restored = RestoredHead {
            head: ShownHead {
                commit,
                key: KEY.parse().unwrap(),
                issued: UnixTime(NOON),
                expires: UnixTime(NOON + 90 * DAY_S),
                about: None,
            },
            left_out: owned_commits(),
            lists: vec![2, 3],
        };
        assert_snapshot!(restored_text(&restored), @"
        head of the target:
        commit       1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        signed with  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        issued       2026-11-18 11:06:40 UTC
        expires      2027-02-16 11:06:40 UTC

        commits to adopt, which this machine does not know:
        1795000001
          group lab: assigned wipe@1

        commits of other machines that the head leaves out:
        1795000000
          problem: the table has no commit

        commits of this machine that the head leaves out:
        1795000002
          group lab: unassigned vlc@3.0.21

        key lists that the table lacks, and that are stored again: 2, 3
        ");
        let lists = RestoredHead {
            left_out: Vec::new(),
            ..restored
        };
        assert_snapshot!(restored_text(&lists), @"
        head of the target:
        commit       1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        signed with  RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3
        issued       2026-11-18 11:06:40 UTC
        expires      2027-02-16 11:06:40 UTC

        key lists that the table lacks, and that are stored again: 2, 3
        ");
        assert_snapshot!(QUESTION, @"Continue from this head?");
        assert_snapshot!(nobody_to_ask(commit), @"
        cannot ask for a confirmation: there is no terminal
        hint: if the table was restored, add --accept-head 1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098 to the same command
        ");
    }

    #[test]
    fn the_end_of_the_validity_is_shown() {
        let state = RenewedState {
            commit: CommitId {
                number: 1_795_000_000,
                digest: Sha256Digest::of(b"commit"),
            },
            expires: UnixTime(NOON + 90 * DAY_S),
            keys_expire: UnixTime(NOON + 100 * DAY_S),
        };
        assert_snapshot!(text(&state), @"
        commit             1795000000-9505cacb7c710ed17125fcc6cb3669e8ddca6c8cd8af6a31f6b3cd64604c3098
        state valid until  2027-02-16 11:06:40 UTC
        keys valid until   2027-02-26 11:06:40 UTC
        ");
    }
}
