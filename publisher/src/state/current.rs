//! Parts of the state of a target, as its head has it now.

use std::collections::BTreeSet;

use packcast_protocol::state::{Commit, LeafName};
use packcast_rollout::state::StatePart;
use packcast_store::records::RecordedHead;

use super::commit::Validity;
use super::complete::RecordedUpTo;
use super::error::StateError;
use super::expiry;
use super::read_limit::ReadLimit;
use super::reader::TargetState;
use crate::clock::now;
use crate::failure::Failure;
use crate::target::Target;
use crate::text::{count, for_target};
use crate::warning::Warning;

/// Returns the documents of these names in the verified head.
///
/// The next commit may change them. So the answer decides on the text of a refusal, and on the need
/// for a commit, but never on the content of a commit.
pub(crate) async fn current_part(
    target: &Target,
    names: BTreeSet<LeafName>,
) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    Ok(state.trees.part(&target.records, names).await?)
}

/// Returns the documents of all groups in the verified head.
pub(crate) async fn current_groups(target: &Target) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    Ok(state.trees.all_groups(&target.records).await?)
}

/// Returns the documents of all rollouts in the verified head.
pub(crate) async fn current_rollouts(target: &Target) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    Ok(state.trees.all_rollouts(&target.records).await?)
}

/// Returns the documents of all rollouts in the verified head; `None` if this needs more reads.
pub(crate) async fn current_rollouts_within(
    target: &Target,
    most_reads: usize,
) -> Result<Option<StatePart>, Failure> {
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    let mut trees = state.trees.within(Some(ReadLimit::new(most_reads)));
    match trees.all_rollouts(&target.records).await {
        Ok(rollouts) => Ok(Some(rollouts)),
        Err(StateError::OverLimit) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the documents of all groups and rollouts in the verified head.
pub(crate) async fn current_groups_and_rollouts(target: &Target) -> Result<StatePart, Failure> {
    let mut state = TargetState::read(&target.records, &target.trust()?).await?;
    let mut part = state.trees.all_groups(&target.records).await?;
    part.extend(state.trees.all_rollouts(&target.records).await?);
    Ok(part)
}

/// Warns a person who reads the records of a target: of a head or a key list that expires soon, and of
/// incomplete records of the last commits, because the command may show earlier records.
///
/// Returns the signed state. `None` if this machine does not know the root keys of the target, or
/// if the state does not verify: changing commands and `audit` report that error. A forged head can
/// then cause only a wrong warning.
pub(crate) async fn warn_of_head(target: &Target) -> Result<Option<TargetState>, Failure> {
    // Before the head, so that a statement about a later head is forged.
    let recorded = RecordedUpTo::read(&target.records).await?;
    let state = match target.trust() {
        Ok(trust) => TargetState::read(&target.records, &trust).await.ok(),
        Err(_) => None,
    };
    let stored = if let Some(state) = &state {
        warn_of_state(target, state);
        state.head.as_ref().map(|head| head.stored.clone())
    } else {
        let head = target.records.head().await?;
        let text = head.as_ref().map(|head| head.commit.signed.text());
        let commit = text.and_then(|text| serde_json::from_str::<Commit>(text).ok());
        warn_of_validity(
            target,
            Validity {
                commit: commit.map(|commit| commit.expires),
                keys: None,
            },
        );
        head
    };
    if let Some(head) = stored {
        let head = RecordedHead {
            order: head.order,
            commit: head.commit.id,
        };
        if recorded.is_forged(&head) {
            target.warnings.push(forged_statement(&target.name));
        } else if recorded.order() < head.order {
            let open = head.order - recorded.order();
            target.warnings.push(open_records(open, &target.name));
        }
    }
    Ok(state)
}

fn forged_statement(target: &str) -> Warning {
    Warning::new(
        "somebody has changed the table: its item RECORDED is unreadable, or names a commit that is not the head",
    )
    .hint(for_target(
        "find out who can write to the table, then run 'packcast sign --all-records' to write all records again",
        target,
    ))
}

/// Warns a person who reads the signed state if the head or the key list expires soon.
pub(crate) fn warn_of_state(target: &Target, state: &TargetState) {
    warn_of_validity(target, Validity::of(state));
}

/// Warns if a state expires soon.
pub(super) fn warn_of_validity(target: &Target, validity: Validity) {
    for warning in expiry::warnings(validity, &target.name, now()) {
        target.warnings.push(warning);
    }
}

fn open_records(commits: u64, target: &str) -> Warning {
    let commits = count(commits, "commit");
    Warning::new(format!(
        "the records of {commits} are incomplete: a command is running, or was interrupted"
    ))
    .hint(for_target(
        "run 'packcast sign', or any command that changes the target, to complete the records",
        target,
    ))
}

#[cfg(test)]
mod tests {
    use packcast_rollout::state::StateChange;

    use super::*;
    use crate::test_target::TestTarget;

    #[test]
    fn a_warning_of_open_records() {
        let warnings = [
            open_records(1, "local"),
            open_records(2, "prod"),
            forged_statement("prod"),
        ];
        let warnings = warnings.map(|warning| warning.to_string());
        insta::assert_snapshot!(warnings.join("\n"), @r"
        warning: the records of 1 commit are incomplete: a command is running, or was interrupted
        hint: run 'packcast sign', or any command that changes the target, to complete the records
        warning: the records of 2 commits are incomplete: a command is running, or was interrupted
        hint: run 'packcast --target prod sign', or any command that changes the target, to complete the records
        warning: somebody has changed the table: its item RECORDED is unreadable, or names a commit that is not the head
        hint: find out who can write to the table, then run 'packcast --target prod sign --all-records' to write all records again
        ");
    }

    #[tokio::test]
    async fn a_forged_statement_about_records_is_a_warning() {
        let target = TestTarget::start(369).await;
        target.change_all(&[StateChange::Renew]).await;
        let target = &target.target;
        let warned = async || {
            warn_of_head(target).await.unwrap();
            let warnings = target.warnings.take();
            warnings.iter().any(|it| it.text.contains("item RECORDED"))
        };
        assert!(!warned().await);
        let head = target.records.head().await.unwrap().unwrap();
        let mut forged = RecordedHead {
            order: head.order,
            commit: head.commit.id,
        };
        forged.commit.number += 1;
        let replaced = target.records.replace_recorded_head(&forged);
        replaced.await.unwrap();
        assert!(warned().await);
    }
}
