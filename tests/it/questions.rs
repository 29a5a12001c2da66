//! Questions to a person at a terminal, and the answers.

use std::fs;
use std::path::Path;

use packcast_publisher::signing::PASSPHRASE_VARIABLE;
use packcast_tests::process::Ran;
use packcast_tests::terminal::{ARROW_DOWN, BACKSPACE, CTRL_C, OnTerminal};
use packcast_tests::world::device::TestDevice;
use packcast_tests::world::{World, clean, local_dir};
use serde_json::Value;

use crate::PROGRAM;

const PASSPHRASE: &str = "correct horse battery staple";

/// Exit code after Ctrl-C at a question.
const INTERRUPTED: i32 = 130;

/// A world whose signing key has a passphrase, with two devices in the group `lab`.
struct Lab {
    world: World,
    devices: [TestDevice; 2],
}

impl Lab {
    fn begin() -> Self {
        let environment = [(PASSPHRASE_VARIABLE, PASSPHRASE)];
        let world = World::start_with(PROGRAM, &environment, |place| {
            let file = local_dir(place).join("packcast.key");
            let mut generate = clean(Path::new(PROGRAM), place);
            generate.args(["keys", "generate", "--key", file.to_str().unwrap()]);
            let _ = Ran::of(generate.envs(environment)).expect_code(0);
        });
        let devices = ["web01", "web02"].map(|name| world.device(name));
        let lab = Self { world, devices };
        let publish = ["publish", "--name", "tool", "--version", "1", "--activate"];
        lab.signed(&[&publish[..], &["--action=execute", "--command=true"]].concat());
        lab.signed(&["group", "create", "lab"]);
        let [first, second] = lab.ids();
        lab.signed(&["group", "add", "lab", "--device", first, "--device", second]);
        lab
    }

    /// Runs a command that finds the passphrase in its environment.
    fn signed(&self, arguments: &[&str]) {
        let mut command = self.world.command(arguments);
        let _ = Ran::of(command.env(PASSPHRASE_VARIABLE, PASSPHRASE)).expect_code(0);
    }

    fn ids(&self) -> [&str; 2] {
        self.devices.each_ref().map(TestDevice::id)
    }

    fn on_terminal(&self, arguments: &[&str]) -> OnTerminal {
        OnTerminal::start(self.world.command(arguments))
    }

    fn commits(&self) -> usize {
        self.world.json::<Vec<Value>>(&["log"]).len()
    }
}

const ASSIGN: [&str; 4] = ["assign", "tool@1", "--group", "lab"];
const QUESTION: &str = "Assigns tool@1 to group lab: 2 devices. Continue?";

#[test]
fn ctrl_c_at_a_question_or_at_the_passphrase_ends_a_command_without_an_error_text() {
    let lab = Lab::begin();
    let commits = lab.commits();
    let expect_interrupted = |ran: Ran| {
        let ran = ran.expect_code(INTERRUPTED);
        assert!(!ran.stderr.contains("error:"), "{ran:#?}");
        assert_eq!(ran.stdout, "");
        assert_eq!(lab.commits(), commits);
    };

    let mut at_question = lab.on_terminal(&ASSIGN);
    at_question.expect(QUESTION);
    at_question.press(CTRL_C);
    expect_interrupted(at_question.end());

    let mut at_passphrase = lab.on_terminal(&ASSIGN);
    let before = at_passphrase.expect(QUESTION);
    assert!(!before.contains("Passphrase of"), "{before}");
    at_passphrase.press("y\r");
    at_passphrase.expect("Passphrase of");
    at_passphrase.press(CTRL_C);
    expect_interrupted(at_passphrase.end());
}

#[test]
fn a_question_is_asked_again_after_a_wrong_answer_and_no_changes_nothing() {
    let lab = Lab::begin();
    let commits = lab.commits();
    let mut declined = lab.on_terminal(&ASSIGN);
    declined.expect(QUESTION);
    declined.press("maybe\r");
    // The answer stays for editing.
    declined.expect("Invalid answer");
    declined.press(&BACKSPACE.repeat("maybe".len()));
    declined.press("n\r");
    let ran = declined.end().expect_code(1);
    assert!(
        ran.stderr
            .contains("nothing was changed: the answer was no"),
        "{ran:#?}"
    );
    assert_eq!(lab.commits(), commits);

    let mut agreed = lab.on_terminal(&ASSIGN);
    agreed.expect(QUESTION);
    agreed.press("y\r");
    agreed.expect("Passphrase of");
    agreed.press("wrong\r");
    agreed.expect("the passphrase is wrong");
    agreed.press(&format!("{PASSPHRASE}\r"));
    let ran = agreed.end().expect_code(0);
    assert!(
        ran.stdout
            .contains("assigned to lab: 2 devices, at their next check-in"),
        "{ran:#?}"
    );
    assert!(
        ran.stderr.contains("next: 'packcast status tool@1'"),
        "{ran:#?}"
    );
    assert_eq!(lab.commits(), commits + 1);
}

#[test]
fn only_a_change_of_several_devices_is_a_question() {
    let lab = Lab::begin();
    for without_question in [
        &["assign", "tool@1", "--group", "lab", "--yes"][..],
        &["group", "delete", "lab", "--force", "--yes"],
    ] {
        let mut command = lab.on_terminal(without_question);
        let before = command.expect("Passphrase of");
        assert!(!before.contains("Continue?"), "{before}");
        command.press(CTRL_C);
        let _ = command.end().expect_code(INTERRUPTED);
    }
    for with_question in [
        &["group", "delete", "lab", "--force"][..],
        &["group", "pacing", "lab", "--strict"],
        &["pause", "--all"],
        &["deactivate", "tool@1"],
    ] {
        lab.signed(&["assign", "tool@1", "--group", "lab"]);
        let mut command = lab.on_terminal(with_question);
        command.expect("2 devices. Continue?");
        // Without an answer, the default is no.
        command.press("\r");
        let _ = command.end().expect_code(1);
    }
    let [first, _] = lab.ids();
    let mut named = lab.on_terminal(&["assign", "tool@1", "--device", first]);
    let before = named.expect("Passphrase of");
    assert!(!before.contains("Continue?"), "{before}");
}

#[test]
fn the_files_at_the_top_of_an_archive_are_offered_as_programs() {
    let world = World::start(PROGRAM);
    let folder = world.path("tool");
    fs::create_dir(&folder).unwrap();
    for (name, text) in [("setup.sh", "#!/bin/sh\n"), ("readme.txt", "read")] {
        fs::write(Path::new(&folder).join(name), text).unwrap();
    }
    let named = ["publish", "--name=tool", "--version=1", "--action=launch"];
    let mut publish = OnTerminal::start(world.command(&named));
    publish.expect("Archive, directory or file");
    publish.press("tooth\r");
    publish.expect("cannot find tooth");
    publish.press(&format!("{}l\r", BACKSPACE.repeat(2)));
    publish.expect("Program at the top of the archive");
    publish.expect("setup.sh");
    publish.press("setip\r");
    publish.expect("launch cannot find \"setip\" at the top of the archive");
    publish.press(&format!("{}{ARROW_DOWN}\r", BACKSPACE.repeat(2)));
    let _ = publish.end().expect_code(0);
    let package: Value = world.json(&["show", "tool@1"]);
    assert_eq!(package["action"]["command"], "setup.sh");
}
