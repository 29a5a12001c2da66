//! Parts of the state of a target, as its head has it now.

use std::collections::BTreeSet;

use packcast_protocol::state::LeafName;
use packcast_rollout::state::StatePart;

use super::reader::TargetState;
use crate::failure::Failure;
use crate::target::Target;

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
