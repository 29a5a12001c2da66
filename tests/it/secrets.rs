//! What nothing may show: the secret key, and its passphrase.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use packcast_publisher::signing::{KEY_VARIABLE, PASSPHRASE_VARIABLE};
use packcast_tests::process::Ran;
use packcast_tests::world::World;

use crate::PROGRAM;

const PASSPHRASE: &str = "correct horse battery staple";

/// Where the secret half is in a key file's second line, which is base64.
const SECRET: std::ops::Range<usize> = 62..94;

/// A world whose key is in the environment of its operator, and nowhere else.
struct KeyInEnvironment {
    world: World,
    key: String,
}

impl KeyInEnvironment {
    fn begin(options: &[&str]) -> Self {
        let world = World::start(PROGRAM);
        let file = world.local_dir().join("packcast.key");
        for file in [&file, &file.with_extension("pub")] {
            fs::remove_file(file).unwrap();
        }
        let generate = ["keys", "generate", "--key", file.to_str().unwrap()];
        let mut generate = world.command(&[&generate, options].concat());
        let _ = Ran::of(generate.env(PASSPHRASE_VARIABLE, PASSPHRASE)).expect_code(0);
        let key = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        Self { world, key }
    }

    /// Runs a command that has the key, and says all that it can.
    fn ok(&self, arguments: &[&str]) -> Ran {
        let mut command = self.world.command(arguments);
        command
            .env(KEY_VARIABLE, &self.key)
            .env(PASSPHRASE_VARIABLE, PASSPHRASE)
            .env("RUST_LOG", "trace");
        Ran::of(&mut command).expect_code(0)
    }

    /// Returns the key in all the forms in which it may be shown by mistake.
    fn secrets(&self) -> Vec<String> {
        let line = self.key.lines().nth(1).unwrap();
        let bytes = &BASE64.decode(line.as_bytes()).unwrap()[SECRET];
        let list = format!("{bytes:?}");
        vec![
            PASSPHRASE.to_owned(),
            line.to_owned(),
            BASE64.encode(bytes),
            HEXLOWER.encode(bytes),
            list.trim_matches(['[', ']']).to_owned(),
        ]
    }

    fn expect_nothing_of_it_in(&self, text: &[u8], place: &str) {
        for secret in self.secrets() {
            let mut windows = text.windows(secret.len());
            assert!(!windows.any(|it| it == secret.as_bytes()), "{place}");
        }
    }
}

/// Calls back with each file in a folder, at any depth.
fn each_file(folder: &Path, check: &impl Fn(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, check);
        } else {
            check(&path);
        }
    }
}

#[test]
fn a_key_in_the_environment_signs_and_is_shown_nowhere() {
    for options in [&[][..], &["--unencrypted"]] {
        let story = KeyInEnvironment::begin(options);
        let device = story.world.device("pc");
        let publish = ["publish", "--name", "tool", "--version", "1", "--activate"];
        let action = ["--action", "execute", "--command", "true"];
        let assign = ["assign", "tool@1", "--device", device.id()];
        for arguments in [&[&publish[..], &action].concat()[..], &assign] {
            let ran = story.ok(arguments);
            story.expect_nothing_of_it_in(ran.stdout.as_bytes(), "output");
            story.expect_nothing_of_it_in(ran.stderr.as_bytes(), "error output");
        }
        device.run();
        assert_eq!(story.world.result(&device).code.to_string(), "SUCCESS");
        each_file(story.world.place(), &|path| {
            // Sockets and what is removed meanwhile have nothing to read.
            let content = fs::read(path).unwrap_or_default();
            story.expect_nothing_of_it_in(&content, &path.display().to_string());
        });
    }
}

/// Returns a command that has this value of a variable.
fn with(world: &World, variable: &str, value: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    Ran::of(world.command(arguments).env(variable, value))
}

#[test]
fn a_key_in_the_environment_and_another_that_is_named_are_refused() {
    let story = KeyInEnvironment::begin(&["--unencrypted"]);
    let publish = ["publish", "--name", "tool", "--version", "1"];
    let action = ["--action", "execute", "--command", "true"];
    let named = ["--key", "/named.key"];
    let publish = [&publish[..], &action, &named].concat();
    story.ok(&["group", "create", "lab"]);
    let sign = [&["sign", "--group", "lab"], &named[..]].concat();
    for arguments in [publish, sign] {
        let ran = with(&story.world, KEY_VARIABLE, &story.key, &arguments).expect_code(2);
        assert!(ran.stderr.contains("/named.key"), "{ran:#?}");
        assert!(ran.stderr.contains(KEY_VARIABLE), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(story.world.packages().is_empty());
}

#[test]
fn a_variable_that_is_no_text_is_not_taken_for_none() {
    let world = World::start(PROGRAM);
    let publish = ["publish", "--name", "tool", "--version", "1"];
    let publish = [&publish[..], &["--action", "execute", "--command", "true"]].concat();
    let new = world.path("new.key");
    let generate = ["keys", "generate", "--key", &new];
    for (variable, arguments) in [
        (KEY_VARIABLE, &publish[..]),
        (PASSPHRASE_VARIABLE, &generate),
    ] {
        let ran = with(&world, variable, OsStr::from_bytes(b"\xff"), arguments).expect_code(1);
        assert!(ran.stderr.contains(variable), "{ran:#?}");
    }
    assert!(world.packages().is_empty());
    assert!(!Path::new(&new).exists());
}

/// The package's program sees the processes that brought it, while they run.
#[cfg(target_os = "linux")]
#[test]
fn neither_the_demos_agent_nor_its_program_has_the_key_and_no_argument_has() {
    let place = tempfile::tempdir().unwrap();
    for folder in ["tmp", "mine"] {
        fs::create_dir(place.path().join(folder)).unwrap();
    }
    fs::write(place.path().join("mine/file"), "").unwrap();
    let seen = |name: &str| place.path().join(name);
    let (agent, program, arguments) = (seen("agent"), seen("program"), seen("arguments"));
    let look = format!(
        "cat /proc/$PPID/environ > {agent:?}; env > {program:?}; cat /proc/[0-9]*/cmdline > {arguments:?}; true"
    );
    let mut demo = packcast_tests::world::clean(Path::new(PROGRAM), place.path());
    demo.args(["demo", "mine", "--action", "execute", "--command", &look])
        .env(KEY_VARIABLE, "of another target")
        .env(PASSPHRASE_VARIABLE, PASSPHRASE);
    let ran = Ran::of(&mut demo).expect_code(0);
    assert!(ran.stdout.contains("succeeded: SUCCESS"), "{ran:#?}");
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (agent, program, arguments) = (read(agent), read(program), read(arguments));
    assert!(
        agent.contains("RUST_LOG=warn"),
        "it is the agent's: {agent}"
    );
    assert!(program.contains("PACKCAST_PACKAGE_NAME="), "{program}");
    for environment in [agent, program] {
        for variable in [KEY_VARIABLE, PASSPHRASE_VARIABLE] {
            assert!(!environment.contains(variable), "{environment}");
        }
    }
    assert!(arguments.contains("demo\0mine"), "{arguments}");
    assert!(!arguments.contains(PASSPHRASE) && !arguments.contains("of another target"));
}
