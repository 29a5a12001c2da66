//! Names that are invalid on some systems, or equal to other names there.

use std::fmt;

use packcast_protocol::manifest::Platform;

use super::path::{EntryPath, LinkTarget};
use super::tree::{Duplicates, Node, Tree, TreeError};
use super::{Entry, EntryKind};

/// A system that cannot store every entry of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Windows,
    Macos,
}

impl System {
    /// Returns the system that this program runs on, or `None` if it can store every entry.
    pub const fn here() -> Option<Self> {
        if cfg!(windows) {
            Some(Self::Windows)
        } else if cfg!(target_os = "macos") {
            Some(Self::Macos)
        } else {
            None
        }
    }

    /// Returns the restricted systems that packages for `platform` may reach.
    pub const fn of(platform: Platform) -> &'static [Self] {
        match platform {
            Platform::Any => &[Self::Windows, Self::Macos],
            Platform::Windows => &[Self::Windows],
            Platform::Macos => &[Self::Macos],
            Platform::Linux => &[],
        }
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Windows => "Windows",
            Self::Macos => "macOS",
        })
    }
}

/// Errors of a name that a system cannot store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name {name:?} is reserved for a device")]
    Reserved { name: String },
    #[error("the name {name:?} contains {character:?}, which Windows reserves")]
    Character { name: String, character: char },
    #[error("the name {name:?} ends with a dot or a space, which Windows drops")]
    End { name: String },
    #[error("upper and lower case are the same, so the entry conflicts with an earlier one")]
    Alike(#[source] TreeError),
}

/// A check of all entries of an archive for names that a system cannot store.
#[derive(Debug)]
pub struct NameCheck {
    system: System,
    /// The paths in the form in which the system compares them.
    tree: Tree,
}

impl NameCheck {
    pub fn new(system: System) -> Self {
        Self {
            system,
            tree: Tree::new(Duplicates::Refused),
        }
    }

    pub const fn system(&self) -> System {
        self.system
    }

    /// Checks an entry by itself, and against the earlier entries.
    pub fn add(&mut self, entry: &Entry) -> Result<(), NameError> {
        if self.system == System::Windows {
            let of_link = match &entry.kind {
                EntryKind::Symlink { target } => Some(target),
                _ => None,
            };
            let names = entry.path.names();
            let mut names = names.chain(of_link.into_iter().flat_map(LinkTarget::names));
            names.try_for_each(check_windows_name)?;
        }
        let node = if entry.kind.is_folder() {
            Node::Folder
        } else {
            Node::File
        };
        self.tree
            .add(&folded(&entry.path), node)
            .map_err(NameError::Alike)
    }
}

/// Returns the common form of all paths that differ only in case.
///
/// The rules of the systems differ, so the form is also the same for a few paths that no system
/// treats as equal.
fn folded(path: &EntryPath) -> EntryPath {
    path.map_chars(|c| c.to_uppercase().flat_map(char::to_lowercase))
}

/// Checks that Windows can store a file under exactly this name.
///
/// Source: "Naming Files, Paths, and Namespaces" by Microsoft.
fn check_windows_name(name: &str) -> Result<(), NameError> {
    const RESERVED: [char; 8] = ['<', '>', ':', '"', '\\', '|', '?', '*'];
    let text = || name.to_owned();
    if let Some(character) = name.chars().find(|c| RESERVED.contains(c)) {
        let name = text();
        return Err(NameError::Character { name, character });
    }
    if name.ends_with(['.', ' ']) {
        return Err(NameError::End { name: text() });
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let is = |reserved: &str| stem.eq_ignore_ascii_case(reserved);
    let device = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
    if device.into_iter().any(is) || is_port(stem) {
        return Err(NameError::Reserved { name: text() });
    }
    Ok(())
}

/// Returns `true` for `COM` or `LPT` with one digit, which may be a superscript.
fn is_port(stem: &str) -> bool {
    let Some((kind, number)) = stem.split_at_checked(3) else {
        return false;
    };
    let mut digits = number.chars();
    let digit = digits
        .next()
        .is_some_and(|c| c.is_ascii_digit() || matches!(c, '¹' | '²' | '³'));
    let port = kind.eq_ignore_ascii_case("COM") || kind.eq_ignore_ascii_case("LPT");
    port && digit && digits.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EntryMode;

    #[test]
    fn names_that_windows_reserves_are_refused() {
        for name in [
            "CON",
            "con.txt",
            "Nul",
            "NUL.tar.gz",
            "nul .txt",
            "aux",
            "prn",
            "COM1",
            "com0.x",
            "LPT9",
            "COM¹",
            "CONIN$",
            "a:b",
            "C:",
            "..\\x",
            "x.",
            "x ",
            "a\\b",
            "a?",
            "a*",
            "<",
            ">",
            "|",
            "\"",
        ] {
            assert!(check_windows_name(name).is_err(), "{name:?}");
        }
        for name in [
            "console",
            "COM",
            "COM10",
            "comb",
            "command.com",
            "LPTX",
            "nully",
            ".nul",
            "x.nul",
            ".hidden",
            "a b",
            "ü",
            "…",
        ] {
            assert!(check_windows_name(name).is_ok(), "{name:?}");
        }
    }

    fn add(check: &mut NameCheck, path: &str, kind: EntryKind) -> Result<(), NameError> {
        let path = EntryPath::parse(path).unwrap().unwrap();
        check.add(&Entry {
            path,
            is_path_guessed: false,
            kind,
        })
    }

    #[test]
    fn names_that_differ_only_in_case_conflict() {
        let file = || EntryKind::File {
            mode: EntryMode::FILE,
            bytes: 0,
        };
        for system in [System::Windows, System::Macos] {
            let mut check = NameCheck::new(system);
            assert_eq!(add(&mut check, "Data/Éa", file()), Ok(()));
            assert_eq!(add(&mut check, "data/b", file()), Ok(()), "folders merge");
            for again in ["DATA/éA", "data", "DATA/B/c"] {
                let error = add(&mut check, again, file()).unwrap_err();
                assert!(matches!(error, NameError::Alike(_)), "{again}: {error:?}");
            }
        }
    }

    #[test]
    fn links_to_devices_are_refused() {
        let path = EntryPath::parse("l").unwrap().unwrap();
        let target = LinkTarget::parse(&path, "d/nul").unwrap();
        let entry = Entry {
            path,
            is_path_guessed: false,
            kind: EntryKind::Symlink { target },
        };
        assert_eq!(NameCheck::new(System::Macos).add(&entry), Ok(()));
        let error = NameCheck::new(System::Windows).add(&entry).unwrap_err();
        assert!(matches!(error, NameError::Reserved { .. }), "{error:?}");
    }

    #[test]
    fn messages_name_the_rule() {
        let errors = [
            NameError::Reserved {
                name: "nul".to_owned(),
            },
            NameError::Character {
                name: "B::Deparse.3".to_owned(),
                character: ':',
            },
            NameError::End {
                name: "x.".to_owned(),
            },
            NameError::Alike(TreeError::Twice),
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r#"
        the name "nul" is reserved for a device
        the name "B::Deparse.3" contains ':', which Windows reserves
        the name "x." ends with a dot or a space, which Windows drops
        upper and lower case are the same, so the entry conflicts with an earlier one
        "#);
    }
}
