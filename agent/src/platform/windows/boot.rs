//! The id of the present run of the system.

use windows_registry::{Key, LOCAL_MACHINE};

use super::KEY_WOW64_64KEY;

/// A key of the agent alone, directly below an existing key: Windows would create a missing key
/// above it as volatile, too, and no program could create a lasting key there.
const KEY: &str = r"SOFTWARE\PackcastBoot";

const ID: &str = "Id";

/// Returns the id of the present run of the system: a random number in a volatile key of the
/// registry, which Windows discards when it ends.
///
/// The id stays the same after a change of the clock, sleep and hibernation. It also stays the same
/// after a shutdown with fast startup, which hibernates the system and completes no installation.
/// `None` if the user of the agent may not write to the key.
pub(crate) fn boot_id() -> Option<String> {
    let found = open().and_then(|key| match key.get_string(ID) {
        Ok(id) if !id.is_empty() => Ok(id),
        _ => create(&key),
    });
    found
        .inspect_err(|error| tracing::debug!(%error, "cannot identify the present run of Windows"))
        .ok()
}

fn open() -> windows_registry::Result<Key> {
    let mut options = LOCAL_MACHINE.options();
    let options = options.read().write().access(KEY_WOW64_64KEY);
    options.create().volatile().open(KEY)
}

/// Stores a new id, and returns the stored one.
fn create(key: &Key) -> windows_registry::Result<String> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(std::io::Error::other)?;
    key.set_string(ID, format!("{:032x}", u128::from_le_bytes(id)))?;
    key.get_string(ID)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_the_system_has_one_id() {
        let id = boot_id();
        assert!(id.as_ref().is_none_or(|id| id.len() == 32), "{id:?}");
        assert_eq!(boot_id(), id);
    }
}
