//! Adds the key of another publisher to the keys that agents trust.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use serde::Serialize;

use super::key::SigningKey;
use super::key_lists::{PublishedKeyLists, signed};
use super::signer::state_signer;
use crate::clock::now;
use crate::failure::Failure;
use crate::state::rotate::{StateKey, add_publisher};
use crate::target::Target;

/// The result of trusting a key.
#[derive(Debug, Serialize)]
pub struct Trusting {
    pub public_key: String,
    /// All keys that agents trust.
    pub trusted: Vec<String>,
    /// The list is the first one. It replaces the keys in the configuration of the agents.
    #[serde(skip)]
    pub is_first: bool,
}

/// Publishes a key list with this additional key.
pub async fn trust(
    target: &Target,
    public_key: &PublicKey,
    key: Arc<SigningKey>,
) -> Result<Trusting, Failure> {
    let sign = state_signer(Arc::clone(&key));
    let own = StateKey {
        public: key.public(),
        sign: &*sign,
    };
    let published = PublishedKeyLists::read(target, key.public()).await?;
    let list = published.lists.trust(public_key, now())?;
    add_publisher(target, own, public_key).await?;
    published.add(target, &[signed(&list, &key)?]).await?;
    Ok(Trusting {
        public_key: public_key.to_string(),
        trusted: list.keys().iter().map(ToString::to_string).collect(),
        is_first: published.lists.serial() == 0,
    })
}
