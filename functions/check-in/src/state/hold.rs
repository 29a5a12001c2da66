//! Reasons to wait that concern the whole target: a pause, or an old commit of the device.

use packcast_protocol::UnixTime;
use packcast_protocol::api::HoldWord;
use packcast_store::{Records, RecordsError};

use super::StateCache;
use super::reply::is_recent;

impl StateCache {
    /// Returns true if an administrator has paused the target, as of the last minute.
    pub(crate) async fn is_target_paused(
        &self,
        records: &Records,
        now: UnixTime,
    ) -> Result<bool, RecordsError> {
        Ok(self.head(records, now).await?.is_paused)
    }

    /// Returns the reason for which a device with a commit of this number does not begin with any
    /// package; `None` if there is none.
    ///
    /// A commit may be as old as at a check-in: the next check-in replaces an older one.
    pub(crate) async fn hold(
        &self,
        records: &Records,
        commit: u64,
        now: UnixTime,
    ) -> Result<Option<HoldWord>, RecordsError> {
        let mut head = self.head(records, now).await?;
        if !head.is_paused && commit > head.number() {
            // Another instance of the function has read the later head. At most one read a second,
            // because the device may name any number.
            head = self.head_within(records, 1, now).await?;
        }
        if head.is_paused {
            return Ok(Some(HoldWord::Paused));
        }
        let is_outdated = !is_recent(commit, head.number());
        Ok(is_outdated.then_some(HoldWord::Outdated))
    }
}
