//! The programs of an archive that LAUNCH can start, the best guess first.

use packcast_protocol::manifest::Platform;
use packcast_protocol::terminal;
use packcast_publisher::publish::inspect::{Contents, TopFile};
use packcast_publisher::publish::plan::launch_command;

/// The maximum number of programs that a page offers, and of those that are looked at for them. The look
/// at one program takes longer in an archive with more files.
const MOST: usize = 50;
const LOOKED_AT: usize = 200;

/// The endings of programs for Windows.
const WINDOWS: [&str; 4] = [".exe", ".bat", ".cmd", ".com"];

/// The ending of scripts, which need not be executable in the archive.
const SCRIPT: &str = ".sh";

/// The first bytes of programs for Unix.
const UNIX: [&[u8]; 5] = [
    b"#!",
    b"\x7FELF",
    b"\xFE\xED\xFA\xCF",
    b"\xCF\xFA\xED\xFE",
    b"\xCA\xFE\xBA\xBE",
];

/// Returns the programs at the top of an archive, the best guess first.
pub(crate) fn programs(contents: &Contents, platform: Platform) -> Vec<String> {
    let is_candidate = |name: &&String| {
        let file = contents.top.get(*name).and_then(Option::as_ref);
        terminal::line(name) == **name
            && !name.contains(char::is_whitespace)
            && is_program(name, file, platform)
    };
    let candidates = contents.top_files.iter().filter(is_candidate);
    let mut candidates: Vec<&String> = candidates.collect();
    candidates.sort_by_cached_key(|name| (rank(name), name.to_ascii_lowercase()));
    candidates.dedup();
    let can_start = |name: &&String| launch_command(name, platform, contents).is_ok();
    let programs = candidates.into_iter().take(LOOKED_AT).filter(can_start);
    programs.take(MOST).cloned().collect()
}

/// Returns true if a file is a program of the system. A link without content may be one.
fn is_program(name: &str, file: Option<&TopFile>, platform: Platform) -> bool {
    let lower = name.to_ascii_lowercase();
    let is_for_windows = || WINDOWS.iter().any(|ending| lower.ends_with(ending));
    let is_for_unix = || {
        lower.ends_with(SCRIPT)
            || file.is_none_or(|file| {
                file.is_executable || UNIX.iter().any(|head| file.head.starts_with(head))
            })
    };
    match platform {
        Platform::Windows => is_for_windows(),
        // A zip archive from Windows may mark each file as executable.
        Platform::Linux | Platform::Macos => is_for_unix() && !is_for_windows(),
        Platform::Any => is_for_windows() || is_for_unix(),
    }
}

/// Returns the place of a program among all: installers first, uninstallers last.
fn rank(name: &str) -> u8 {
    let lower = name.to_ascii_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    match stem {
        "setup" | "install" | "installer" => 0,
        _ if stem.starts_with("unins") || stem.starts_with("remove") => 3,
        _ if stem.contains("setup") || stem.contains("install") => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(files: &[(&str, &[u8], bool)]) -> Contents {
        let top = files.iter().map(|(name, head, is_executable)| {
            let file = TopFile {
                head: head.to_vec(),
                is_executable: *is_executable,
            };
            ((*name).to_owned(), Some(file))
        });
        Contents {
            top_files: files.iter().map(|(name, ..)| (*name).to_owned()).collect(),
            top: top.collect(),
            ..Contents::default()
        }
    }

    #[test]
    fn installers_come_first_and_other_files_are_left_out() {
        let archive = contents(&[
            ("README", b"Read me", false),
            ("app.exe", b"MZ", false),
            ("uninstall.exe", b"MZ", false),
            ("vlc-setup.exe", b"MZ", false),
            ("Setup.exe", b"MZ", false),
            ("run", b"#!/bin/sh", false),
            ("set up.sh", b"#!/bin/sh", true),
            ("evil\u{202E}.sh", b"#!/bin/sh", true),
            ("install.sh", b"echo", false),
        ]);
        let line = |platform| programs(&archive, platform).join(" ");
        assert_eq!(
            line(Platform::Windows),
            "Setup.exe vlc-setup.exe app.exe uninstall.exe"
        );
        assert_eq!(line(Platform::Linux), "install.sh run");
        let many: Vec<String> = (0..1_000).map(|number| format!("{number}.exe")).collect();
        let many: Vec<_> = many
            .iter()
            .map(|name| (name.as_str(), &b"MZ"[..], true))
            .collect();
        assert_eq!(programs(&contents(&many), Platform::Any).len(), MOST);
        assert_eq!(
            line(Platform::Any),
            "install.sh Setup.exe vlc-setup.exe app.exe run uninstall.exe"
        );
    }
}
