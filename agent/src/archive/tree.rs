//! What an archive has put where, so that no entry leads through or replaces another.

use std::collections::HashMap;

use super::{Entry, EntryKind};

/// Why an entry does not go with those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("the archive has it twice")]
    Twice,
    #[error("it leads through {through:?}, which is not a folder")]
    Through { through: String },
}

#[derive(Debug, Default)]
pub(super) struct Tree(HashMap<String, Node>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder,
    Leaf,
}

impl Tree {
    /// Adds an entry, and the folders above it that have no entry of their own.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<(), TreeError> {
        for folder in entry.path.ancestors() {
            match self.0.get(folder) {
                Some(Node::Folder) => {}
                Some(Node::Leaf) => {
                    return Err(TreeError::Through {
                        through: folder.to_owned(),
                    });
                }
                None => {
                    self.0.insert(folder.to_owned(), Node::Folder);
                }
            }
        }
        let node = match entry.kind {
            EntryKind::Directory => Node::Folder,
            EntryKind::File { .. } | EntryKind::Symlink { .. } => Node::Leaf,
        };
        match self.0.insert(entry.path.as_str().to_owned(), node) {
            None => Ok(()),
            Some(Node::Folder) if node == Node::Folder => Ok(()),
            Some(_) => Err(TreeError::Twice),
        }
    }
}
