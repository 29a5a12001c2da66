//! The keys that agents trust.

use serde::Serialize;

use super::key::public_half;
use super::key_lists::PublishedKeyLists;
use crate::failure::Failure;
use crate::target::Target;

/// The keys that agents trust. It serializes as a list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct TrustedKeys {
    pub keys: Vec<TrustedKey>,
    /// A key list was published. Without a key list, agents trust the keys of their configuration.
    #[serde(skip)]
    pub is_published: bool,
}

/// A key that agents trust.
#[derive(Debug, Serialize)]
pub struct TrustedKey {
    pub public_key: String,
    /// The key is the signing key of this target.
    pub signs: bool,
}

/// Returns the keys of the newest list, which the target's own key must have signed.
pub async fn trusted_keys(target: &Target) -> Result<TrustedKeys, Failure> {
    let own = public_half(&target.key_file, &*target.secrets)?;
    let lists = PublishedKeyLists::read(target, &own).await?.lists;
    let keys = lists.keys().iter().map(|key| TrustedKey {
        public_key: key.to_string(),
        signs: *key == own,
    });
    Ok(TrustedKeys {
        keys: keys.collect(),
        is_published: lists.serial() != 0,
    })
}
