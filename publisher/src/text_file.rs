//! Text files as the editors of administrators save them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use packcast_protocol::text_input;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Reads a text in UTF-8, and leaves out its byte order mark.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // The path may lead to a device file that never ends.
    let mut limited = File::open(path)?.take(MAX_BYTES + 1);
    limited.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("expected at most {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(text_input::decode(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_completely_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let read_of_length = |bytes: u64| {
            let content = vec![b'x'; usize::try_from(bytes).unwrap()];
            std::fs::write(&path, content).unwrap();
            read(&path).map(|text| text.len() as u64)
        };
        assert_eq!(read_of_length(MAX_BYTES).unwrap(), MAX_BYTES);
        let error = read_of_length(MAX_BYTES + 1).unwrap_err();
        assert_eq!(error.to_string(), "expected at most 16777216 bytes");
    }
}
