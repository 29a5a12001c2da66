//! Text files as the editors of administrators save them.

use std::io;
use std::path::Path;

use packcast_protocol::text_input;

/// Reads a text in UTF-8, and leaves out its byte order mark.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    Ok(text_input::decode(std::fs::read(path)?)?)
}
