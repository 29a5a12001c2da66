//! Rotation and revocation of keys, and documents that are signed again.

use packcast_protocol::GroupName;
use packcast_protocol::assignments::SignedAssignments;
use packcast_protocol::keys::{SignedKeyList, trusted};
use packcast_protocol::signature::PublicKey;
use packcast_rollout::GroupState;
use packcast_store::{Records, RecordsConfig};
use packcast_tests::world::World;
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

/// The JSON output of `keys revoke`.
#[derive(Deserialize)]
struct RevokeOutput {
    refused: Vec<String>,
}

/// The JSON output of `sign`.
#[derive(Deserialize)]
struct SignOutput {
    signed: usize,
    good: usize,
}

fn public_key(world: &World) -> PublicKey {
    let shown: ShownKey = world.json(&["keys", "show"]);
    shown.public_key
}

async fn records(world: &World) -> Records {
    let state = world.state();
    Records::connect(RecordsConfig {
        table: state.table.clone(),
        endpoint: Some(state.endpoint.clone()),
        ..RecordsConfig::default()
    })
    .await
}

/// Runs a query on the records of the world.
fn ask<T>(world: &World, question: impl AsyncFnOnce(Records) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { question(records(world).await).await })
}

fn signed_group(world: &World, name: &str) -> SignedAssignments {
    let group: GroupName = name.parse().unwrap();
    let state: Option<GroupState> = ask(world, async |records: Records| {
        records.group(&group).await.unwrap()
    });
    state.unwrap().signed().unwrap()
}

fn signed_device(world: &World, device: &str) -> SignedAssignments {
    let device = device.parse().unwrap();
    let signed = ask(world, async |records: Records| {
        records.device_assignments(&device).await.unwrap()
    });
    signed.unwrap()
}

fn chain(world: &World) -> Vec<SignedKeyList> {
    let lists = ask(world, async |records: Records| {
        records.key_lists().await.unwrap()
    });
    lists.into_iter().map(|list| list.signed).collect()
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
fn world_with_lab() -> (World, String) {
    let world = World::start(PROGRAM);
    let device = world.device("pc");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["group", "add", "lab", "--device", device.id()]);
    world.execute("news", "true");
    world.execute("own", "true");
    world.ok(&["assign", "news@1", "--group", "lab"]);
    world.assign("own@1", &device);
    let id = device.id().to_owned();
    (world, id)
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
fn a_rotation_without_room_for_a_key_creates_none() {
    let world = World::start(PROGRAM);
    for n in 0..7 {
        let file = world.path(&format!("{n}.key"));
        let other: ShownKey = world.json(&["keys", "generate", "--unencrypted", "--key", &file]);
        world.ok(&["keys", "trust", &other.public_key.to_string()]);
    }
    let refused = world.refused(3, &["keys", "rotate", "--unencrypted"]);
    assert!(refused.contains("1 to 8 keys, not 9"), "{refused}");
    assert!(!world.local_dir().join("packcast-next.key").exists());
}

#[test]
fn a_new_key_signs_all_documents_and_devices_with_an_old_key_follow() {
    let (world, device) = world_with_lab();
    let first = public_key(&world);
    let second = rotate(&world);
    assert_ne!(first, second);
    for signed in [signed_group(&world, "lab"), signed_device(&world, &device)] {
        assert!(signed.verify(std::slice::from_ref(&second)).is_ok());
    }
    let followed = trusted(vec![first.clone()], &chain(&world));
    assert_eq!(followed.keys(), [second.clone(), first.clone()]);
    let listed: Vec<ListedKey> = world.json(&["keys", "list"]);
    let expected = [(second.clone(), true), (first, false)];
    let expected = expected.map(|(public_key, signs)| ListedKey { public_key, signs });
    assert_eq!(listed, expected);
    // Later documents are signed by the new key.
    world.ok(&["unassign", "news@1", "--group", "lab"]);
    let signed = signed_group(&world, "lab");
    assert!(signed.verify(&[second]).unwrap().packages().is_empty());
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
    assert_eq!(chain(&world).len(), 2);
}

fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_revoked_key_is_trusted_by_no_device_and_its_packages_are_named() {
    let (world, _) = world_with_lab();
    let first = public_key(&world);
    let refused = world.refused(3, &["keys", "revoke", &first.to_string()]);
    assert!(refused.contains("keys rotate"), "{refused}");
    let second = rotate(&world);
    world.execute("later", "true");
    let revoked: RevokeOutput = world.json(&["keys", "revoke", &first.to_string()]);
    let mut names = revoked.refused;
    names.sort();
    assert_eq!(names, ["news@1", "own@1"]);
    for known in [first.clone(), second.clone()] {
        let followed = trusted(vec![known], &chain(&world));
        assert_eq!(followed.keys(), std::slice::from_ref(&second));
    }
    let again = world.refused(3, &["keys", "revoke", &first.to_string()]);
    assert!(again.contains("keys list"), "{again}");
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

#[test]
fn documents_of_another_key_are_signed_only_when_they_are_named() {
    let (world, device) = world_with_lab();
    let first = public_key(&world).to_string();
    let file = world.file("other.key", b"");
    std::fs::remove_file(&file).unwrap();
    let made: ShownKey = world.json(&["keys", "generate", "--unencrypted", "--key", &file]);
    let seen = ["--key", &file, "--accept-key", &first];
    let assign = ["assign", "own@1", "--group", "lab"];
    let refused = world.refused(1, &[&assign[..], &seen].concat());
    assert!(
        refused.contains("the newest key list does not name your key"),
        "{refused}"
    );
    let other = ["sign", "--key", &file];
    let named = [&other[..], &["--group", "lab", "--device", &device]].concat();
    // A package signed by an unknown key is refused even in a named document.
    let refused = world.refused(3, &named);
    assert!(
        refused.contains("no signed manifest has the name"),
        "{refused}"
    );
    let named = [&named[..], &["--accept-key", &first]].concat();
    let signed: SignOutput = world.json(&named);
    assert_eq!((signed.signed, signed.good), (2, 0));
    let key = std::slice::from_ref(&made.public_key);
    let of_group = signed_group(&world, "lab").verify(key).unwrap();
    assert_eq!(of_group.packages().len(), 1);
    let of_device = signed_device(&world, &device).verify(key).unwrap();
    assert_eq!(
        (of_device.packages().len(), of_device.groups().len()),
        (1, 1)
    );
}

#[test]
fn the_end_of_the_validity_of_assignments_is_shown() {
    let (world, device) = world_with_lab();
    for arguments in [
        &["group", "list"][..],
        &["group", "show", "lab"],
        &["device", "show", &device],
    ] {
        let shown = world.ok(arguments);
        let text = shown.stdout.to_lowercase();
        assert!(text.contains("valid until"), "{shown:#?}");
        assert!(!text.contains("not signed"), "{shown:#?}");
    }
}
