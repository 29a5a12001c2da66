//! Secrets that no output may contain: the secret key, and its passphrase.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use packcast_publisher::signing::{KEY_VARIABLE, PASSPHRASE_VARIABLE};
use packcast_tests::process::Ran;
use packcast_tests::world::{World, clean, local_dir};

use crate::PROGRAM;

const PASSPHRASE: &str = "correct horse battery staple";

/// Position of the secret half in the second line of a key file, once it is decoded from base64.
const SECRET: std::ops::Range<usize> = 62..94;

/// A world whose key is only in the administrator's environment.
struct KeyInEnvironment {
    world: World,
    key: String,
}

impl KeyInEnvironment {
    fn begin(options: &[&str]) -> Self {
        let environment = [(PASSPHRASE_VARIABLE, PASSPHRASE)];
        let world = World::start_with(PROGRAM, &environment, |place| {
            let file = local_dir(place).join("packcast.key");
            let mut generate = clean(Path::new(PROGRAM), place);
            generate.args(["keys", "generate", "--key", file.to_str().unwrap()]);
            generate.args(options).envs(environment);
            let _ = Ran::of(&mut generate).expect_code(0);
        });
        let file = world.local_dir().join("packcast.key");
        let key = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        Self { world, key }
    }

    /// Runs a command with the key in its environment and with the most detailed log.
    fn ok(&self, arguments: &[&str]) -> Ran {
        let mut command = self.world.command(arguments);
        command
            .env(KEY_VARIABLE, &self.key)
            .env(PASSPHRASE_VARIABLE, PASSPHRASE)
            .env("RUST_LOG", "trace");
        Ran::of(&mut command).expect_code(0)
    }

    /// Returns the key in all forms in which an output may contain it by mistake.
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

    fn expect_no_secret_in(&self, text: &[u8], place: &str) {
        for secret in self.secrets() {
            let mut windows = text.windows(secret.len());
            assert!(!windows.any(|it| it == secret.as_bytes()), "{place}");
        }
    }
}

/// Calls `check` for each file in a folder, at any depth.
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
fn a_key_in_the_environment_signs_and_appears_nowhere() {
    for options in [&[][..], &["--unencrypted"]] {
        let story = KeyInEnvironment::begin(options);
        let device = story.world.device("pc");
        let publish = ["publish", "--name", "tool", "--version", "1", "--activate"];
        let action = ["--action", "execute", "--command", "true"];
        let assign = ["assign", "tool@1", "--device", device.id()];
        for arguments in [&[&publish[..], &action].concat()[..], &assign] {
            let ran = story.ok(arguments);
            story.expect_no_secret_in(ran.stdout.as_bytes(), "output");
            story.expect_no_secret_in(ran.stderr.as_bytes(), "error output");
        }
        device.run();
        assert_eq!(story.world.result(&device).code.to_string(), "SUCCESS");
        each_file(story.world.directory(), &|path| {
            // Sockets and files that were just removed have no content to read.
            let content = fs::read(path).unwrap_or_default();
            story.expect_no_secret_in(&content, &path.display().to_string());
        });
    }
}

/// Runs a command with this value of an environment variable.
fn with(world: &World, variable: &str, value: impl AsRef<OsStr>, arguments: &[&str]) -> Ran {
    Ran::of(world.command(arguments).env(variable, value))
}

#[test]
fn a_key_in_the_environment_and_a_key_option_exclude_each_other() {
    let story = KeyInEnvironment::begin(&["--unencrypted"]);
    let publish = ["publish", "--name", "tool", "--version", "1"];
    let action = ["--action", "execute", "--command", "true"];
    let named = ["--key", "/named.key"];
    let publish = [&publish[..], &action, &named].concat();
    let sign = [&["sign"], &named[..]].concat();
    for arguments in [publish, sign] {
        let ran = with(&story.world, KEY_VARIABLE, &story.key, &arguments).expect_code(2);
        assert!(ran.stderr.contains("/named.key"), "{ran:#?}");
        assert!(ran.stderr.contains(KEY_VARIABLE), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    assert!(story.world.packages().is_empty());
}

#[test]
fn a_variable_that_is_not_text_is_an_error() {
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

/// The package's program reads the environment and arguments of the processes that started it.
#[cfg(target_os = "linux")]
#[test]
fn no_process_of_the_demo_has_the_key_in_its_environment_or_arguments() {
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
    let mut demo = clean(Path::new(PROGRAM), place.path());
    demo.args(["demo", "mine", "--action", "execute", "--command", &look])
        .env(KEY_VARIABLE, "of another target")
        .env(PASSPHRASE_VARIABLE, PASSPHRASE);
    let ran = Ran::of(&mut demo).expect_code(0);
    assert!(ran.stdout.contains("succeeded: SUCCESS"), "{ran:#?}");
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (agent, program, arguments) = (read(agent), read(program), read(arguments));
    assert!(
        agent.contains("RUST_LOG=warn"),
        "the environment is the agent's: {agent}"
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
