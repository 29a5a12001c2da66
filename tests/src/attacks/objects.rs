//! The bucket under an attacker's control: published objects are changed.

use std::fs;
use std::path::Path;

use ring::signature::Ed25519KeyPair;

use super::stage::{Stage, Tried, manifest, store};

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).expect("it is published");
    bytes[at] ^= 1;
    store(path, &bytes);
}

fn copy(from: &Path, to: &Path) {
    let bytes = fs::read(from).expect("it is published");
    store(to, &bytes);
}

pub fn manifest_changed_by_a_byte(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    flip(&stage.manifest_file(&package), 30);
    stage.attempt()
}

pub fn manifest_changed_and_announced(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let document = fs::read_to_string(stage.manifest_file(&package)).expect("it is text");
    let changed = document.replace("\"timeout_s\"", "\"timeout_s\" ");
    let signature = fs::read_to_string(stage.signature_file(&package)).expect("it is text");
    stage.announce(&package, changed.as_bytes(), &signature);
    stage.attempt()
}

pub fn fragment_changed(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    flip(&stage.fragment_file(&package, 1), 7);
    stage.attempt()
}

pub fn fragment_truncated(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let path = stage.fragment_file(&package, 0);
    let bytes = fs::read(&path).expect("it is published");
    store(&path, &bytes[..bytes.len() / 2]);
    stage.attempt()
}

pub fn fragment_of_another_place_in_the_package(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let (first, second) = (
        stage.fragment_file(&package, 0),
        stage.fragment_file(&package, 1),
    );
    copy(&first, &second);
    stage.attempt()
}

pub fn fragment_of_another_package(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    copy(
        &stage.fragment_file(&other, 0),
        &stage.fragment_file(&package, 0),
    );
    stage.attempt()
}

pub fn signature_changed(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let path = stage.signature_file(&package);
    let text = fs::read_to_string(&path).expect("it is text");
    flip(&path, text.find('\n').expect("it has lines") + 51);
    stage.attempt()
}

pub fn signature_of_another_package(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    copy(
        &stage.signature_file(&other),
        &stage.signature_file(&package),
    );
    stage.attempt()
}

pub fn manifest_and_signature_of_another_package(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let other = stage.package("other", &[]);
    let document = fs::read(stage.manifest_file(&other)).expect("it is published");
    let signature = fs::read_to_string(stage.signature_file(&other)).expect("it is text");
    stage.announce(&package, &document, &signature);
    stage.attempt()
}

pub fn own_manifest_announced(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    stage.publish_again(&package, &stage.attackers_key(), None, |manifest| {
        manifest.timeout_s += 1;
    });
    stage.attempt()
}

pub fn manifest_signed_by_another_key(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let document = fs::read(stage.manifest_file(&package)).expect("it is published");
    let signature = stage.attackers_key().sign(&document, "");
    store(
        &stage.signature_file(&package),
        signature.expect("a key signs").as_bytes(),
    );
    stage.attempt()
}

/// A signature in the format of minisign before prehashing, by the publisher's key over the document.
pub fn legacy_signature(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let document = fs::read(stage.manifest_file(&package)).expect("it is published");
    let signature = legacy(stage, &document);
    stage.announce(&package, &document, &signature);
    stage.attempt()
}

fn legacy(stage: &Stage, document: &[u8]) -> String {
    /// Offset of the seed in a key file of minisign, after the algorithms, scrypt's parameters
    /// and the key number.
    const SEED: usize = 2 + 2 + 2 + 32 + 8 + 8 + 8;
    let file = stage.world.local_dir().join("packcast.key");
    let text = fs::read_to_string(file).expect("packcast local has a key");
    let boxed = minisign::SecretKeyBox::from_string(&text).expect("it is minisign's");
    let secret = boxed.into_unencrypted_secret_key();
    let bytes = secret.expect("it has no passphrase").to_bytes();
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
pub fn unintended_downgrade(stage: &Stage) -> Tried {
    let older = stage.assigned("tool");
    stage
        .function
        .edit(|reply| super::stage::tasks(reply).clear());
    stage.device.run();
    let source = stage.world.file("newer.tar.gz", &stage.archive("newer"));
    let action = ["--action", "launch", "--command", "run.sh", "--activate"];
    let named = ["publish", "--name", "tool", "--version", "2", &source];
    stage.world.ok(&[&named[..], &action].concat());
    stage.world.assign("tool@2", &stage.device);
    let id = older.id;
    stage.function.edit(move |reply| {
        super::stage::tasks(reply).retain(|task| task["id"] != serde_json::json!(id));
    });
    stage.device.run();
    assert_eq!(stage.runs("newer"), 1, "the newer version is set up");
    stage.function.edit(|_| {});
    stage.attempt()
}

/// A downgrade that the publisher allowed once, announced a second time.
pub fn intended_downgrade_repeated(stage: &Stage) -> Tried {
    let package = stage.package("tool", &["--allow-downgrade"]);
    stage.world.assign("tool@1", &stage.device);
    stage.device.run();
    assert_eq!(stage.runs("tool"), 1, "the downgrade is allowed once");
    let mut task = stage.task(&package);
    task["attempt"] = 2.into();
    task["force"] = true.into();
    stage
        .function
        .edit(move |reply| super::stage::tasks(reply).push(task.clone()));
    stage.attempt()
}

/// Stores signed assignments in the place of the manifest.
pub fn assignments_as_manifest(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let documents = super::reply::documents(stage);
    let document = documents[0]["document"].as_str().expect("it is text");
    let signature = documents[0]["signature"].as_str().expect("it is text");
    stage.announce(&package, document.as_bytes(), signature);
    stage.attempt()
}

/// Replaces the manifest with an earlier one that the publisher had signed.
pub fn manifest_of_an_earlier_publication(stage: &Stage) -> Tried {
    let package = stage.assigned("tool");
    let announced = fs::read(stage.manifest_file(&package)).expect("it is published");
    let mut earlier = manifest(&stage.manifest_file(&package));
    earlier.timeout_s += 1;
    let earlier = earlier.to_bytes().expect("a manifest can be written");
    assert_ne!(announced, earlier);
    store(&stage.manifest_file(&package), &earlier);
    stage.attempt()
}
