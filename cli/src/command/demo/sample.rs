//! The sample package: a script that checks the files of its archive.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The command that LAUNCH runs.
pub(super) const COMMAND: &str = "hello.sh from the demo";

const SCRIPT: &str = "#!/bin/sh\n\
    echo \"hello $*: package $PACKCAST_PACKAGE_ID on $(uname -s)\"\n\
    test \"$(wc -c < data/noise)\" -eq 3500000 || exit 9\n\
    echo 'all 3500000 bytes of data/noise are here'\n";

const NOISE_BYTES: usize = 3_500_000;

/// Writes the archive of the sample. Its noise cannot be compressed, so that the archive has a few
/// fragments.
pub(super) fn write(folder: &Path) -> io::Result<PathBuf> {
    let path = folder.join("sample.tar.gz");
    let mut archive = tar::Builder::new(GzEncoder::new(File::create(&path)?, Compression::fast()));
    append(&mut archive, "hello.sh", 0o755, SCRIPT.as_bytes())?;
    append(&mut archive, "data/noise", 0o644, &noise())?;
    archive.into_inner()?.finish()?.sync_all()?;
    Ok(path)
}

fn append(
    archive: &mut tar::Builder<GzEncoder<File>>,
    name: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, name, content)
}

/// Returns bytes that look random and are the same in every run (xorshift, Marsaglia 2003).
fn noise() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut noise = Vec::with_capacity(NOISE_BYTES + 8);
    while noise.len() < NOISE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(NOISE_BYTES);
    noise
}
