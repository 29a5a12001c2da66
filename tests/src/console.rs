//! A running `packcast console`.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{ChildStdout, Stdio};

use crate::browser::Browser;
use crate::process::{Process, eventually, interrupt};
use crate::world::World;

pub mod bench;
pub mod client;
pub mod crawl;
pub mod sample;

/// A console of a world, killed when it is dropped.
#[derive(Debug)]
pub struct RunningConsole {
    process: Process,
    /// The printed address with the one-time token.
    pub link: String,
    /// Kept open, because the console prints its end.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl RunningConsole {
    /// Starts `packcast console`.
    pub fn start(world: &World) -> Self {
        Self::start_with(world, &[])
    }

    /// Starts `packcast console --read-only`.
    pub fn read_only(world: &World) -> Self {
        Self::start_with(world, &["--read-only"])
    }

    /// Starts `packcast console` for a target of the configuration.
    pub fn of_target(world: &World, target: &str) -> Self {
        Self::start_with(world, &["--target", target])
    }

    /// Starts `packcast console --open` on a machine whose browser only notes the file that it should
    /// open; returns the path of the file.
    pub fn open(world: &World) -> (Self, PathBuf) {
        let noted = world.directory().join("opened");
        let folder = world.directory().join("bin");
        fs::create_dir(&folder).expect("a world has one such console");
        let script = format!(
            "#!/bin/sh\nprintf %s \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n",
            noted.display()
        );
        let program = folder.join("xdg-open");
        fs::write(&program, script).expect("the folder is writable");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
            .expect("the file is that of the test");
        let console = Self::start_with(world, &["--open"]);
        let file = eventually("the console opens a browser", || {
            fs::read_to_string(&noted).ok()
        });
        (console, PathBuf::from(file))
    }

    fn start_with(world: &World, options: &[&str]) -> Self {
        let mut command = world.command(&[&["console"], options].concat());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = vec![world.directory().join("bin")];
        folders.extend(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).expect("folders of PATH");
        let log = fs::File::create(world.directory().join("console.log"));
        command
            .env("PATH", path)
            .stdout(Stdio::piped())
            .stderr(log.expect("the folder is writable"));
        let mut process = Process::start(&mut command);
        let stdout = process.stdout().expect("the output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let link = lines.find_map(|line| {
            let line = line.ok()?;
            line.find("http://").map(|at| line[at..].trim().to_owned())
        });
        Self {
            process,
            link: link.expect("the console prints its address"),
            _stdout: lines,
        }
    }

    /// Returns the limits of the process, as Linux shows them.
    pub fn limits(&mut self) -> String {
        let file = format!("/proc/{}/limits", self.process.child().id());
        fs::read_to_string(file).expect("the console is running")
    }

    /// Returns the address of a page.
    pub fn at(&self, path: &str) -> String {
        let (origin, _) = self.link.split_once("/sign-in").expect("a link");
        format!("{origin}{path}")
    }

    /// Opens the session in a browser that runs scripts.
    pub fn sign_in(&self, browser: &Browser) {
        browser.open(&self.link);
        browser.wait_for("Read ");
    }

    /// Opens the session in a browser that runs no scripts.
    pub fn sign_in_by_hand(&self, browser: &Browser) {
        browser.open(&self.link);
        let (_, token) = self.link.split_once('#').expect("a link with a token");
        browser.fill("#token", token);
        browser.press("Open");
        browser.follow("Open the console");
        browser.wait_for("Read ");
    }

    /// Ends the console as Ctrl-C does, and waits for its end.
    pub fn stop(&mut self) {
        interrupt(self.process.child());
        eventually("the console ends", || self.process.ended());
    }
}
