//! `packcast sign`: signs the state of the target again before it expires.

use packcast_publisher::Failure;
use packcast_publisher::state::renew::{RenewedState, renew};

use super::key_arg::KeyArg;
use crate::Globals;
use crate::argument::duration;
use crate::output;
use crate::progress::{Bar, until_interrupted};

/// Sign the state of the target again before it expires
///
/// A Packcast agent begins nothing under a signed state that has expired: 90 days after the last
/// change. This command signs the state again, and renews the list of publisher keys if it expires
/// within 60 days and your key is a root key. Run it once a month.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  packcast sign
  packcast sign --state-valid-for 14d")]
pub(crate) struct Args {
    /// Let the signed state expire after this time, such as 14d
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration::days(1, 90))]
    state_valid_for: u64,
    /// Sign although nothing confirms the clock of this machine
    ///
    /// For a table on the same machine, which was not changed for more than 90 days. A clock that
    /// differs from the table's is never accepted.
    #[arg(long)]
    accept_clock: bool,
    #[command(flatten)]
    key: KeyArg,
}

impl Args {
    pub(crate) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        let mut signer = self.key.signer(&target).accepting_clock(self.accept_clock);
        let valid_for_s = self.state_valid_for;
        let bar = Bar::new();
        let progress = bar.progress();
        let work = Box::pin(renew(&target, &mut signer, valid_for_s, &progress));
        let state = until_interrupted("devices", work, &bar).await?;
        output::result(globals.format, &state, text);
        Ok(())
    }
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

    use super::*;
    use crate::argument::duration::DAY_S;
    use crate::fixtures::NOON;

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
