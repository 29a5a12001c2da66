//! Pacing of a device: an item beside its record that a check-in does not overwrite.

use packcast_protocol::DeviceId;
use packcast_rollout::{PacingChange, PacingOverride};

use super::item::{PK, SK};
use super::key::Key;
use super::stored;
use super::write::{self, Terms};
use super::{Records, RecordsError};

impl Records {
    /// Changes the pacing of a device itself.
    ///
    /// If two changes of different settings happen at once, both are kept.
    pub async fn set_device_pacing(
        &self,
        device: &DeviceId,
        change: &PacingChange,
    ) -> Result<(), RecordsError> {
        let write = match change {
            PacingChange::Set(settings) => {
                let (expression, terms) = setting(device, settings);
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

/// Returns an update that sets the settings that are `Some`. The expression is `None` if there is
/// no such setting.
fn setting(device: &DeviceId, settings: &PacingOverride) -> (Option<String>, Terms) {
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
