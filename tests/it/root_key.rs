//! A root key that is kept offline: its owner signs key lists, and commands sign with another key.

use std::path::Path;

use packcast_protocol::signature::PublicKey;
use packcast_tests::process::{Ran, text};
use packcast_tests::tree::Tree;
use packcast_tests::world::{World, clean, local_dir};
use serde::Deserialize;

use crate::PROGRAM;

/// The JSON output of `keys generate`.
#[derive(Deserialize)]
struct GeneratedKeys {
    public_key: PublicKey,
    root_key_file: std::path::PathBuf,
}

#[derive(Deserialize)]
struct GeneratedKey {
    public_key: PublicKey,
}

/// Generates both keys for another target, and gives them to the local system, which has no keys
/// yet.
fn generate(place: &Path) {
    let (key, root) = (place.join("prod.key"), place.join("root.key"));
    let arguments = [
        "keys",
        "generate",
        "--target=prod",
        "--unencrypted",
        "--format=json",
    ];
    let mut command = clean(Path::new(PROGRAM), place);
    command.args(arguments);
    command.arg("--key").arg(&key).arg("--root").arg(&root);
    let ran = Ran::of(&mut command).expect_code(0);
    let made: GeneratedKeys = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(made.root_key_file, root);
    let local = local_dir(place);
    std::fs::rename(place.join("state/packcast/prod"), &local).unwrap();
    std::fs::rename(key, local.join("packcast.key")).unwrap();
    std::fs::rename(place.join("prod.pub"), local.join("packcast.pub")).unwrap();
    let public = std::fs::read_to_string(local.join("packcast.pub")).unwrap();
    assert!(public.contains(&made.public_key.to_string()), "{public}");
}

#[test]
fn only_the_owner_of_the_root_key_changes_the_key_list() {
    let mut world = World::start_with(PROGRAM, &[], generate);
    let refused = world.refused(1, &["group", "create", "lab"]);
    assert!(refused.contains("--root-key FILE"), "{refused}");
    let root = world.path("root.key");
    world.ok(&["sign", "--root-key", &root]);
    // The location of the local system gets into the signed state.
    world.restart();
    let offline = world.path("offline.key");
    std::fs::rename(&root, &offline).unwrap();

    let device = world.device("pc");
    for package in ["first", "second"] {
        world.execute(package, "true");
    }
    world.assign("first@1", &device);
    device.run();
    assert_eq!(world.result(&device).code.to_string(), "SUCCESS");
    let other = world.path("other.key");
    world.ok(&["keys", "generate", "--unencrypted", "--key", &other]);
    let line = std::fs::read_to_string(other.replace(".key", ".pub")).unwrap();
    let public = line.lines().last().unwrap();
    let refused = world.refused(1, &["keys", "trust", public]);
    assert!(
        refused.contains("pass the root key with --root-key"),
        "{refused}"
    );

    world.ok(&["keys", "trust", public, "--root-key", &offline]);
    world.ok(&["keys", "revoke", public, "--root-key", &offline]);
    let rotate = ["keys", "rotate", "--unencrypted", "--root-key", &offline];
    let before = Tree::of(&world).signer();
    world.ok(&rotate);
    assert_ne!(Tree::of(&world).signer(), before);
    world.assign("second@1", &device);
    device.run();
    let finished = world.device_state(&device).finished;
    assert_eq!(finished.len(), 2, "{finished:#?}");
    // A publisher key whose passphrase is forgotten is lost; a new key signs its own addition.
    let key = world.local_dir().join("packcast.key");
    let lost = Tree::of(&world).signer().to_string();
    for file in [&key, &key.with_extension("pub")] {
        std::fs::rename(file, file.with_added_extension("lost")).unwrap();
    }
    let generate = ["keys", "generate", "--unencrypted", "--key", text(&key)];
    let made: GeneratedKey = world.json(&generate);
    let public = made.public_key.to_string();
    world.ok(&["keys", "trust", &public, "--root-key", &offline]);
    world.ok(&["keys", "revoke", &lost, "--root-key", &offline]);
    assert_eq!(Tree::of(&world).may_sign(), [made.public_key]);
    world.ok(&["group", "create", "lab"]);
}
