//! `packcast keys list`: the keys that agents trust.

use serde::Serialize;

use super::lists::Published;
use super::{failure, shown_file};
use crate::Globals;
use crate::failure::Failure;
use crate::keys::public_half;
use crate::output;

#[derive(Serialize)]
struct Listed {
    public_key: String,
    signs: bool,
}

/// Prints the keys of the newest list, which has to follow from the key that signs.
pub(super) async fn run(globals: &Globals) -> Result<(), Failure> {
    let target = globals.open().await?;
    let own = public_half(&shown_file(None, globals)?).map_err(failure)?;
    let lists = Published::read(&target, &own).await?.lists;
    let keys: Vec<Listed> = lists
        .keys()
        .iter()
        .map(|key| Listed {
            public_key: key.to_string(),
            signs: *key == own,
        })
        .collect();
    output::result(globals.format, &keys, |keys| {
        let rows = keys.iter().map(|key| {
            let signs = if key.signs { "yes" } else { "" };
            [key.public_key.clone(), signs.to_owned()]
        });
        output::table(["TRUSTED KEY", "SIGNS"], rows)
    });
    if lists.serial() == 0 {
        output::note(
            "no list was published: agents trust what trusted_keys of their configuration says",
        );
    }
    Ok(())
}
