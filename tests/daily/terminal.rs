//! Commands of an administrator, on a terminal of 80 columns or in a script.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use packcast_tests::process::Ran;
use packcast_tests::world::{World, clean};

const WINDOW: Winsize = Winsize {
    ws_row: 50,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// Makes `packcast` a command of the shell.
pub(super) fn install(world: &World, program: &Path) {
    let folder = world.directory().join("bin");
    std::fs::create_dir(&folder).expect("the folder is new");
    symlink(program, folder.join("packcast")).expect("the folder is writable");
}

/// Returns a line for the shell, in the folder of the world.
pub(super) fn shell(world: &World, line: &str) -> Command {
    let programs = std::env::var("PATH").expect("the machine has programs");
    let own = world.path("bin");
    let mut command = clean(Path::new("sh"), world.directory());
    command
        .args(["-c", line])
        .env("PATH", format!("{own}:{programs}"))
        // Colours would not be readable in the log of a run.
        .env("NO_COLOR", "1")
        .env("USER", "mia");
    command
}

/// Runs a command whose standard output is a terminal.
///
/// Nobody answers questions: standard input is empty.
pub(super) fn on_terminal(mut command: Command) -> Ran {
    let OpenptyResult { master, slave } =
        openpty(Some(&WINDOW), None).expect("the system has pseudoterminals");
    command
        .stdin(Stdio::null())
        .stdout(slave)
        .stderr(Stdio::piped());
    let child = command.spawn().expect("the shell can be started");
    // Drops the other end of the terminal, so that reading ends with the last process that has it.
    drop(command);
    let mut shown = Vec::new();
    // Linux reports an error at the end of the output, other systems none.
    let _ = File::from(master).read_to_end(&mut shown);
    let output = child.wait_with_output().expect("the shell ends");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran {
        code: output.status.code(),
        stdout: text(shown).replace("\r\n", "\n"),
        stderr: text(output.stderr),
    }
}
