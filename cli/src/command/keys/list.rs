//! `packcast keys list`: the keys that agents trust.

use packcast_publisher::Failure;
use packcast_publisher::signing::trusted_keys::trusted_keys;

use crate::Globals;
use crate::output;

/// Prints the keys of the newest list, which has to follow from the key that signs.
pub(super) async fn run(globals: &Globals) -> Result<(), Failure> {
    let target = globals.open().await?;
    let trusted = trusted_keys(&target).await?;
    output::result(globals.format, &trusted, |trusted| {
        let rows = trusted.keys.iter().map(|key| {
            let signs = if key.signs { "yes" } else { "" };
            [key.public_key.clone(), signs.to_owned()]
        });
        output::table(["TRUSTED KEY", "SIGNS"], rows)
    });
    if !trusted.is_published {
        output::note(
            "no list was published: agents trust what trusted_keys of their configuration says",
        );
    }
    Ok(())
}
