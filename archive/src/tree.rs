//! The paths of an archive so far, so that no entry replaces another or leads through it.

use std::collections::HashMap;

use super::EntryPath;

/// Conflicts of an entry with earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("duplicate path")]
    Twice,
    #[error("the path leads through {through:?}, which is not a folder")]
    Through { through: String },
    #[error("the paths of the entries and folders have more than {MAX_BYTES} bytes in total")]
    TooMuch,
}

/// The limit of bytes that the paths of all entries and folders have together.
const MAX_BYTES: usize = 256 << 20;

#[derive(Debug)]
pub(super) struct Tree {
    nodes: HashMap<String, Node>,
    duplicates: Duplicates,
    /// The bytes of paths that may still be added.
    left: usize,
}

/// The rule for two files with the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duplicates {
    Refused,
    /// The later file replaces the earlier one, as in a tar that was updated.
    Replaced,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder,
    File,
    Link,
}

impl Tree {
    pub(super) fn new(duplicates: Duplicates) -> Self {
        Self {
            nodes: HashMap::new(),
            duplicates,
            left: MAX_BYTES,
        }
    }

    pub(super) fn get(&self, path: &EntryPath) -> Option<Node> {
        self.nodes.get(path.as_str()).copied()
    }

    /// Adds an entry, and the folders above it that have no entry of their own.
    pub(super) fn add(&mut self, path: &EntryPath, node: Node) -> Result<(), TreeError> {
        for folder in path.ancestors() {
            match self.nodes.get(folder) {
                Some(Node::Folder) => {}
                Some(Node::File | Node::Link) => {
                    return Err(TreeError::Through {
                        through: folder.to_owned(),
                    });
                }
                None => {
                    self.insert(folder, Node::Folder)?;
                }
            }
        }
        match (self.insert(path.as_str(), node)?, node) {
            (None, _) | (Some(Node::Folder), Node::Folder) => Ok(()),
            (Some(Node::File), Node::File) if self.duplicates == Duplicates::Replaced => Ok(()),
            (Some(_), _) => Err(TreeError::Twice),
        }
    }

    fn insert(&mut self, path: &str, node: Node) -> Result<Option<Node>, TreeError> {
        let left = self.left.checked_sub(path.len());
        self.left = left.ok_or(TreeError::TooMuch)?;
        Ok(self.nodes.insert(path.to_owned(), node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_count_towards_the_bytes() {
        let mut tree = Tree {
            left: 12,
            ..Tree::new(Duplicates::Refused)
        };
        let mut add = |path: &str| {
            let path = EntryPath::parse(path).unwrap().unwrap();
            tree.add(&path, Node::Folder)
        };
        // "a", "a/b", "a/b/c": 9 bytes.
        assert_eq!(add("a/b/c"), Ok(()));
        assert_eq!(add("a/d"), Ok(()));
        assert_eq!(add("e"), Err(TreeError::TooMuch));
    }

    #[test]
    fn messages_name_the_conflict() {
        let errors = [
            TreeError::Twice,
            TreeError::Through {
                through: "lib".to_owned(),
            },
            TreeError::TooMuch,
        ];
        let text = errors.map(|error| error.to_string()).join("\n");
        insta::assert_snapshot!(text, @r#"
        duplicate path
        the path leads through "lib", which is not a folder
        the paths of the entries and folders have more than 268435456 bytes in total
        "#);
    }
}
