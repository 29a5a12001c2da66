//! Pacing of a device: a separate item, because a check-in overwrites the record of the device.

use packcast_protocol::DeviceId;
use packcast_rollout::{PacingChange, PacingOverride};

use super::item::{PK, SK};
use super::key::Key;
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Changes the device's own pacing, not the pacing of its groups.
    ///
    /// If two changes of different settings happen at once, both are kept.
    pub async fn set_device_pacing(
        &self,
        device: &DeviceId,
        change: &PacingChange,
    ) -> Result<(), RecordsError> {
        let write = match change {
            PacingChange::Set(settings) => {
                let (expression, terms) = update_expression(device, settings);
                let Some(expression) = expression else {
                    return Ok(());
                };
                write::update(self.table(), &Key::pace(device), &expression, None, &terms)
            }
            PacingChange::Replace(settings) if settings.is_empty() => {
                write::remove(self.table(), &Key::pace(device))
            }
            PacingChange::Replace(settings) => {
                write::replace(self.table(), stored::pace(device, settings))
            }
        };
        self.commit(vec![write]).await?;
        Ok(())
    }
}

/// Returns the update expression for the settings that are `Some`, or `None` if there are none.
fn update_expression(device: &DeviceId, settings: &PacingOverride) -> (Option<String>, Terms) {
    let mut sets = Vec::new();
    let mut terms = Terms::default();
    for (name, value) in stored::pace(device, settings) {
        if [PK, SK].contains(&name.as_str()) {
            continue;
        }
        sets.push(format!("#{name} = :{name}"));
        terms = terms.name(&name).value(&name, value);
    }
    let expression = (!sets.is_empty()).then(|| format!("SET {}", sets.join(", ")));
    (expression, terms)
}
