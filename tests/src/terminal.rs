//! Commands on a terminal of their own, as a person runs them.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::pty::{Winsize, openpty};

use crate::process::{PATIENCE, Ran, interrupt};

/// Ctrl-C, as a terminal in raw mode sends it.
pub const CTRL_C: &str = "\u{3}";

pub const BACKSPACE: &str = "\u{7f}";

pub const ARROW_DOWN: &str = "\u{1b}[B";

/// Wide enough for a question in one line.
const SIZE: Winsize = Winsize {
    ws_row: 50,
    ws_col: 240,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A running command whose standard input and standard error are a terminal. It is killed when it is
/// dropped.
#[derive(Debug)]
pub struct OnTerminal {
    child: Child,
    keyboard: File,
    shown: Receiver<String>,
    /// The text on the terminal that no [`OnTerminal::expect`] has seen.
    unseen: String,
}

impl OnTerminal {
    /// Starts a command. Its standard output is no terminal.
    pub fn start(command: Command) -> Self {
        Self::of_size(command, SIZE, false)
    }

    /// Starts a command whose results go to the terminal, too. The terminal has this number of columns.
    pub fn with_results(command: Command, columns: u16) -> Self {
        let size = Winsize {
            ws_col: columns,
            ..SIZE
        };
        Self::of_size(command, size, true)
    }

    fn of_size(mut command: Command, size: Winsize, has_results: bool) -> Self {
        let terminal = openpty(Some(&size), None).expect("the system has a free terminal");
        let input = terminal.slave.try_clone();
        let results = if has_results {
            let results = terminal.slave.try_clone();
            results.expect("a terminal can be shared").into()
        } else {
            Stdio::piped()
        };
        command
            .stdin(input.expect("a terminal can be shared"))
            .stderr(terminal.slave)
            .stdout(results);
        let child = command.spawn();
        // From now on only the child has the other side: reading ends when the child ends.
        drop(command);
        let screen = terminal.master.try_clone();
        let mut screen = File::from(screen.expect("a terminal can be shared"));
        let (show, shown) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            // Reading from a terminal whose other side is closed is an error.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if show.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            child: child.expect("the program under test can be started"),
            keyboard: File::from(terminal.master),
            shown,
            unseen: String::new(),
        }
    }

    /// Waits until the terminal shows a text, and returns everything up to the text.
    pub fn expect(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.unseen.find(text) {
                let rest = self.unseen.split_off(at + text.len());
                return std::mem::replace(&mut self.unseen, rest);
            }
            let Ok(shown) = self.shown.recv_timeout(PATIENCE) else {
                panic!("the terminal does not show {text:?}: {:?}", self.unseen);
            };
            self.unseen.push_str(&shown);
        }
    }

    /// Types keys.
    pub fn press(&mut self, keys: &str) {
        let typed = self.keyboard.write_all(keys.as_bytes());
        typed.expect("the command reads from the terminal");
    }

    /// Presses Ctrl-C while the command asks nothing.
    pub fn interrupt(&self) {
        interrupt(&self.child);
    }

    /// Waits until the command ends. Returns its output if it is not on the terminal, and the rest of
    /// the text on the terminal.
    pub fn end(mut self) -> Ran {
        let mut stdout = String::new();
        if let Some(output) = self.child.stdout.as_mut() {
            let read = output.read_to_string(&mut stdout);
            read.expect("output is UTF-8");
        }
        let status = self.child.wait().expect("a child can be waited for");
        let mut stderr = std::mem::take(&mut self.unseen);
        stderr.extend(self.shown.iter());
        Ran {
            code: status.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        // The command may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
