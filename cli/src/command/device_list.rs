//! Lists of devices in files and on standard input.

use std::io;
use std::path::Path;

use packcast_publisher::Failure;
use packcast_publisher::device_list;
use packcast_publisher::device_name::DeviceName;

/// Reads names of devices from a file with one device per line; `-` is standard input.
pub(crate) fn read(path: &Path) -> Result<Vec<DeviceName>, Failure> {
    if path == Path::new("-") {
        device_list::read("standard input", io::stdin().lock())
    } else {
        device_list::read_file(path)
    }
}
