//! The publisher keys of a target: the keys that may sign changes of its state.

use std::sync::Arc;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::PublisherKey;
use packcast_store::records::Sign;
use serde::Serialize;

use super::key::{SigningKey, public_half};
use super::signer::state_signer;
use crate::failure::Failure;
use crate::state::rotate::{add_publisher, retire_publisher};
use crate::state::{StateKey, TargetState, warn_of_state};
use crate::target::Target;

/// The keys of the newest key list. It serializes as a list.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct TrustedKeys {
    /// Empty before the first change of the target.
    pub keys: Vec<TrustedKey>,
}

/// A publisher key of the newest key list.
#[derive(Debug, Serialize)]
pub struct TrustedKey {
    pub public_key: String,
    /// The key is the signing key of this target on this machine.
    pub signs: bool,
    /// The key may also sign key lists.
    pub root: bool,
    /// The key signs no further changes.
    pub retired: bool,
}

/// The result of adding or revoking a publisher key.
#[derive(Debug, Serialize)]
pub struct ChangedKeys {
    pub public_key: String,
    /// All keys that may sign changes of the target from now on.
    pub trusted: Vec<String>,
}

/// Returns the publisher keys of the newest key list that the root keys have signed.
pub async fn trusted_keys(target: &Target) -> Result<TrustedKeys, Failure> {
    let own = public_half(&target.key_file, &*target.secrets)?;
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    warn_of_state(target, &state);
    let Some(list) = state.chain.newest() else {
        return Ok(TrustedKeys { keys: Vec::new() });
    };
    let keys = list.publishers().iter().map(|publisher| TrustedKey {
        public_key: publisher.key.to_string(),
        signs: publisher.key == own,
        root: list.roots().contains(&publisher.key),
        retired: *publisher == PublisherKey::retired(publisher.key.clone()),
    });
    Ok(TrustedKeys {
        keys: keys.collect(),
    })
}

/// The keys that change the key list of a target.
#[derive(Debug)]
pub struct ListKeys {
    /// The key that signs the commit.
    pub own: Arc<SigningKey>,
    /// The root key that signs the list, if it is another key.
    pub root: Option<Arc<SigningKey>>,
}

/// Lets another publisher sign changes of a target: a new key list and a commit.
///
/// # Errors
/// The root key must be one of the target.
pub async fn trust(
    target: &Target,
    public_key: &PublicKey,
    keys: &ListKeys,
) -> Result<ChangedKeys, Failure> {
    let [sign_list, sign] = [keys.root(), &keys.own].map(|key| state_signer(Arc::clone(key)));
    let [root, own] = keys.state_keys(&*sign_list, &*sign);
    add_publisher(target, root, own, public_key).await?;
    ChangedKeys::read(target, public_key).await
}

/// Lets a publisher sign no further changes: a new key list and a commit. Its earlier changes stay.
///
/// # Errors
/// The root key must be one of the target. The key to revoke must not be that of this machine.
pub async fn revoke(
    target: &Target,
    public_key: &PublicKey,
    keys: &ListKeys,
) -> Result<ChangedKeys, Failure> {
    if public_key == keys.own.public() {
        return Err(signs(public_key));
    }
    let state = TargetState::read(&target.records, &target.trust()?).await?;
    if !state.chain.signing().contains(public_key) {
        return Err(not_trusted(public_key));
    }
    let [sign_list, sign] = [keys.root(), &keys.own].map(|key| state_signer(Arc::clone(key)));
    let [root, own] = keys.state_keys(&*sign_list, &*sign);
    retire_publisher(target, root, own, public_key).await?;
    ChangedKeys::read(target, public_key).await
}

impl ListKeys {
    fn root(&self) -> &Arc<SigningKey> {
        self.root.as_ref().unwrap_or(&self.own)
    }

    fn state_keys<'a>(&'a self, sign_list: &'a Sign, sign: &'a Sign) -> [StateKey<'a>; 2] {
        let key = |key: &'a SigningKey, sign| StateKey {
            public: key.public(),
            sign,
        };
        [key(self.root(), sign_list), key(&self.own, sign)]
    }
}

impl ChangedKeys {
    async fn read(target: &Target, public_key: &PublicKey) -> Result<Self, Failure> {
        let state = TargetState::read(&target.records, &target.trust()?).await?;
        let trusted = state.chain.signing();
        Ok(Self {
            public_key: public_key.to_string(),
            trusted: trusted.iter().map(ToString::to_string).collect(),
        })
    }
}

fn signs(key: &PublicKey) -> Failure {
    Failure::conflict(format!("cannot revoke key {key}: it signs the new commit"))
        .hint("run 'packcast keys rotate' to sign with a new key from now on")
}

fn not_trusted(key: &PublicKey) -> Failure {
    Failure::conflict(format!(
        "cannot revoke key {key}: the newest key list does not name it as a key that signs"
    ))
    .hint("run 'packcast keys list' to see the keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendered::failures;

    #[test]
    fn refused_revocations_have_next_steps() {
        let key = "RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8"
            .parse()
            .unwrap();
        insta::assert_snapshot!(failures([signs(&key), not_trusted(&key)]), @r"
        Conflict: cannot revoke key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8: it signs the new commit
        hint: run 'packcast keys rotate' to sign with a new key from now on
        Conflict: cannot revoke key RWSUCKmIjUwPb9UY3BqcV8UFmD9ANGYqc5cRzYHZ8bWVumBYC8iAfd+8: the newest key list does not name it as a key that signs
        hint: run 'packcast keys list' to see the keys
        ");
    }
}
