//! The links of an archive, and the files that they lead to.

use std::collections::{BTreeMap, HashSet};

use packcast_archive::{Entry, EntryKind};

/// The limit of links that lead to one file, as Linux has it.
const MAX_LINKS: usize = 40;

/// The files and links of an archive.
#[derive(Debug, Default)]
pub(super) struct Links {
    files: HashSet<String>,
    targets: BTreeMap<String, String>,
}

/// The links at the top of an archive.
#[derive(Debug, Default)]
pub(super) struct TopLinks {
    /// The links that lead to a file of the archive.
    pub(super) files: Vec<String>,
    /// The other links, with their targets.
    pub(super) others: Vec<(String, String)>,
}

impl Links {
    pub(super) fn note(&mut self, entry: &Entry) {
        let path = entry.path.as_str().to_owned();
        match &entry.kind {
            EntryKind::Symlink { target } => {
                self.targets.insert(path, target.as_str().to_owned());
            }
            EntryKind::File { .. } | EntryKind::HardLink { .. } => {
                self.files.insert(path);
            }
            EntryKind::Directory { .. } => {}
        }
    }

    pub(super) fn top_files(self) -> TopLinks {
        let mut found = TopLinks::default();
        for (path, target) in self.targets.iter().filter(|(path, _)| !path.contains('/')) {
            if self.leads_to_file(path) {
                found.files.push(path.clone());
            } else {
                found.others.push((path.clone(), target.clone()));
            }
        }
        found
    }

    fn leads_to_file(&self, path: &str) -> bool {
        let mut rest: Vec<&str> = path.rsplit('/').collect();
        let mut folder: Vec<&str> = Vec::new();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match name {
                "" | "." => continue,
                ".." => drop(folder.pop()),
                name => folder.push(name),
            }
            if let Some(target) = self.targets.get(&folder.join("/")) {
                links += 1;
                if links > MAX_LINKS {
                    return false;
                }
                folder.pop();
                rest.extend(target.rsplit('/'));
            }
        }
        self.files.contains(&folder.join("/"))
    }
}
