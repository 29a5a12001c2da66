//! The key that all tests sign with.

use std::fmt;
use std::io::Cursor;
use std::sync::LazyLock;

use minisign::KeyPair;
use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_store::records::{Sign, SignError};

use crate::clock::NOW;

static KEY: LazyLock<TestKey> = LazyLock::new(TestKey::generate);
/// A key that no device trusts.
static OTHER: LazyLock<TestKey> = LazyLock::new(TestKey::generate);

struct TestKey {
    pair: KeyPair,
    public: [PublicKey; 1],
}

impl TestKey {
    fn generate() -> Self {
        let pair = KeyPair::generate_unencrypted_keypair().expect("a key can be generated");
        let public = [pair.pk.to_base64().parse().expect("a public key")];
        Self { pair, public }
    }

    fn sign(&self, document: &str) -> Result<String, SignError> {
        minisign::sign(None, &self.pair.sk, Cursor::new(document), None, None)
            .map(minisign::SignatureBox::into_string)
            .map_err(SignError::new)
    }
}

/// A key, and the time of the commits that it signs.
#[derive(Clone, Copy)]
pub struct Signing {
    pub now: UnixTime,
    /// Public half of the key.
    pub key: &'static PublicKey,
    pub sign: &'static Sign,
}

/// Returns a signer of the commits made at [`NOW`].
pub fn signing() -> Signing {
    signing_at(NOW)
}

/// Returns a signer of the commits made at this time.
pub fn signing_at(now: UnixTime) -> Signing {
    Signing {
        now,
        key: &KEY.public[0],
        sign: &|document| KEY.sign(document),
    }
}

/// Returns a signer whose key no device trusts.
pub fn another_signing() -> Signing {
    Signing {
        now: NOW,
        key: &OTHER.public[0],
        sign: &|document| OTHER.sign(document),
    }
}

/// Returns the public half of the key.
pub fn trusted() -> &'static [PublicKey] {
    &KEY.public
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signing")
            .field("now", &self.now)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
