//! Signing without a question: `packcast unlock`, and a file with the passphrase.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use packcast_publisher::signing::PASSPHRASE_VARIABLE;
use packcast_tests::process::{Ran, text};
use packcast_tests::world::{World, clean, local_dir};

use crate::PROGRAM;

const PASSPHRASE: &str = "correct horse battery staple";

/// Starts a world whose signing key has a passphrase.
fn world() -> World {
    let environment = [(PASSPHRASE_VARIABLE, PASSPHRASE)];
    World::start_with(PROGRAM, &environment, |place| {
        let file = local_dir(place).join("packcast.key");
        let mut generate = clean(Path::new(PROGRAM), place);
        generate.args(["keys", "generate", "--key", file.to_str().unwrap()]);
        let _ = Ran::of(generate.envs(environment)).expect_code(0);
    })
}

#[cfg(target_os = "linux")]
mod keyring {
    use packcast_testing::skip::{Missing, skip};
    use packcast_tests::process::eventually;
    use serde_json::Value;

    use super::*;

    fn unlock(world: &World, passphrase: &str, arguments: &[&str]) -> Ran {
        let mut command = world.command(&[&["unlock"], arguments].concat());
        Ran::of(command.env(PASSPHRASE_VARIABLE, passphrase))
    }

    /// Returns true if the kernel has a keyring for this process; otherwise the test is skipped.
    fn has_keyring(world: &World) -> bool {
        let ran = Ran::of(&mut world.command(&["unlock", "--status"]));
        let has_keyring = !ran.stderr.contains("cannot use the keyring");
        if !has_keyring {
            skip(Missing::Optional("the keyring of the kernel"));
        }
        has_keyring
    }

    fn unlocked_until(world: &World) -> Option<u64> {
        let state: Value = world.json(&["unlock", "--status"]);
        state["unlocked_until"].as_u64()
    }

    #[test]
    fn an_unlocked_key_signs_until_it_is_locked() {
        let world = world();
        if !has_keyring(&world) {
            return;
        }
        let refusal = world.refused(1, &["group", "create", "lab"]);
        assert!(refusal.contains("packcast unlock"), "{refusal}");
        let wrong = unlock(&world, "wrong", &[]).expect_code(1);
        assert!(
            wrong.stderr.contains("the passphrase is wrong"),
            "{wrong:#?}"
        );
        assert_eq!(unlocked_until(&world), None);

        let ran = unlock(&world, PASSPHRASE, &["--for", "10min"]).expect_code(0);
        assert!(
            ran.stdout
                .starts_with("unlocked: the signing key of target local, until ")
        );
        assert!(unlocked_until(&world).is_some());
        world.ok(&["group", "create", "lab"]);
        let key = world.local_dir().join("packcast.key");
        // The key of another file is locked.
        let copy = world.path("copy.key");
        fs::copy(&key, &copy).unwrap();
        world.refused(1, &["group", "create", "ward", "--key", &copy]);
        // Rotation needs the passphrase, and the new key is locked.
        world.refused(1, &["keys", "rotate"]);
        let mut rotate = world.command(&["keys", "rotate"]);
        let _ = Ran::of(rotate.env(PASSPHRASE_VARIABLE, PASSPHRASE)).expect_code(0);
        world.refused(1, &["group", "create", "ward"]);

        let _ = unlock(&world, PASSPHRASE, &[]).expect_code(0);
        world.ok(&["group", "create", "ward"]);
        let locked = world.ok(&["lock"]);
        assert_eq!(locked.stdout, "locked: the signing key of target local\n");
        assert_eq!(unlocked_until(&world), None);
        world.refused(1, &["group", "create", "office"]);
        let again: Value = world.json(&["lock"]);
        assert_eq!(again["was_unlocked"], false);
    }

    #[test]
    fn the_keyring_forgets_a_key_at_the_end_of_its_time() {
        let world = world();
        if !has_keyring(&world) {
            return;
        }
        let _ = unlock(&world, PASSPHRASE, &["--for", "1s"]).expect_code(0);
        eventually("lock", || unlocked_until(&world).is_none().then_some(()));
        world.refused(1, &["group", "create", "lab"]);
    }

    #[test]
    fn a_key_without_a_passphrase_stays_as_it_is() {
        let world = World::start(PROGRAM);
        let ran = world.ok(&["unlock"]);
        assert_eq!(
            ran.stdout,
            "not encrypted: the signing key of target local has no passphrase\n"
        );
        assert_eq!(unlocked_until(&world), None);
    }
}

#[test]
fn a_passphrase_file_is_for_the_signing_key_of_its_target_only() {
    let world = world();
    let key = world.local_dir().join("packcast.key");
    let file = world.file("passphrase", format!("{PASSPHRASE}\r\n").as_bytes());
    let state = world.state();
    world.configure(&format!(
        "[target.prod]\ntable = {:?}\nendpoint = {:?}\ndirectory = {:?}\nkey_file = {:?}\npassphrase_file = {file:?}\n",
        state.table,
        state.endpoint,
        text(&state.objects_dir),
        text(&key),
    ));
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    let create = ["group", "create", "lab", "--target", "prod"];
    mode(0o644);
    let refusal = world.refused(1, &create);
    assert!(
        refusal.contains("cannot use the passphrase in "),
        "{refusal}"
    );
    mode(0o600);
    let sign = ["sign", "--target", "prod", "--root-key", text(&key)];
    let refusal = world.refused(1, &sign);
    assert!(refusal.contains("there is no terminal"), "{refusal}");
    world.ok(&create);

    fs::write(&file, "wrong\n").unwrap();
    let refusal = world.refused(1, &["group", "delete", "lab", "--target", "prod"]);
    assert!(refusal.contains("wrong passphrase in "), "{refusal}");
    // The environment comes first.
    let mut delete = world.command(&["group", "delete", "lab", "--target", "prod"]);
    let _ = Ran::of(delete.env(PASSPHRASE_VARIABLE, PASSPHRASE)).expect_code(0);
}
