//! The content of a directory, in the order of its archive.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::publish::file_state::FileState;

/// An entry of a future archive.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) path: PathBuf,
    /// The name in the archive.
    pub(super) name: PathBuf,
    pub(super) kind: ItemKind,
}

#[derive(Debug)]
pub(super) enum ItemKind {
    Folder {
        mode: u32,
    },
    Link {
        target: PathBuf,
    },
    File {
        mode: u32,
        /// The file when the directory was listed.
        state: FileState,
    },
}

/// Errors from listing a directory.
#[derive(Debug)]
pub(super) enum ListError {
    Read { path: PathBuf, source: io::Error },
    Kind { path: PathBuf },
}

/// Lists a directory, each folder before its sorted content. A file is the only item of its list.
pub(super) fn list(path: &Path) -> Result<Vec<Item>, ListError> {
    let mut items = Vec::new();
    // A link that a person names is followed.
    let metadata = fs::metadata(path).map_err(at(path))?;
    if metadata.is_dir() {
        add_folder(path, Path::new(""), &mut items)?;
    } else {
        let name = path.file_name().unwrap_or_default().into();
        items.push(item(path.to_owned(), name, &metadata)?);
    }
    Ok(items)
}

/// Lists a program, after the folders of its `name` in the archive.
pub(super) fn program(path: &Path, name: &Path) -> Result<Vec<Item>, ListError> {
    let metadata = fs::metadata(path).map_err(at(path))?;
    if !metadata.is_file() {
        return Err(ListError::Kind {
            path: path.to_owned(),
        });
    }
    let item = |name: &Path, kind| Item {
        path: path.to_owned(),
        name: name.to_owned(),
        kind,
    };
    let folders = name.ancestors().skip(1);
    let folders: Vec<&Path> = folders.filter(|it| !it.as_os_str().is_empty()).collect();
    let folders = folders.into_iter().rev();
    let folder = |name| item(name, ItemKind::Folder { mode: 0o755 });
    let (mode, state) = (0o755, FileState::of(&metadata));
    let program = item(name, ItemKind::File { mode, state });
    Ok(folders.map(folder).chain([program]).collect())
}

fn add_folder(folder: &Path, inside: &Path, items: &mut Vec<Item>) -> Result<(), ListError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(at(folder))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), inside.join(entry.file_name()));
        let metadata = entry.metadata().map_err(at(&path))?;
        items.push(item(path.clone(), name.clone(), &metadata)?);
        if metadata.is_dir() {
            add_folder(&path, &name, items)?;
        }
    }
    Ok(())
}

fn item(path: PathBuf, name: PathBuf, metadata: &Metadata) -> Result<Item, ListError> {
    let kind = if metadata.is_dir() {
        ItemKind::Folder {
            mode: mode(metadata, 0o755),
        }
    } else if metadata.is_symlink() {
        let target = fs::read_link(&path).map_err(at(&path))?;
        ItemKind::Link { target }
    } else if metadata.is_file() {
        ItemKind::File {
            mode: mode(metadata, 0o644),
            state: FileState::of(metadata),
        }
    } else {
        return Err(ListError::Kind { path });
    };
    Ok(Item { path, name, kind })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ListError {
    let path = path.to_owned();
    move |source| ListError::Read { path, source }
}

/// Returns the mode, without the rights of group and others to write.
///
/// These rights depend on the umask of the person who created the file, and would change the bytes
/// of the archive.
#[cfg(unix)]
fn mode(metadata: &Metadata, _default: u32) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;

    metadata.permissions().mode() & 0o755
}

#[cfg(not(unix))]
const fn mode(_metadata: &Metadata, default: u32) -> u32 {
    default
}
