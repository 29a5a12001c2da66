//! Reports of damaged files in the state folder.

use crate::event::{Event, Observer};
use crate::state::damage::DamagedFile;

/// Logs each damaged file, and sends an event for it.
pub(crate) fn report(observer: &Observer, damaged: impl IntoIterator<Item = DamagedFile>) {
    for DamagedFile { path, kept, effect } in damaged {
        tracing::error!(path = %path.display(), kept = %kept.display(), "found a damaged state file: {effect}");
        let effect = effect.to_owned();
        observer(Event::StateDamaged { path, kept, effect });
    }
}
