//! Completion of the command line: the scripts of shells ask the program for candidates.
#![cfg(unix)]

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::Command;

use packcast_testing::skip::{Missing, skip};
use packcast_tests::ocs::OcsDevice;
use packcast_tests::process::{Ran, eventually, text};
use packcast_tests::world::World;

use crate::PROGRAM;

/// A world with names of each kind, and a device whose host name is an attack on the shell.
fn world() -> World {
    let world = World::start(PROGRAM);
    world.execute("tool", "true");
    world.execute("other", "true");
    world.ok(&["group", "create", "lab"]);
    world.ok(&["location", "add", "mirror", "mirror.example.net"]);
    for name in ["Web01", "web02", "web03$(touch${IFS}run)"] {
        OcsDevice::new(&world, name).inventory(&[]);
    }
    world
}

/// Returns the candidates for the last word, as the script of fish asks for them.
fn candidates(world: &World, words: &[&str]) -> Vec<String> {
    let mut command = world.command(&[&["--", "packcast"], words].concat());
    let ran = Ran::of(command.env("PACKCAST_COMPLETE", "fish")).expect_code(0);
    assert_eq!(ran.stderr, "", "{ran:#?}");
    let lines = ran.stdout.lines();
    let values = lines.map(|line| line.split('\t').next().unwrap_or_default());
    without_options(values)
}

/// Returns the candidates for the last word, of which there are some. A busy machine may need longer than
/// the program waits for the table, so that it offers none.
fn offered(world: &World, words: &[&str]) -> Vec<String> {
    eventually("names are offered", || {
        Some(candidates(world, words)).filter(|offered| !offered.is_empty())
    })
}

/// Options are candidates for each empty word, too.
fn without_options<'a>(values: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = values.filter(|value| !value.starts_with("--"));
    names.map(ToOwned::to_owned).collect()
}

#[test]
fn names_are_completed_from_the_table() {
    let world = world();
    let offered = |words: &[&str]| offered(&world, words);
    assert_eq!(offered(&["show", ""]), ["other@1", "tool@1"]);
    assert_eq!(offered(&["show", "t"]), ["tool@1"]);
    assert_eq!(offered(&["show", "tool@"]), ["tool@1"]);
    assert_eq!(offered(&["device", "show", "web"]), ["Web01", "web02"]);
    assert_eq!(
        offered(&["assign", "tool@1", "--group", ""]),
        ["all", "lab"]
    );
    assert_eq!(
        offered(&["group", "show", "--target", "local", "l"]),
        ["lab"]
    );
    assert_eq!(offered(&["location", "remove", "m"]), ["mirror"]);
    assert_eq!(offered(&["unl"]), ["unlock"]);
    // A new name is nobody's.
    assert_eq!(candidates(&world, &["group", "create", "l"]), [""; 0]);
    world.configure_machine("[target.prod]\ntable = \"t\"\nbucket = \"b\"\n");
    assert_eq!(offered(&["list", "--target", ""]), ["local", "prod"]);
}

#[test]
fn a_table_that_does_not_answer_has_no_candidates() {
    let world = World::start(PROGRAM);
    // The kernel accepts connections, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    world.configure_machine(&format!(
        "[target.slow]\ntable = \"t\"\nregion = \"eu-west-1\"\nendpoint = \"http://{}\"\ndirectory = \"d\"\n",
        silent.local_addr().unwrap()
    ));
    for target in ["slow", "unknown"] {
        let offered = candidates(&world, &["show", "--target", target, "t"]);
        assert!(offered.is_empty(), "{offered:?}");
    }
}

/// Returns the candidates that the script leaves to bash, as bash would insert them.
fn in_bash(world: &World, line: &str, typed: &str) -> Option<Vec<String>> {
    let script = format!(
        "source <(packcast completions bash)\n\
         COMP_LINE={line:?} COMP_POINT={}\n\
         _packcast packcast {typed:?}\n\
         for reply in \"${{COMPREPLY[@]}}\"; do printf '%s\\n' \"$reply\"; done\n",
        line.len()
    );
    let path = format!("{}:{}", world.path("bin"), std::env::var("PATH").unwrap());
    let like_program = world.command(&[]);
    let mut bash = Command::new("bash");
    for (name, value) in like_program.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    bash.args(["-c", &script]).env("PATH", path);
    let output = match bash.current_dir(world.path("folder")).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            skip(Missing::Optional("bash"));
            return None;
        }
        output => Ran::from(output.unwrap()).expect_code(0),
    };
    assert_eq!(output.stderr, "", "{output:#?}");
    Some(without_options(output.stdout.lines()))
}

#[test]
fn bash_inserts_the_rest_of_a_name_and_runs_nothing() {
    let world = world();
    for folder in ["bin", "folder"] {
        fs::create_dir(world.path(folder)).unwrap();
    }
    symlink(PROGRAM, world.path("bin/packcast")).unwrap();
    let hostile = "$(touch run).zip";
    fs::write(format!("{}/{hostile}", world.path("folder")), "").unwrap();
    if in_bash(&world, "packcast show to", "to").is_none() {
        return;
    }
    let offered = |line: &str, typed: &str| {
        eventually("names are offered", || {
            in_bash(&world, line, typed).filter(|offered| !offered.is_empty())
        })
    };
    assert_eq!(offered("packcast show to", "to"), ["tool@1"]);
    // Bash breaks words after '@': the candidate replaces the part after it.
    assert_eq!(offered("packcast show tool@", ""), ["1"]);
    assert_eq!(
        offered("packcast device show web", "web"),
        ["Web01", "web02"]
    );
    assert_eq!(
        offered("packcast publish $", "$"),
        [r"\$\(touch\ run\).zip"]
    );
    assert_eq!(offered("packcast group show ", ""), ["all", "lab"]);
    let left = fs::read_dir(world.path("folder")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [hostile]);
    assert!(
        !std::path::Path::new(text(world.directory()))
            .join("run")
            .exists()
    );
}
