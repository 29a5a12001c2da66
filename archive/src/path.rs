//! Paths inside an archive.

use std::fmt;

/// The length limit of a path, in bytes.
const MAX_BYTES: usize = 4096;

/// The length limit of a name in a path, in bytes, as in common file systems.
const MAX_NAME_BYTES: usize = 255;

/// The limit of names in a path.
///
/// Honest archives are less deep. The limit keeps the number of folders above an entry small.
const MAX_NAMES: usize = 64;

/// The beginning of the names of incomplete files, which are in the folders of the complete ones.
pub const PART: &str = ".packcast.part";

/// A path below the folder that an archive is unpacked to: one or more names, joined by `/`.
///
/// No name is empty, `.` or `..`, or has a control character. A name may have a backslash or a
/// colon, which only Windows reserves: a [`NameCheck`](crate::NameCheck) finds them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(String);

/// Errors from reading a path, or the target of a link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    #[error("the path is empty")]
    Empty,
    #[error("the path contains '..'")]
    Climbs,
    #[error("the path contains a control character")]
    Control,
    #[error("the path is not UTF-8")]
    NotUtf8,
    #[error("the path is longer than {MAX_BYTES} bytes, or a name in it than {MAX_NAME_BYTES}")]
    TooLong,
    #[error("the path is more than {MAX_NAMES} names deep")]
    TooDeep,
    #[error("names that begin with {PART} are reserved for incomplete files of the agent")]
    Part,
    #[error("the link leads to {target:?}, outside the archive's folder")]
    Escapes { target: String },
    #[error(
        "the link's target {target:?} has '..' after a name: write the target without the detour"
    )]
    Detour { target: String },
}

impl EntryPath {
    /// Parses a path as archives write it.
    ///
    /// A leading `/` or `./`, an inner `/./` and a trailing `/` are ignored. Returns `None` for the
    /// archive's folder itself, which is not an entry.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, EntryPathError> {
        check_text(text)?;
        if text.split('/').any(|name| name == "..") {
            return Err(EntryPathError::Climbs);
        }
        let names: Vec<&str> = names(text).collect();
        if names.len() > MAX_NAMES {
            return Err(EntryPathError::TooDeep);
        }
        if names.iter().any(|name| is_part(name)) {
            return Err(EntryPathError::Part);
        }
        let path = names.join("/");
        Ok((!path.is_empty()).then_some(Self(path)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the names of the path, outermost first.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// Returns the folders above the entry, outermost first.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// Returns a changed path for comparisons. It need not be a valid path of an archive.
    pub(super) fn map_chars<I: Iterator<Item = char>>(
        &self,
        change: impl FnMut(char) -> I,
    ) -> Self {
        Self(self.0.chars().flat_map(change).collect())
    }

    /// Returns the folder of the entry, or `None` at the top level of the archive.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The target of a symbolic link: relative, and inside the archive's folder.
///
/// `..` occurs only at the start. The folders above a link are not links themselves, so each
/// leading `..` leads to the parent folder, and the rest of the target only descends. So the target
/// stays inside the folder, even through other links.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LinkTarget(String);

impl LinkTarget {
    pub(super) fn parse(link: &EntryPath, text: &str) -> Result<Self, EntryPathError> {
        check_text(text)?;
        let target = || text.chars().take(200).collect();
        let climbs = names(text).take_while(|name| *name == "..").count();
        if text.starts_with('/') || climbs > link.ancestors().count() {
            return Err(EntryPathError::Escapes { target: target() });
        }
        if names(text).skip(climbs).any(|name| name == "..") {
            return Err(EntryPathError::Detour { target: target() });
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        names(&self.0).filter(|name| *name != "..")
    }
}

fn is_part(name: &str) -> bool {
    name.get(..PART.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PART))
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('/').filter(|name| !matches!(*name, "" | "."))
}

fn check_text(text: &str) -> Result<(), EntryPathError> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(EntryPathError::Empty);
    }
    if bytes.len() > MAX_BYTES || text.split('/').any(|name| name.len() > MAX_NAME_BYTES) {
        return Err(EntryPathError::TooLong);
    }
    if text.chars().any(char::is_control) {
        return Err(EntryPathError::Control);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap().unwrap()
    }

    #[test]
    fn redundant_parts_of_a_path_are_dropped() {
        assert_eq!(path("./a//b/./c/").as_str(), "a/b/c");
        assert_eq!(path("a\\x2db.service").as_str(), "a\\x2db.service");
        assert_eq!(path("ü b/.c").as_str(), "ü b/.c");
        assert_eq!(path("//etc/x").as_str(), "etc/x");
        assert_eq!(path("man/B::Deparse.3").as_str(), "man/B::Deparse.3");
        assert_eq!(path("dosdevices/c:").as_str(), "dosdevices/c:");
        assert_eq!(EntryPath::parse("./"), Ok(None));
        assert_eq!(EntryPath::parse("/"), Ok(None));
    }

    #[test]
    fn hostile_paths_are_refused() {
        let check =
            |text: &str, expected| assert_eq!(EntryPath::parse(text), Err(expected), "{text:?}");
        check("", EntryPathError::Empty);
        for text in ["..", "../x", "a/../../x", "a/..", "/../x"] {
            check(text, EntryPathError::Climbs);
        }
        for text in ["a\0b", "a\nb", "\u{1b}[31m"] {
            check(text, EntryPathError::Control);
        }
        for text in [".packcast.part-7", "a/.Packcast.PART", ".packcast.part/x"] {
            check(text, EntryPathError::Part);
        }
        check(&"x".repeat(256), EntryPathError::TooLong);
        check(&"x/".repeat(2100), EntryPathError::TooLong);
        check(&"x/".repeat(65), EntryPathError::TooDeep);
        assert_eq!(path(&"x/".repeat(64)).names().count(), 64);
    }

    #[test]
    fn links_stay_inside() {
        let check = |link: &str, target: &str, good: bool| {
            assert_eq!(
                LinkTarget::parse(&path(link), target).is_ok(),
                good,
                "{link} -> {target}"
            );
        };
        check("a", "b", true);
        check("a/b/c", "../../d", true);
        check("a/b/c", "..", true);
        check("a", ".", true);
        check("a", "..", false);
        check("a/b", "../../x", false);
        check("a", "/etc", false);
        // Names on Unix; Windows refuses them.
        check("a", "C:/x", true);
        check("a", "..\\x", true);
        check("a", "dev-disk-by\\x2dlabel.swap", true);
        check("a", "", false);
        // `up` could lead to any folder inside, so its parent is unknown.
        check("a", "up/..", false);
    }

    #[test]
    fn messages_name_the_defect() {
        let target = || "../../x".to_owned();
        let errors = [
            EntryPathError::Empty,
            EntryPathError::Climbs,
            EntryPathError::Control,
            EntryPathError::NotUtf8,
            EntryPathError::TooLong,
            EntryPathError::TooDeep,
            EntryPathError::Part,
            EntryPathError::Escapes { target: target() },
            EntryPathError::Detour { target: target() },
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r#"
        the path is empty
        the path contains '..'
        the path contains a control character
        the path is not UTF-8
        the path is longer than 4096 bytes, or a name in it than 255
        the path is more than 64 names deep
        names that begin with .packcast.part are reserved for incomplete files of the agent
        the link leads to "../../x", outside the archive's folder
        the link's target "../../x" has '..' after a name: write the target without the detour
        "#);
    }
}
