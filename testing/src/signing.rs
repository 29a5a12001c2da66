//! The key that all tests sign with.

use std::io::Cursor;
use std::sync::LazyLock;

use minisign::KeyPair;
use packcast_protocol::UnixTime;
use packcast_protocol::signature::PublicKey;
use packcast_store::RecordsError;
use packcast_store::records::{AssignError, SignError, Signing};

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

/// Returns a signer of the documents written at [`NOW`].
pub fn signing() -> Signing<'static> {
    signing_at(NOW)
}

/// Returns a signer of the documents written at this time.
pub fn signing_at(now: UnixTime) -> Signing<'static> {
    Signing {
        now,
        keys: &KEY.public,
        sign: &|document| KEY.sign(document),
        memory: None,
    }
}

/// Returns a signer whose key no device trusts.
pub fn another_signing() -> Signing<'static> {
    Signing {
        now: NOW,
        keys: &OTHER.public,
        sign: &|document| OTHER.sign(document),
        memory: None,
    }
}

/// Returns the public half of the key.
pub fn trusted() -> &'static [PublicKey] {
    &KEY.public
}

/// Returns the answer of the records; the tests always have a signing key.
///
/// # Panics
/// If a stored document is not signed with that key.
pub fn answered<T>(answer: Result<T, AssignError>) -> Result<T, RecordsError> {
    answer.map_err(|error| match error {
        AssignError::Records(error) => error,
        AssignError::Signing(error) => panic!("{error:?}"),
    })
}
