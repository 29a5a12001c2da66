//! The bucket under an attacker's control: published objects are changed.

use std::fs;
use std::path::Path;

use ring::signature::Ed25519KeyPair;

use packcast_protocol::Sha256Digest;
use packcast_rollout::PackageRecord;
use serde_json::json;

use super::attacked_system::{AttackResult, AttackedSystem, manifest, partition, store, tasks};
use crate::tree::Tree;

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("the package is published");
    bytes[at] ^= 1;
    store(path, &bytes);
}

fn copy(from: &Path, to: &Path) {
    let bytes = fs::read(from).expect("the package is published");
    store(to, &bytes);
}

pub fn manifest_changed_by_a_byte(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    flip(&system.manifest_file(&package), 30);
    system.attempt()
}

pub fn manifest_changed_and_announced(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let document =
        fs::read_to_string(system.manifest_file(&package)).expect("the document is text");
    let changed = document.replace("\"timeout_s\"", "\"timeout_s\" ");
    let signature =
        fs::read_to_string(system.signature_file(&package)).expect("the document is text");
    system.announce(&package, changed.as_bytes(), &signature);
    system.attempt()
}

pub fn fragment_changed(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    flip(&system.fragment_file(&package, 1), 7);
    system.attempt()
}

pub fn fragment_truncated(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let path = system.fragment_file(&package, 0);
    let bytes = fs::read(&path).expect("the package is published");
    store(&path, &bytes[..bytes.len() / 2]);
    system.attempt()
}

pub fn fragment_from_another_position(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let (first, second) = (
        system.fragment_file(&package, 0),
        system.fragment_file(&package, 1),
    );
    copy(&first, &second);
    system.attempt()
}

pub fn fragment_of_another_package(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    copy(
        &system.fragment_file(&other, 0),
        &system.fragment_file(&package, 0),
    );
    system.attempt()
}

pub fn signature_changed(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let mut signature = signature(system, &package).into_bytes();
    let second_line = signature.iter().position(|byte| *byte == b'\n');
    signature[second_line.expect("a signature has lines") + 51] ^= 1;
    let signature = String::from_utf8(signature).expect("the digit is ASCII");
    assigned_with_signature(system, &package, &signature)
}

pub fn signature_of_another_package(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let other = system.package("other", &[]);
    let signature = signature(system, &other);
    assigned_with_signature(system, &package, &signature)
}

fn signature(system: &AttackedSystem, package: &PackageRecord) -> String {
    fs::read_to_string(system.signature_file(package)).expect("the package is published")
}

/// Replaces the signature of a manifest, in the bucket and in the record, and assigns the package.
fn assigned_with_signature(
    system: &AttackedSystem,
    package: &PackageRecord,
    signature: &str,
) -> AttackResult {
    let document = fs::read(system.manifest_file(package)).expect("the package is published");
    assigned_with(system, package, &document, signature)
}

/// Replaces manifest and signature, in the bucket and in the record, and assigns the package.
fn assigned_with(
    system: &AttackedSystem,
    package: &PackageRecord,
    document: &[u8],
    signature: &str,
) -> AttackResult {
    let published = package.published().expect("the package is published");
    let replaced = [
        (published.manifest, Sha256Digest::of(document)),
        (published.signature, Sha256Digest::of(signature.as_bytes())),
    ];
    store(&system.manifest_file(package), document);
    store(&system.signature_file(package), signature.as_bytes());
    let place = format!("PACKAGE#{}", package.id);
    let changed = system.edit_table(|item| {
        if partition(item) == place && item["sk"]["S"] == "PACKAGE" {
            let mut text = item.to_string();
            for (from, to) in replaced {
                text = text.replace(&from.to_string(), &to.to_string());
            }
            *item = serde_json::from_str(&text).expect("JSON with another digest is still JSON");
        }
    });
    assert_eq!(changed, 1, "the package has a record");
    let assign = ["assign", "tool@1", "--device", system.device.id()];
    let message = system.world.refused(3, &assign);
    system.attempt().with_message(message)
}

pub fn manifest_and_signature_of_another_package(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let other = system.package("other", &[]);
    let document = fs::read(system.manifest_file(&other)).expect("the package is published");
    let signature =
        fs::read_to_string(system.signature_file(&other)).expect("the document is text");
    system.announce(&package, &document, &signature);
    system.attempt()
}

pub fn own_manifest_announced(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    system.publish_again(&package, &system.attackers_key(), None, |manifest| {
        manifest.timeout_s += 1;
    });
    system.attempt()
}

pub fn manifest_signed_by_another_key(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let document = fs::read(system.manifest_file(&package)).expect("the package is published");
    let signature = system.attackers_key().sign(&document, "");
    assigned_with_signature(system, &package, &signature.expect("a key signs"))
}

/// A signature of the document by the publisher's key, in minisign's format without prehashing.
pub fn legacy_signature(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let document = fs::read(system.manifest_file(&package)).expect("the package is published");
    let signature = legacy(system, &document);
    assigned_with_signature(system, &package, &signature)
}

fn legacy(system: &AttackedSystem, document: &[u8]) -> String {
    /// Offset of the seed in a key file of minisign, after the algorithms, scrypt's parameters
    /// and the key number.
    const SEED: usize = 2 + 2 + 2 + 32 + 8 + 8 + 8;
    let file = system.world.local_dir().join("packcast.key");
    let text = fs::read_to_string(file).expect("packcast local has a key");
    let boxed = minisign::SecretKeyBox::from_string(&text).expect("the file is a key of minisign");
    let secret = boxed.into_unencrypted_secret_key();
    let bytes = secret.expect("the key has no passphrase").to_bytes();
    let number = &bytes[SEED - 8..SEED];
    let pair = Ed25519KeyPair::from_seed_unchecked(&bytes[SEED..SEED + 32]).expect("a seed");
    let signature = pair.sign(document);
    let comment = "legacy";
    let global = pair.sign(&[signature.as_ref(), comment.as_bytes()].concat());
    let line = [b"Ed", number, signature.as_ref()].concat();
    format!(
        "untrusted comment: legacy\n{}\ntrusted comment: {comment}\n{}\n",
        base64(&line),
        base64(global.as_ref())
    )
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            let shown = place <= chunk.len();
            text.push(if shown {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// An older version that was withheld from the device until a newer version was set up.
pub fn unintended_downgrade(system: &AttackedSystem) -> AttackResult {
    withheld_until_a_newer_version_was_set_up(system);
    system.attempt()
}

/// A downgrade that the publisher allowed once, announced a second time.
pub fn intended_downgrade_repeated(system: &AttackedSystem) -> AttackResult {
    let package = withheld_until_a_newer_version_was_set_up(system);
    let device = system.device.id();
    let assign = ["assign", "tool@1", "--device", device, "--allow-downgrade"];
    system.world.ok(&assign);
    system.device.run();
    assert_eq!(system.runs("tool"), 1, "the downgrade is allowed once");
    let mut task = system.task(&package);
    task["attempt"] = 9.into();
    system
        .function
        .edit(move |reply| tasks(reply).push(task.clone()));
    system.attempt()
}

/// Sets up a newer version on a device that an older one was withheld from. Returns the older one.
fn withheld_until_a_newer_version_was_set_up(system: &AttackedSystem) -> PackageRecord {
    let older = system.assigned("tool");
    system.function.edit(|reply| tasks(reply).clear());
    system.device.run();
    let source = system.world.file("newer.tar.gz", &system.archive("newer"));
    let action = ["--action", "launch", "--command", "run.sh", "--activate"];
    let named = ["publish", "--name", "tool", "--version", "2", &source];
    system.world.ok(&[&named[..], &action].concat());
    system.world.assign("tool@2", &system.device);
    let id = older.id;
    system.function.edit(move |reply| {
        tasks(reply).retain(|task| task["id"] != json!(id));
    });
    system.device.run();
    assert_eq!(system.runs("newer"), 1, "the newer version is set up");
    system.function.edit(|_| {});
    older
}

/// Stores a commit, which the publisher has signed as well, in the place of the manifest.
pub fn commit_as_manifest(system: &AttackedSystem) -> AttackResult {
    let package = system.package("tool", &[]);
    let head = Tree::of(&system.world).ask(async |records| records.head().await);
    let head = head
        .expect("the head is readable")
        .expect("there is a head");
    let commit = head.commit.signed;
    assigned_with(
        system,
        &package,
        commit.text().as_bytes(),
        commit.signature(),
    )
}

/// Replaces the manifest with an earlier one that the publisher had signed.
pub fn manifest_of_an_earlier_publication(system: &AttackedSystem) -> AttackResult {
    let package = system.assigned("tool");
    let announced = fs::read(system.manifest_file(&package)).expect("the package is published");
    let mut earlier = manifest(&system.manifest_file(&package));
    earlier.timeout_s += 1;
    let earlier = earlier.to_bytes().expect("a manifest can be written");
    assert_ne!(announced, earlier);
    store(&system.manifest_file(&package), &earlier);
    system.attempt()
}
