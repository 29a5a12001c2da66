//! Writes `.tar.gz` archives.

use std::io::{self, Write};

use super::deflate::{Deflater, Deflaters};
use super::exact::ExactFile;
use super::list::{Item, ItemKind};
use super::{OnWrite, PackError};
use crate::progress::Progress;

/// The header of a gzip stream that tells neither a time nor a system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Packs items, and returns the writer.
pub(super) fn tar_gz<W: Write>(
    items: &[Item],
    mut writer: W,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<W, PackError> {
    writer.write_all(&GZIP_HEADER).map_err(write)?;
    let deflaters = Deflaters::start();
    let mut archive = tar::Builder::new(Deflater::new(&deflaters, writer));
    for item in items {
        add(&mut archive, item, write, progress)?;
    }
    let deflater = archive.into_inner().map_err(write)?;
    let (mut writer, content, _) = deflater.finish().map_err(write)?;
    let bytes = content.bytes.to_le_bytes();
    // The length of the content, of which gzip has the lower half.
    let trailer = [&content.crc32.to_le_bytes(), &bytes[..4]].concat();
    writer.write_all(&trailer).map_err(write)?;
    Ok(writer)
}

fn add<W: Write>(
    archive: &mut tar::Builder<W>,
    item: &Item,
    write: OnWrite<'_>,
    progress: &Progress,
) -> Result<(), PackError> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    header.set_size(0);
    match &item.kind {
        ItemKind::Folder { mode } => {
            header.set_mode(*mode);
            header.set_entry_type(tar::EntryType::Directory);
            let added = archive.append_data(&mut header, &item.name, io::empty());
            added.map_err(write)
        }
        ItemKind::Link { target } => {
            header.set_mode(0o755);
            header.set_entry_type(tar::EntryType::Symlink);
            let added = archive.append_link(&mut header, &item.name, target);
            added.map_err(write)
        }
        ItemKind::File { mode, state } => {
            let mut file = ExactFile::open(&item.path, *state, progress)?;
            header.set_mode(*mode);
            header.set_size(file.length());
            let added = archive.append_data(&mut header, &item.name, &mut file);
            file.finish(added.map_err(write))
        }
    }
}
