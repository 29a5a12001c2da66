//! The pause of a target: no package is announced, and no device begins with one.

use std::ops::ControlFlow;

use packcast_protocol::UnixTime;
use packcast_rollout::{ChangedBy, UnsignedChange};
use serde::{Deserialize, Serialize};

use super::super::commit::Commit;
use super::super::item::{self, SK};
use super::super::key::{HEAD, Key, PAUSE, Range};
use super::super::write::{self, PRESENT, Terms};
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

    /// Pauses a target. Returns the pause on record, and true if it is new: an earlier pause stays,
    /// and then nothing is written.
    pub async fn begin_pause(&self, by: &ChangedBy) -> Result<(Pause, bool), RecordsError> {
        let pause = &Pause {
            since: by.at.second(),
            user: by.user.to_string(),
            host: by.host.to_string(),
        };
        self.retry_on_conflict((), |()| async move {
            let write = write::create(self.table(), Key::pause().item(pause));
            let event = self.event(by, UnsignedChange::Paused);
            if self.commit(vec![write, event]).await? == Commit::Done {
                return Ok(ControlFlow::Break((pause.clone(), true)));
            }
            // Another administrator may have ended the earlier pause since.
            Ok(match self.pause().await? {
                Some(earlier) => ControlFlow::Break((earlier, false)),
                None => ControlFlow::Continue(()),
            })
        })
        .await
    }

    /// Ends the pause of a target. Returns false, and writes nothing, if the target is not paused.
    pub async fn end_pause(&self, by: &ChangedBy) -> Result<bool, RecordsError> {
        let delete = write::delete(self.table(), &Key::pause(), PRESENT, &Terms::default());
        let event = self.event(by, UnsignedChange::Resumed);
        Ok(self.commit(vec![delete, event]).await? == Commit::Done)
    }
}
