//! The pause of a target: no package is announced, and no device begins with one.

use packcast_protocol::UnixTime;
use serde::{Deserialize, Serialize};

use super::super::item::{self, SK};
use super::super::key::{HEAD, Key, PAUSE, Range};
use super::super::write;
use super::super::{Records, RecordsError};
use super::Head;

/// The mark of a paused target. It needs no signature, because it can only stop devices.
///
/// It is an item of its own beside the head, so that a pause never competes with a commit, and a
/// commit keeps the pause. The role of the function cannot write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: UnixTime,
    /// Name of the user account that has paused the target.
    pub user: String,
    /// Name of the machine of that account.
    pub host: String,
}

impl Records {
    /// Returns the head, and the pause of a paused target, strongly consistent, with one Query.
    pub async fn head_and_pause(&self) -> Result<(Option<Head>, Option<Pause>), RecordsError> {
        let (mut head, mut pause) = (None, None);
        for found in self.range(&Range::head_and_pause()).await?.items {
            match found.get(SK).and_then(|sk| sk.as_s().ok()) {
                Some(sk) if sk == HEAD => head = Some(item::read(found)?),
                Some(sk) if sk == PAUSE => pause = Some(item::read(found)?),
                _ => {}
            }
        }
        Ok((head, pause))
    }

    /// Returns the pause of a paused target, strongly consistent.
    pub async fn pause(&self) -> Result<Option<Pause>, RecordsError> {
        self.get(&Key::pause()).await
    }

    /// Pauses a target. Returns the pause on record: an earlier pause stays.
    ///
    /// One request writes and reads, so the returned pause is on record even if another administrator
    /// ends the earlier pause at this moment.
    pub async fn begin_pause(&self, pause: &Pause) -> Result<Pause, RecordsError> {
        let (update, terms) = write::keeping(item::attributes(pause));
        let found = self.change(&Key::pause(), &update, None, &terms).await?;
        item::read(found.unwrap_or_default())
    }

    /// Ends the pause of a target. Nothing happens if there is none.
    pub async fn end_pause(&self) -> Result<(), RecordsError> {
        let remove = write::remove(self.table(), &Key::pause());
        self.commit(vec![remove]).await?;
        Ok(())
    }
}
