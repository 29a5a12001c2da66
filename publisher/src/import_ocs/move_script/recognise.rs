//! Recognises the scripts in packages of an OCS server: an import leaves such a package out.

use std::io::{Read, Seek};

use flate2::read::GzDecoder;
use packcast_protocol::ArchiveFormat;
use zip::ZipArchive;

use crate::progress::Progress;
use crate::publish::source::Source;

/// Words in the first line of each script, also of scripts that earlier versions have written.
pub(super) const MARK: &str = "Moves the OCS agent of this computer to another server.";

/// The length of the largest archive that is searched, in bytes. An archive with a script is smaller,
/// also if somebody has packed the script again with a file of certificates.
const MAX_BYTES: u64 = 1 << 20;

/// The number of files that are searched.
const MAX_FILES: usize = 20;

/// The length of the part of a file that is searched, in bytes.
const MAX_BEGIN_BYTES: u64 = 1 << 10;

/// Returns true if an archive contains a script that moves agents. An unreadable archive has none.
pub(in super::super) fn has_move_script(archive: &Source) -> bool {
    if archive.bytes() > MAX_BYTES {
        return false;
    }
    let Ok(opened) = archive.archive(&Progress::none()) else {
        return false;
    };
    match archive.format() {
        ArchiveFormat::TarGz => in_tar(opened.reader()),
        ArchiveFormat::Zip => in_zip(opened.reader()),
    }
}

fn in_tar(archive: impl Read) -> bool {
    // The limit also bounds the work on an archive that inflates to terabytes.
    let unpacked = GzDecoder::new(archive).take(16 * MAX_BYTES);
    let mut archive = tar::Archive::new(unpacked);
    let Ok(entries) = archive.entries() else {
        return false;
    };
    let mut files = entries.take(MAX_FILES).map_while(Result::ok);
    files.any(begins_with_mark)
}

fn in_zip(archive: impl Read + Seek) -> bool {
    let Ok(mut archive) = ZipArchive::new(archive) else {
        return false;
    };
    (0..archive.len().min(MAX_FILES))
        .any(|index| archive.by_index(index).is_ok_and(begins_with_mark))
}

fn begins_with_mark(file: impl Read) -> bool {
    let mut begin = Vec::new();
    // A damaged file is refused later, with its cause.
    let _ = file.take(MAX_BEGIN_BYTES).read_to_end(&mut begin);
    begin
        .windows(MARK.len())
        .any(|part| part == MARK.as_bytes())
}
