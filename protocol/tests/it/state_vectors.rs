//! Test vectors of commits, key lists and documents, computed by `tests/vectors/signed.py`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::commit::SignedCommit;
use packcast_protocol::state::document::{StateDocument, VOCABULARY};
use packcast_protocol::state::key_list::{Followed, KeyChainError, SignedKeyList};
use packcast_protocol::state::signed_text::{SignedTextError, TargetDocument};
use packcast_protocol::state::{
    AboutDocument, DeviceDocument, Document, DocumentText, Entries, GroupDocument, KeyChain,
    LocationDocument, RolloutDocument, Slot, TrustedRoots, VerifiedKeyList, WaveNumber,
};
use packcast_protocol::{DeviceId, GroupName, Sha256Digest, UnixTime};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Refused<S> {
    reason: String,
    #[serde(flatten)]
    signed: S,
}

#[derive(Deserialize)]
struct CommitVectors {
    target: String,
    key: String,
    commits: Vec<CommitVector>,
    refused: Vec<Refused<SignedCommit>>,
    other_target: CommitVector,
}

#[derive(Deserialize)]
struct CommitVector {
    #[serde(flatten)]
    signed: SignedCommit,
    digest: Sha256Digest,
    signer: String,
    id: String,
    leaf: String,
}

#[derive(Deserialize)]
struct KeyListVectors {
    trust: TrustedRoots,
    now: UnixTime,
    lists: Vec<KeyListVector>,
    refused: Vec<Refused<SignedKeyList>>,
}

#[derive(Deserialize)]
struct KeyListVector {
    #[serde(flatten)]
    signed: SignedKeyList,
    digest: Sha256Digest,
    id: String,
    result: String,
    newest: u64,
    named: Vec<String>,
    signing: Vec<String>,
    in_force: bool,
}

#[derive(Deserialize)]
struct DocumentVectors {
    documents: Vec<DocumentVector>,
    waves: Vec<WaveVector>,
    refused: Vec<RefusedDocument>,
}

#[derive(Deserialize)]
struct DocumentVector {
    kind: String,
    text: DocumentText,
    digest: Sha256Digest,
    waiting: Vec<String>,
}

/// The place of a device in a rollout.
#[derive(Deserialize)]
struct WaveVector {
    rollout: DocumentText,
    device: DeviceId,
    groups: BTreeSet<GroupName>,
    slot: u16,
    wave: Option<u8>,
}

#[derive(Deserialize)]
struct RefusedDocument {
    kind: String,
    reason: String,
    text: DocumentText,
}

fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(name);
    let text = fs::read(path).expect("the vectors are part of the repository");
    serde_json::from_slice(&text).expect("the vectors are read")
}

/// Returns whether the signature is valid, and the text is not a document in canonical form.
const fn is_unreadable(error: &SignedTextError) -> bool {
    matches!(
        error,
        SignedTextError::Json { .. } | SignedTextError::NotCanonical { .. }
    )
}

#[test]
fn commits_match_their_vectors() {
    let vectors: CommitVectors = vectors("commit.json");
    let target = vectors.target.parse().expect("this is a target id");
    let keys = [vectors.key.parse().expect("this is a public key")];
    for vector in &vectors.commits {
        let commit = vector.signed.verify(target, &keys).expect("the key signed");
        assert_eq!(commit.digest(), vector.digest);
        assert_eq!(commit.signer().to_string(), vector.signer);
        assert_eq!(commit.id().to_string(), vector.id);
        assert_eq!(format!("commit/{}", commit.id().name()), vector.leaf);
        assert_eq!(commit.to_text(), vector.signed.text());
    }
    for Refused { reason, signed } in &vectors.refused {
        let error = signed.verify(target, &keys).expect_err(reason);
        assert!(is_unreadable(&error), "{reason}: {error}");
    }
    let other = vectors.other_target.signed.verify(target, &keys);
    assert!(matches!(other, Err(SignedTextError::OtherTarget { .. })));
}

#[test]
fn key_lists_match_their_vectors() {
    let vectors: KeyListVectors = vectors("key_list.json");
    let trust = vectors.trust;
    let mut chain = KeyChain::new(trust.clone());
    for (index, vector) in vectors.lists.iter().enumerate() {
        let result = match chain.follow(&vector.signed) {
            Ok(Followed::Changed) => "followed",
            Ok(Followed::AlreadyHeld) => "held",
            Err(KeyChainError::UnnamedRoot { .. }) => "unknown root",
            Err(KeyChainError::Outranked { .. }) => "outranked",
            Err(KeyChainError::Refused(SignedTextError::OtherTarget { .. })) => "other target",
            Err(KeyChainError::Refused(SignedTextError::Signature { .. })) => "unknown signer",
            Err(other) => panic!("list {index}: {other}"),
        };
        assert_eq!(result, vector.result, "list {index}");
        assert_eq!(vector.signed.digest(), vector.digest, "list {index}");
        assert_eq!(chain.serial(), vector.newest, "list {index}");
        let texts = |keys: Vec<PublicKey>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(chain.named()), vector.named, "list {index}");
        assert_eq!(texts(chain.signing()), vector.signing, "list {index}");
        let in_force = chain.in_force(vectors.now);
        assert_eq!(in_force, vector.in_force, "list {index}");
        if result == "followed" {
            let id = chain.newest().map(VerifiedKeyList::id);
            assert_eq!(id.map(|id| id.to_string()), Some(vector.id.clone()));
            let list = chain.newest().map(|list| list.to_text());
            assert_eq!(list.as_deref(), Some(vector.signed.text()));
        }
    }
    let target = chain.target();
    for Refused { reason, signed } in &vectors.refused {
        let error = signed.verify(target, trust.roots()).expect_err(reason);
        assert!(is_unreadable(&error), "{reason}: {error}");
    }
}

/// Reads a document, writes it again, and returns the packages with unknown terms.
fn waiting<T: StateDocument + Clone>(
    text: DocumentText,
    packages: impl Fn(&T) -> Option<&Entries>,
) -> Option<Vec<String>> {
    let document = Document::<T>::read(text).ok()?;
    let written = Document::new(T::clone(&document));
    assert_eq!(written.text(), document.text());
    let entries = packages(&document).map_or(&[][..], Entries::as_slice);
    let waits = entries
        .iter()
        .filter(|entry| entry.terms.unknown(VOCABULARY).next().is_some());
    Some(waits.map(|entry| entry.package.to_string()).collect())
}

fn waiting_of_kind(kind: &str, text: DocumentText) -> Option<Vec<String>> {
    match kind {
        "group" => waiting::<GroupDocument>(text, |group| Some(&group.packages)),
        "device" => waiting::<DeviceDocument>(text, |device| Some(&device.packages)),
        "location" => waiting::<LocationDocument>(text, |_| None),
        "rollout" => waiting::<RolloutDocument>(text, |_| None),
        "about" => waiting::<AboutDocument>(text, |_| None),
        other => panic!("{other}"),
    }
}

#[test]
fn documents_match_their_vectors() {
    let vectors: DocumentVectors = vectors("documents.json");
    for vector in vectors.documents {
        assert_eq!(vector.text.digest(), vector.digest);
        let waiting = waiting_of_kind(&vector.kind, vector.text.clone());
        assert_eq!(waiting, Some(vector.waiting), "{}", vector.text.as_str());
    }
    for RefusedDocument { kind, reason, text } in vectors.refused {
        assert_eq!(waiting_of_kind(&kind, text), None, "{kind}: {reason}");
    }
}

#[test]
fn devices_are_in_the_waves_of_the_vectors() {
    let vectors: DocumentVectors = vectors("documents.json");
    assert!(!vectors.waves.is_empty());
    for vector in vectors.waves {
        let rollout = Document::<RolloutDocument>::read(vector.rollout).expect("this is valid");
        let slot = Slot::of(rollout.seed, &vector.device);
        assert_eq!(slot.get(), vector.slot, "{}", vector.device);
        let wave = rollout.wave_of(&vector.device, &vector.groups);
        let wave = wave.map(WaveNumber::get);
        assert_eq!(wave, vector.wave, "{}", vector.device);
    }
}
