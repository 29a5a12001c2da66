//! `packcast keys list`: lists the publisher keys of the target.

use packcast_publisher::Failure;
use packcast_publisher::signing::publisher_keys::{TrustedKeys, trusted_keys};

use crate::Globals;
use crate::output;

pub(super) const NO_LIST: &str = "the target has no key list yet: its first change stores the list";

/// Prints the keys of the newest key list that the root keys have signed.
pub(super) async fn run(globals: &Globals) -> Result<(), Failure> {
    let target = globals.open().await?;
    let trusted = trusted_keys(&target).await?;
    output::result(globals.format, &trusted, text);
    if trusted.keys.is_empty() {
        output::note(NO_LIST);
    }
    Ok(())
}

pub(super) fn text(trusted: &TrustedKeys) -> String {
    let yes = |is: bool| if is { "yes" } else { "" }.to_owned();
    let rows = trusted.keys.iter().map(|key| {
        [
            key.public_key.clone(),
            yes(key.signs),
            yes(key.root),
            yes(key.retired),
        ]
    });
    output::table(["PUBLISHER KEY", "YOURS", "ROOT", "RETIRED"], rows)
}
