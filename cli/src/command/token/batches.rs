//! `packcast token list`, `packcast token revoke`: the batches on record.

use packcast_protocol::UnixTime;
use packcast_publisher::clock::now;
use packcast_publisher::enrolment::{BatchReference, BatchRevoked, list_batches, revoke_batch};
use packcast_publisher::{Failure, text};
use packcast_store::records::BatchRecord;

use crate::Globals;
use crate::output;

#[derive(Debug, clap::Subcommand)]
pub(super) enum BatchCommand {
    /// List the batches that have enrolled devices, and those that were revoked
    ///
    /// A batch is on record from its first enrolment, or its revocation.
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  packcast token list --target production"
    )]
    List,
    /// Revoke the token of a batch, so that it enrols no further device
    ///
    /// Devices that have enrolled stay enrolled: 'packcast device show' has the batch of a device, and
    /// 'packcast device remove' removes it. A revocation cannot be undone; create another token
    /// instead.
    #[command(after_help = "\
Examples:
  packcast token revoke berlin --target production
  packcast token revoke berlin-a4dqobyha4dqobyha4dqobyha4")]
    Revoke {
        /// Name of a batch on record, or the id that 'packcast token' printed
        #[arg(value_name = "BATCH")]
        batch: BatchReference,
    },
}

impl BatchCommand {
    pub(super) async fn run(self, globals: &Globals) -> Result<(), Failure> {
        let target = globals.open().await?;
        match self {
            Self::List => {
                let batches = list_batches(&target).await?;
                output::result(globals.format, &batches, |batches| list(batches, now()));
            }
            Self::Revoke { batch } => {
                let revoked = revoke_batch(&target, &batch).await?;
                output::result(globals.format, &revoked, revoked_text);
            }
        }
        Ok(())
    }
}

fn revoked_text(revoked: &BatchRevoked) -> String {
    let already = if revoked.changed { "" } else { "already " };
    format!(
        "the token of batch {} is {already}revoked: it enrols no further device",
        revoked.batch
    )
}

fn list(batches: &[BatchRecord], now: UnixTime) -> String {
    if batches.is_empty() {
        return "no batch has enrolled a device".to_owned();
    }
    output::table(
        ["BATCH", "ENROLLED", "EXPIRES", "STATE"],
        batches.iter().map(|batch| {
            let limit = batch
                .limit
                .map_or_else(String::new, |limit| format!(" of {limit}"));
            [
                batch.batch.to_string(),
                format!("{}{limit}", batch.enrolled),
                batch.expires.map_or_else(String::new, output::when),
                state(batch, now),
            ]
        }),
    )
}

/// Returns the state of a token in words.
fn state(batch: &BatchRecord, now: UnixTime) -> String {
    if let Some(at) = batch.revoked {
        format!("revoked {}", text::time(at))
    } else if batch.expires.is_some_and(|expires| expires <= now) {
        "expired".to_owned()
    } else if batch.limit.is_some_and(|limit| limit <= batch.enrolled) {
        "full".to_owned()
    } else {
        "enrols devices".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn each_batch_is_listed_with_its_state() {
        let now = UnixTime(1_795_000_000);
        let batch = |id: &str, enrolled, expires| BatchRecord {
            batch: id.parse().unwrap(),
            enrolled,
            limit: Some(500),
            expires: Some(expires),
            revoked: None,
        };
        let id = "a4dqobyha4dqobyha4dqobyha4";
        let later = now.plus(86_400);
        let batches = [
            batch(id, 3, later),
            batch(&format!("berlin-{id}"), 3, now),
            batch(&format!("bonn-{id}"), 500, later),
            BatchRecord {
                limit: None,
                expires: None,
                revoked: Some(now),
                ..batch(&format!("rom-{id}"), 0, later)
            },
        ];
        let states = batches.each_ref().map(|batch| state(batch, now));
        assert_snapshot!(states.join("\n"), @"
        enrols devices
        expired
        full
        revoked 2026-11-18 11:06:40 UTC
        ");
        let text = list(&batches, now);
        assert!(text.starts_with("BATCH "), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
        assert_snapshot!(list(&[], now), @"no batch has enrolled a device");
    }

    #[test]
    fn a_revocation_names_the_batch() {
        let mut revoked = BatchRevoked {
            batch: "berlin-a4dqobyha4dqobyha4dqobyha4".parse().unwrap(),
            changed: true,
        };
        assert_snapshot!(revoked_text(&revoked), @"the token of batch berlin-a4dqobyha4dqobyha4dqobyha4 is revoked: it enrols no further device");
        revoked.changed = false;
        assert_snapshot!(revoked_text(&revoked), @"the token of batch berlin-a4dqobyha4dqobyha4dqobyha4 is already revoked: it enrols no further device");
    }
}
