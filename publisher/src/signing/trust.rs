//! Lets agents trust the key of another publisher, too.

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::key::SigningKey;
use super::key_lists::{Published, signed};
use crate::clock::now;
use crate::failure::Failure;
use crate::target::Target;

/// A key that agents trust from now on.
#[derive(Debug, Serialize)]
pub struct Trusting {
    pub public_key: String,
    /// All keys that agents trust.
    pub trusted: Vec<String>,
    /// The first list replaces the keys that agents are configured with.
    #[serde(skip)]
    pub is_first: bool,
}

/// Publishes a list of keys that has this key, too.
pub async fn trust(
    target: &Target,
    public_key: &PublicKey,
    key: &SigningKey,
) -> Result<Trusting, Failure> {
    let published = Published::read(target, key.public()).await?;
    let list = published.lists.trust(public_key, now())?;
    published.add(target, &[signed(&list, key)?]).await?;
    Ok(Trusting {
        public_key: public_key.to_string(),
        trusted: list.keys().iter().map(ToString::to_string).collect(),
        is_first: published.lists.serial() == 0,
    })
}
