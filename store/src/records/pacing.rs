//! Pacing of a device: a separate item, because a check-in overwrites the record of the device.

use std::ops::ControlFlow;

use packcast_protocol::DeviceId;
use packcast_rollout::{ChangedBy, PacingChange, PacingOverride, UnsignedChange};

use super::commit::Commit;
use super::item;
use super::key::Key;
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

/// The attributes of a pacing.
const SETTINGS: [&str; 6] = [
    "fragment_pause_s",
    "cycle_pause_s",
    "period_pause_s",
    "contact_every_h",
    "timeout_days",
    "strict",
];

impl Records {
    /// Changes the device's own pacing, not the pacing of its groups, and returns it.
    ///
    /// If two changes of different settings happen at once, both are kept. Nothing is written if the
    /// device has these settings already.
    pub async fn set_device_pacing(
        &self,
        device: &DeviceId,
        change: &PacingChange,
        by: &ChangedBy,
    ) -> Result<PacingOverride, RecordsError> {
        let key = &Key::pace(device);
        self.retry_on_conflict((), |()| async move {
            let before: Option<PacingOverride> = self.get(key).await?;
            let before = before.unwrap_or_default();
            let after = before.changed(change);
            if after == before {
                return Ok(ControlFlow::Break(after));
            }
            let (condition, terms) = unchanged(&before);
            let write = if after.is_empty() {
                write::delete(self.table(), key, &condition, &terms)
            } else {
                write::put(
                    self.table(),
                    stored::pace(device, &after),
                    &condition,
                    &terms,
                )
            };
            let change = UnsignedChange::DevicePaced {
                device: device.clone(),
                pacing: after,
            };
            let writes = vec![write, self.event(by, change)];
            let is_done = self.commit(writes).await? == Commit::Done;
            Ok(if is_done {
                ControlFlow::Break(after)
            } else {
                ControlFlow::Continue(())
            })
        })
        .await
    }
}

/// Returns the condition that a pacing has not changed.
fn unchanged(before: &PacingOverride) -> (String, Terms) {
    let before = item::attributes(before);
    let mut terms = Terms::default();
    let conditions = SETTINGS.map(|name| {
        terms = std::mem::take(&mut terms).name(name);
        match before.get(name) {
            Some(value) => {
                terms = std::mem::take(&mut terms).value(name, value.clone());
                format!("#{name} = :{name}")
            }
            None => format!("attribute_not_exists(#{name})"),
        }
    });
    (conditions.join(" AND "), terms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use packcast_rollout::pacing::UpTo;

    use super::*;

    #[test]
    fn a_condition_covers_every_setting() {
        let all = PacingOverride {
            fragment_pause_s: UpTo::new(1),
            cycle_pause_s: UpTo::new(1),
            period_pause_s: UpTo::new(1),
            contact_every_h: UpTo::new(1),
            timeout_days: UpTo::new(1),
            strict: Some(true),
        };
        let stored: BTreeSet<String> = item::attributes(&all).into_keys().collect();
        let named: BTreeSet<String> = SETTINGS.map(str::to_owned).into();
        assert_eq!(stored, named);
    }
}
