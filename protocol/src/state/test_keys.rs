//! Keys and signatures for tests.

use std::sync::LazyLock;

use minisign::KeyPair;

use super::signed_text::{SignedText, TargetDocument};
use super::target::TargetId;
use crate::signature::PublicKey;

static PAIRS: LazyLock<Vec<KeyPair>> = LazyLock::new(|| {
    (0..17)
        .map(|_| KeyPair::generate_unencrypted_keypair().unwrap())
        .collect()
});

pub(super) const TARGET: TargetId = TargetId::from_bytes([7; 16]);

pub(super) fn key(n: usize) -> PublicKey {
    PAIRS[n].pk.to_base64().parse().unwrap()
}

pub(super) fn keys(numbers: &[usize]) -> Vec<PublicKey> {
    numbers.iter().map(|n| key(*n)).collect()
}

/// Signs a text with a key.
pub(super) fn signed_text<D: TargetDocument, const MAX: usize>(
    text: &str,
    signer: usize,
) -> SignedText<D, MAX> {
    let signature = minisign::sign(None, &PAIRS[signer].sk, text.as_bytes(), None, None);
    SignedText::new(text.to_owned(), signature.unwrap().into_string()).unwrap()
}

/// Signs a document with a key.
pub(super) fn signed<D: TargetDocument, const MAX: usize>(
    document: &D,
    signer: usize,
) -> SignedText<D, MAX> {
    signed_text(&document.to_text(), signer)
}
