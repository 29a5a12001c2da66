//! Rotation and revocation of keys, and the commits that the keys sign.

use packcast_protocol::signature::PublicKey;
use packcast_protocol::state::key_list::MAX_PUBLISHERS;
use packcast_tests::tree::Tree;
use packcast_tests::world::World;
use packcast_tests::world::device::TestDevice;
use serde::Deserialize;

use crate::PROGRAM;

/// The JSON output of `keys show`: the signing key.
#[derive(Deserialize)]
struct ShownKey {
    public_key: PublicKey,
    secret_key_file: std::path::PathBuf,
}

/// The JSON output of `keys list`, for one key.
#[derive(Debug, PartialEq, Deserialize)]
struct ListedKey {
    public_key: PublicKey,
    signs: bool,
}

fn public_key(world: &World) -> PublicKey {
    let shown: ShownKey = world.json(&["keys", "show"]);
    shown.public_key
}

/// Returns the key that has signed the head.
fn signer(world: &World) -> PublicKey {
    Tree::of(world).signer()
}

/// Returns the keys that may sign the next commit.
fn may_sign(world: &World) -> Vec<PublicKey> {
    Tree::of(world).may_sign()
}

/// Rotates the unencrypted key of a world.
fn rotate(world: &World) -> PublicKey {
    let shown: ShownKey = world.json(&["keys", "rotate", "--unencrypted"]);
    let expected = world.local_dir().join("packcast.key");
    assert_eq!(shown.secret_key_file, expected);
    assert_eq!(shown.public_key, public_key(world));
    shown.public_key
}

/// Starts a world with a device that has one package through its group, and another package
/// directly.
fn world_with_lab() -> (World, TestDevice) {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", device.id()]);
    world.execute("news", "true");
    world.execute("own", "true");
    world.ok(&["assign", "news@1", "--group", "lab"]);
    world.assign("own@1", &device);
    (world, device)
}

#[test]
fn lost_public_halves_are_written_again() {
    let world = World::start(PROGRAM);
    let first = public_key(&world);
    let file = world.local_dir().join("packcast.pub");
    std::fs::remove_file(&file).unwrap();
    let shown: ShownKey = world.json(&["keys", "show"]);
    assert_eq!(shown.public_key, first);
    assert_eq!(public_key(&world), first);

    // The state of a rotation that was killed before its last step.
    std::fs::remove_file(&file).unwrap();
    let next = world.local_dir().join("packcast-next.key");
    let next = next.to_str().unwrap();
    let made: ShownKey = world.json(&["keys", "generate", "--unencrypted", "--key", next]);
    std::fs::remove_file(world.local_dir().join("packcast-next.pub")).unwrap();
    let refused = world.refused(3, &["keys", "rotate"]);
    assert!(refused.contains("--unencrypted"), "{refused}");
    assert_eq!(rotate(&world), made.public_key);
    assert_eq!(public_key(&world), made.public_key);
    let left = std::fs::read_dir(world.local_dir()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.contains("-next")).count(), 0);
}

#[test]
fn a_rotation_without_room_for_a_key_changes_nothing() {
    let world = World::start(PROGRAM);
    let own = public_key(&world);
    for n in 1..MAX_PUBLISHERS {
        let file = world.path(&format!("{n}.key"));
        let other: ShownKey = world.json(&["keys", "generate", "--unencrypted", "--key", &file]);
        world.ok(&["keys", "trust", &other.public_key.to_string()]);
    }
    let refused = world.refused(1, &["keys", "rotate", "--unencrypted"]);
    assert!(
        refused.contains("1 to 16 publisher keys, not 17"),
        "{refused}"
    );
    assert_eq!(public_key(&world), own);
    world.ok(&["group", "create", "lab"]);
    assert_eq!(signer(&world), own);
}

#[test]
fn a_new_key_signs_the_state_and_devices_with_an_old_trust_line_follow() {
    let (world, device) = world_with_lab();
    let first = public_key(&world);
    assert_eq!(signer(&world), first);
    let second = rotate(&world);
    assert_ne!(first, second);
    assert_eq!(signer(&world), second);
    assert_eq!(may_sign(&world), std::slice::from_ref(&second));
    let listed: Vec<ListedKey> = world.json(&["keys", "list"]);
    let signs = listed.iter().filter(|key| key.signs);
    let signs: Vec<&PublicKey> = signs.map(|key| &key.public_key).collect();
    assert_eq!(signs, [&second]);
    // Later commits are signed by the new key.
    world.ok(&["unassign", "news@1", "--group", "lab"]);
    assert_eq!(signer(&world), second);
    device.run();
    assert_eq!(world.result(&device).code.to_string(), "SUCCESS");
}

#[test]
fn an_interrupted_rotation_continues_with_the_key_that_it_created() {
    let (world, _) = world_with_lab();
    let file = world.local_dir().join("packcast.key");
    let next = world.local_dir().join("packcast-next.key");
    let first = public_key(&world);
    let generate = ["keys", "generate", "--unencrypted", "--key"];
    let made: ShownKey = world.json(&[&generate[..], &[next.to_str().unwrap()]].concat());
    let old = std::fs::read(&file).unwrap();
    assert_eq!(rotate(&world), made.public_key);
    assert!(!next.exists());
    // The state of a rotation that was interrupted before it exchanged the files.
    std::fs::rename(&file, &next).unwrap();
    std::fs::rename(file.with_extension("pub"), next.with_extension("pub")).unwrap();
    std::fs::write(&file, old).unwrap();
    private(&file);
    std::fs::write(file.with_extension("pub"), format!("old\n{first}\n")).unwrap();
    assert_eq!(rotate(&world), made.public_key);
    assert_eq!(may_sign(&world), [made.public_key]);
}

fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_revoked_key_signs_no_further_commit() {
    let world = World::start(PROGRAM);
    let own = public_key(&world);
    let refused = world.refused(3, &["keys", "revoke", &own.to_string()]);
    assert!(refused.contains("keys rotate"), "{refused}");
    let file = world.path("other.key");
    let made: ShownKey = world.json(&["keys", "generate", "--unencrypted", "--key", &file]);
    let other = made.public_key.to_string();
    let create = |group| ["group", "create", group, "--key", &file];
    let refused = world.refused(1, &create("lab"));
    assert!(
        refused.contains("the newest key list does not name your key"),
        "{refused}"
    );
    world.ok(&["keys", "trust", &other]);
    world.ok(&create("lab"));
    assert_eq!(signer(&world), made.public_key);
    world.ok(&["keys", "revoke", &other]);
    assert_eq!(may_sign(&world), [own]);
    let refused = world.refused(1, &create("office"));
    assert!(refused.contains("is retired"), "{refused}");
}

#[test]
fn a_device_that_was_off_during_two_rotations_follows() {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    rotate(&world);
    rotate(&world);
    world.execute("later", "true");
    world.assign("later@1", &device);
    device.run();
    assert_eq!(world.result(&device).code.to_string(), "SUCCESS");
    // A device that is set up now is configured with the new key only.
    world.execute("all", "true");
    world.ok(&["assign", "all@1", "--all"]);
    let late = world.device("late");
    late.run();
    assert_eq!(world.result(&late).code.to_string(), "SUCCESS");
}

/// The thief has a copy of the key, and uses a machine of its own.
#[test]
fn a_leaked_key_is_replaced_and_the_package_of_the_thief_never_runs() {
    let (world, device) = world_with_lab();
    let leaked = public_key(&world);
    let good = Tree::of(&world).number().to_string();
    let memory = world.local_dir().join("commits.jsonl");
    let remembered = std::fs::read(&memory).unwrap();
    let stolen = world.path("stolen.key");
    std::fs::copy(world.local_dir().join("packcast.key"), &stolen).unwrap();
    let wiped = world.path("wiped");
    world.execute("wipe", &format!("touch '{wiped}'"));
    world.ok(&["assign", "wipe@1", "--group", "lab", "--key", &stolen]);
    std::fs::write(&memory, remembered).unwrap();

    let replace = [
        "keys",
        "replace",
        "--compromised",
        "--unencrypted",
        "--revert-to",
    ];
    let replace = [&replace[..], &[&good]].concat();
    let shown = world.refused(2, &replace);
    assert!(shown.contains("group lab: assigned wipe@1"), "{shown}");
    assert!(shown.contains("news@1, own@1"), "{shown}");
    assert!(shown.contains("there is no terminal"), "{shown}");
    let replaced: ShownKey = world.json(&[&replace[..], &["--yes"]].concat());
    assert_eq!(replaced.public_key, public_key(&world));
    assert_eq!(signer(&world), replaced.public_key);
    let listed: Vec<ListedKey> = world.json(&["keys", "list"]);
    assert!(listed.iter().all(|key| key.public_key != leaked));

    device.run();
    let codes: Vec<String> = world
        .device_state(&device)
        .finished
        .into_iter()
        .map(|task| task.code.to_string())
        .collect();
    assert_eq!(codes, ["SUCCESS", "SUCCESS"]);
    assert!(!std::path::Path::new(&wiped).exists());
    let refused = world.refused(
        1,
        &["unassign", "news@1", "--group", "lab", "--key", &stolen],
    );
    assert!(
        refused.contains("the newest key list does not name your key"),
        "{refused}"
    );
}
