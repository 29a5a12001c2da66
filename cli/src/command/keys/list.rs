//! `packcast keys list`: lists the keys that agents trust.

use packcast_publisher::Failure;
use packcast_publisher::signing::trusted_keys::{TrustedKeys, trusted_keys};

use crate::Globals;
use crate::output;

pub(super) const NO_LIST: &str = "no key list is published: agents trust the keys that trusted_keys in their configuration names";

/// Prints the keys of the newest list, which the current signing key must have signed.
pub(super) async fn run(globals: &Globals) -> Result<(), Failure> {
    let target = globals.open().await?;
    let trusted = trusted_keys(&target).await?;
    output::result(globals.format, &trusted, text);
    if !trusted.is_published {
        output::note(NO_LIST);
    }
    Ok(())
}

pub(super) fn text(trusted: &TrustedKeys) -> String {
    let rows = trusted.keys.iter().map(|key| {
        let signs = if key.signs { "yes" } else { "" };
        [key.public_key.clone(), signs.to_owned()]
    });
    output::table(["TRUSTED KEY", "SIGNS"], rows)
}
