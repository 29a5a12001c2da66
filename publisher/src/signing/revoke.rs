//! Revokes a key: agents stop trusting it.

use std::sync::Arc;

use packcast_protocol::manifest::MAX_MANIFEST_BYTES;
use packcast_protocol::signature::{MAX_SIGNATURE_BYTES, PublicKey, verify};
use packcast_rollout::PackageRecord;
use packcast_store::ObjectKey;
use serde::Serialize;

use super::key::SigningKey;
use super::key_lists::{PublishedKeyLists, signed};
use super::signer::state_signer;
use crate::clock::now;
use crate::failure::Failure;
use crate::package::named;
use crate::state::rotate::{StateKey, retire_publisher};
use crate::target::Target;

/// The result of revoking a key.
#[derive(Debug, Serialize)]
pub struct Revoked {
    pub public_key: String,
    /// The keys that agents still trust.
    pub trusted: Vec<String>,
    /// Active packages that agents refuse from now on.
    pub refused: Vec<String>,
    /// The list is the first one. It replaces the keys in the configuration of the agents.
    #[serde(skip)]
    pub is_first: bool,
}

/// Publishes a key list without this key, and returns the active packages that the key has signed.
pub async fn revoke(
    target: &Target,
    public_key: &PublicKey,
    key: Arc<SigningKey>,
) -> Result<Revoked, Failure> {
    let published = PublishedKeyLists::read(target, key.public()).await?;
    let list = published.lists.revoke(public_key, now())?;
    let sign = state_signer(Arc::clone(&key));
    let own = StateKey {
        public: key.public(),
        sign: &*sign,
    };
    retire_publisher(target, own, public_key).await?;
    published.add(target, &[signed(&list, &key)?]).await?;
    Ok(Revoked {
        public_key: public_key.to_string(),
        trusted: list.keys().iter().map(ToString::to_string).collect(),
        refused: signed_by(target, public_key).await?,
        is_first: published.lists.serial() == 0,
    })
}

/// Returns the names of the active packages that this key has signed.
async fn signed_by(target: &Target, key: &PublicKey) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for package in target.records.packages(usize::MAX).await? {
        if package.active && is_signed_by(target, &package, key).await? {
            found.push(named(&package));
        }
    }
    Ok(found)
}

async fn is_signed_by(
    target: &Target,
    package: &PackageRecord,
    key: &PublicKey,
) -> Result<bool, Failure> {
    let place = ObjectKey::manifest(&package.folder, package.id);
    let manifest = target.objects.get(&place, MAX_MANIFEST_BYTES as u64);
    let place = ObjectKey::signature(&package.folder, package.id);
    let signature = target.objects.get(&place, MAX_SIGNATURE_BYTES as u64);
    let (Some(manifest), Some(signature)) = (manifest.await?, signature.await?) else {
        return Ok(false);
    };
    let signature = String::from_utf8_lossy(&signature);
    Ok(verify(&manifest, &signature, std::slice::from_ref(key)).is_ok())
}
